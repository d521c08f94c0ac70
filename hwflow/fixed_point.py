"""Fixed-point formats: range, rounding, overflow.

The only place where the two ways of counting integer bits meet: `FixedPoint` counts as ap_fixed
does (the sign bit included), QKeras counts without the sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

BLOCK = 1 << 15
"""Values that arithmetic of many passes takes at a time: few enough for a processor's cache."""


def blockwise(
    function: Callable[[npt.NDArray[Any]], IntArray], values: npt.NDArray[Any]
) -> IntArray:
    """What a function of single values makes of an array, a block at a time.

    Args:
        function: of an array of one dimension; each result depends on one value alone.
        values: of any shape.
    """
    if values.size <= BLOCK:
        return function(values.reshape(-1)).reshape(values.shape)
    given = values.reshape(-1)
    result = np.empty(given.size, np.int64)
    for start in range(0, given.size, BLOCK):
        result[start : start + BLOCK] = function(given[start : start + BLOCK])
    return result.reshape(values.shape)


class Rounding(str, Enum):
    """What happens to the bits below the last kept one; names of ap_fixed's modes (UG1399)."""

    TRN = "TRN"  # toward minus infinity
    TRN_ZERO = "TRN_ZERO"  # toward zero
    RND = "RND"  # nearest, ties toward plus infinity
    RND_ZERO = "RND_ZERO"  # nearest, ties toward zero
    RND_INF = "RND_INF"  # nearest, ties away from zero
    RND_MIN_INF = "RND_MIN_INF"  # nearest, ties toward minus infinity
    RND_CONV = "RND_CONV"  # nearest, ties to even


class Overflow(str, Enum):
    """What happens to a value beyond the range; names of ap_fixed's modes (UG1399)."""

    WRAP = "WRAP"
    SAT = "SAT"
    SAT_ZERO = "SAT_ZERO"  # beyond the range becomes zero
    SAT_SYM = "SAT_SYM"  # saturates at plus and minus the maximum


@dataclass(frozen=True)
class FixedPoint:
    """A fixed-point format: the value is `raw * 2**-fraction_bits`.

    Attributes:
        width: total bits, the sign included, 1 to 64.
        integer_bits: bits left of the binary point, the sign included (ap_fixed's `I`); may be
            negative or exceed the width.
        signed: two's complement when true.
        rounding: how a finer value is brought to this format.
        overflow: how a larger value is brought to this format.

    Raises:
        ValueError: if the width is not from 1 to 64.
    """

    width: int
    integer_bits: int
    signed: bool = True
    rounding: Rounding = Rounding.RND_CONV
    overflow: Overflow = Overflow.SAT

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 64:
            raise ValueError(f"width must be from 1 to 64, not {self.width}")
        object.__setattr__(self, "rounding", Rounding(self.rounding))
        object.__setattr__(self, "overflow", Overflow(self.overflow))

    @property
    def fraction_bits(self) -> int:
        """Bits right of the binary point; negative when the unit is larger than one."""
        return self.width - self.integer_bits

    @property
    def lsb(self) -> float:
        """The value of one unit in the last place."""
        return float(2.0**-self.fraction_bits)

    @property
    def minimum(self) -> int:
        """The least raw integer that rounding and overflow can produce."""
        if not self.signed:
            return 0
        lowest = -(1 << (self.width - 1))
        return lowest + 1 if self.overflow is Overflow.SAT_SYM and self.width > 1 else lowest

    @property
    def maximum(self) -> int:
        """The greatest raw integer."""
        return int((1 << (self.width - self.signed)) - 1)

    @property
    def native(self) -> np.dtype[Any]:
        """The narrowest native integer that every raw integer fits: of 8, 16, 32 or 64 bits.

        That of 64 unsigned bits is int64 too: no tensor exceeds what that holds.
        """
        bits = next(bits for bits in (8, 16, 32, 64) if self.width <= bits)
        return np.dtype(f"int{bits}" if self.signed or bits == 64 else f"uint{bits}")

    @property
    def ap_type(self) -> str:
        """The C++ type, such as `ap_ufixed<8,3,AP_RND_CONV,AP_SAT>`."""
        name = "ap_fixed" if self.signed else "ap_ufixed"
        modes = f"AP_{self.rounding.value},AP_{self.overflow.value}"
        return f"{name}<{self.width},{self.integer_bits},{modes}>"

    @property
    def raw_type(self) -> str:
        """The C++ type of the raw integer, such as `ap_uint<8>`."""
        return f"{'ap_int' if self.signed else 'ap_uint'}<{self.width}>"

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer_bits}>"

    # --- conversions -------------------------------------------------------------------------

    def quantize(self, values: npt.ArrayLike) -> IntArray:
        """Raw integers of real values, rounded and saturated (or wrapped) as the format says.

        Raises:
            ValueError: if a value is not finite, or so large (from 2**62 units) that a format
                that wraps or has more than 62 bits cannot take it exactly.
        """
        return blockwise(self._quantized, np.asarray(values))

    def _quantized(self, values: npt.NDArray[Any]) -> IntArray:
        scaled = np.asarray(values, dtype=np.float64) * 2.0**self.fraction_bits
        if not np.all(np.isfinite(scaled)):
            raise ValueError("only finite values can be quantized")
        floor = np.floor(scaled)
        rest = scaled - floor
        twice = (rest > 0).astype(np.int64) + (rest >= 0.5) + (rest > 0.5)
        # twice the remainder, coarsely: 0, less than 1, 1, more
        far = np.any(np.abs(floor) >= 2.0**62)
        if far and (self.overflow is Overflow.WRAP or self.width > 62):
            raise ValueError(f"a value is too large for {self} to represent exactly")
        quotient = np.clip(floor, -(2.0**62), 2.0**62).astype(np.int64)
        up = _rounds_up(self.rounding, quotient, twice, 2, scaled < 0)
        return self.overflowed(quotient + up)

    def rescale(self, raw: npt.ArrayLike, fraction_bits: int, divisor: int = 1) -> IntArray:
        """Brings `raw * 2**-fraction_bits / divisor` to this format, exactly.

        Raises:
            ValueError: if the shifted integers do not fit in 63 bits.
        """
        numerator = np.asarray(raw, dtype=np.int64)
        shift = fraction_bits - self.fraction_bits
        denominator = divisor
        if shift > 0:
            denominator <<= shift
        elif shift < 0:
            peak = max(int(numerator.max(initial=0)), -int(numerator.min(initial=0)))
            if peak << -shift >= 1 << 62:
                raise ValueError(f"a shift of {-shift} bits overflows 63 bits")
        if denominator >= 1 << 62:
            raise ValueError(f"a shift of {shift} bits with divisor {divisor} overflows 63 bits")
        return blockwise(lambda part: self._divided(part, max(-shift, 0), denominator), numerator)

    def _divided(self, raw: IntArray, left_shift: int, denominator: int) -> IntArray:
        """`raw * 2**left_shift / denominator`, rounded and brought into the range."""
        numerator = raw << left_shift
        if denominator == 1:
            return self.overflowed(numerator)
        if denominator & (denominator - 1):
            quotient = numerator // denominator
            remainder = numerator - quotient * denominator
        else:  # a power of two: the same floor and rest, by its bits
            quotient = numerator >> (denominator.bit_length() - 1)
            remainder = numerator & (denominator - 1)
        up = _rounds_up(self.rounding, quotient, 2 * remainder, denominator, numerator < 0)
        return self.overflowed(quotient + up)

    def overflowed(self, raw: IntArray) -> IntArray:
        """Applies the overflow mode to raw integers that already have this format's unit.

        Raises:
            ValueError: if a negative one wraps in 64 unsigned bits, which int64 cannot hold.
        """
        if self.overflow is Overflow.WRAP:
            if self.width == 64:
                if not self.signed and np.any(raw < 0):
                    raise ValueError("int64 cannot hold what wraps in 64 unsigned bits")
                return raw
            wrapped = raw & ((1 << self.width) - 1)
            if self.signed:
                wrapped = wrapped - ((wrapped >> (self.width - 1)) << self.width)
            return wrapped
        highest = min(self.maximum, (1 << 63) - 1)  # all that int64 can hold
        if self.overflow is Overflow.SAT_ZERO:
            return np.where((raw < self.minimum) | (raw > highest), 0, raw)
        return np.clip(raw, self.minimum, highest)

    def to_float(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The real values of raw integers."""
        return np.asarray(raw, dtype=np.float64) * self.lsb

    # --- QKeras ------------------------------------------------------------------------------

    @classmethod
    def from_qkeras(
        cls, bits: int, integer: int, keep_negative: bool = True, symmetric: bool = False
    ) -> FixedPoint:
        """The exact equivalent of `quantized_bits(bits, integer, symmetric, keep_negative)`.

        `quantized_relu(bits, integer)` is the one with `keep_negative=False`.
        """
        return cls(
            width=bits,
            integer_bits=integer + keep_negative,
            signed=keep_negative,
            overflow=Overflow.SAT_SYM if symmetric and keep_negative else Overflow.SAT,
        )

    @property
    def qkeras_integer(self) -> int:
        """The `integer` argument that a QKeras quantizer of this format takes."""
        return self.integer_bits - self.signed

    # --- choosing a format -------------------------------------------------------------------

    @classmethod
    def containing(cls, low: int, high: int, fraction_bits: int) -> FixedPoint:
        """The narrowest format with the given unit that holds raw integers `low` to `high`.

        Nothing is ever rounded or lost in it, so it truncates and wraps (the cheapest hardware).

        Raises:
            ValueError: if more than 64 bits are needed.
        """
        signed = low < 0
        width = max(int(max(high, 0)).bit_length(), int(-low - 1).bit_length() if signed else 0)
        width = max(width + signed, 1)
        return cls(width, width - fraction_bits, signed, Rounding.TRN, Overflow.WRAP)

    @classmethod
    def holding(cls, values: npt.ArrayLike) -> FixedPoint | None:
        """The narrowest signed format of two bits or more that every value is exactly in.

        Args:
            values: real numbers of any shape.

        Returns:
            The format, or nothing if some value is not finite or more than 53 bits are needed.
        """
        numbers = np.unique(np.asarray(values, np.float64))
        if not np.all(np.isfinite(numbers)):
            return None
        numbers = numbers[numbers != 0]
        mantissas, exponents = np.frexp(numbers)
        scaled = np.abs(mantissas * 2.0**53).astype(np.int64)
        zeros = np.log2((scaled & -scaled).astype(np.float64)).astype(np.int64)
        fraction_bits = int(np.max(53 - zeros - exponents, initial=-63))
        if not len(numbers):
            return cls(2, 2)
        if int(exponents.max()) + fraction_bits > 53:
            return None
        raw = numbers * 2.0**fraction_bits
        narrow = cls.containing(int(min(raw.min(), -1)), int(raw.max()), fraction_bits)
        width = max(narrow.width, 2)
        return cls(width, width - fraction_bits)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `FixedPoint(**it)` is the way back."""
        return {
            "width": self.width,
            "integer_bits": self.integer_bits,
            "signed": self.signed,
            "rounding": self.rounding.value,
            "overflow": self.overflow.value,
        }


def _rounds_up(
    rounding: Rounding,
    quotient: IntArray,
    twice_remainder: IntArray,
    denominator: int,
    negative: npt.NDArray[np.bool_],
) -> IntArray:
    """1 where the floor `quotient` must be raised by one, given its remainder, else 0."""
    above = twice_remainder > denominator
    tie = twice_remainder == denominator
    if rounding is Rounding.TRN:
        up = np.zeros_like(above)
    elif rounding is Rounding.TRN_ZERO:
        up = negative & (twice_remainder > 0)
    elif rounding is Rounding.RND:
        up = above | tie
    elif rounding is Rounding.RND_ZERO:
        up = above | (tie & negative)
    elif rounding is Rounding.RND_INF:
        up = above | (tie & ~negative)
    elif rounding is Rounding.RND_MIN_INF:
        up = above
    else:
        up = above | (tie & (quotient & 1 == 1))
    return up.astype(np.int64)
