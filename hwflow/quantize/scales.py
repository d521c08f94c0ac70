"""Weights as raw integers: which values they may take, and what one of them is worth.

The unit is a power of two, one for a whole layer or one for each output channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, Overflow
from hwflow.layers.base import RawWeights
from hwflow.quantize import policy, qkeras

FloatArray = npt.NDArray[np.float64]

SUM_BITS = 31
"""Sums may have so many bits before the scales of fine channels give way to narrow sums."""


@dataclass(frozen=True)
class Grid:
    """The raw integers that weights may be.

    Attributes:
        width: bits of a raw integer.
        symmetric: whether the least integer is left out.
        candidates: units tried below the coarsest that makes sense.
        round: brings values in the grid's unit to its nearest integers.
    """

    width: int
    symmetric: bool
    candidates: int
    round: Callable[[FloatArray], FloatArray]

    def format(self, fraction_bits: int) -> FixedPoint:
        """The format of the integers with a unit."""
        overflow = Overflow.SAT_SYM if self.symmetric else Overflow.SAT
        return FixedPoint(self.width, self.width - fraction_bits, overflow=overflow)


def linear(width: int) -> Grid:
    """All integers of a width."""
    limit = 1 << (width - 1)
    return Grid(width, False, policy.CANDIDATES, lambda x: np.clip(np.rint(x), -limit, limit - 1))


TERNARY = Grid(2, True, 8, lambda x: np.clip(np.rint(x), -1, 1))
"""-1, 0 and 1."""

BINARY = Grid(2, True, 8, lambda x: np.where(x < 0, -1.0, 1.0))
"""-1 and 1; zero counts as positive, as QKeras has it."""

GRIDS: dict[str, Callable[[int], Grid]] = {
    "linear": linear,
    "ternary": lambda width: TERNARY,
    "binary": lambda width: BINARY,
}
"""By the name that designs have for them, from the width."""


def per_tensor(kernel: FloatArray, grid: Grid, integer_bits: int | None = None) -> RawWeights:
    """Weights in the one unit that loses least of them.

    Args:
        kernel: real values of any shape.
        grid: the integers to choose from.
        integer_bits: given by hand (sign included), or nothing.
    """
    if integer_bits is None:
        fraction = int(_best_fractions(kernel.reshape(-1, 1), grid)[0])
    else:
        fraction = grid.width - integer_bits
    raw = grid.round(kernel * 2.0**fraction).astype(np.int64)
    return RawWeights(raw, grid.format(fraction))


def per_channel(
    kernel: FloatArray, grid: Grid, channel_axes: int, input_fraction: int, input_reach: float
) -> RawWeights:
    """Weights whose unit is, in each output channel, the one that loses least of that channel.

    The finest unit is held back where float32 or sums of `SUM_BITS` bits would not hold what
    the coarsest channel makes in it.

    Args:
        kernel: real values; the last `channel_axes` axes count the output channels.
        grid: the integers to choose from.
        channel_axes: 1 or more.
        input_fraction: fraction bits of the layer's input.
        input_reach: the greatest magnitude of the layer's input.
    """
    columns = kernel.reshape(-1, math.prod(kernel.shape[-channel_axes:]))
    fractions = _best_fractions(columns, grid)
    used = columns.any(axis=0)
    said = fractions[used] if used.any() else fractions  # a channel of zeros has no say
    coarsest, finest = int(said.min()), int(said.max())
    bound, unscaled = qkeras.largest_exponent(grid.width), grid.width - 1
    if coarsest < unscaled - bound:  # the coarsest channel's alpha would be too large
        finest = min(finest, coarsest + bound)
    heaviest = float(np.abs(columns).sum(axis=0).max()) * input_reach
    if heaviest > 0:
        room = SUM_BITS - 1 - input_fraction - math.ceil(math.log2(heaviest))
        finest = max(min(finest, room), coarsest)
    fractions = np.clip(fractions, coarsest, finest)
    raw = grid.round(columns * 2.0**fractions).astype(np.int64)
    shifts = np.broadcast_to(fractions.max() - fractions, columns.shape)
    return RawWeights(
        raw.reshape(kernel.shape),
        grid.format(int(fractions.max())),
        shifts.reshape(kernel.shape) if shifts.any() else None,
    )


def _best_fractions(columns: FloatArray, grid: Grid) -> npt.NDArray[np.int64]:
    """For each column the fraction bits of the unit that loses least of it."""
    lows, highs = columns.min(axis=0, initial=0.0), columns.max(axis=0, initial=0.0)
    tops = [
        policy.integer_bits_to_hold(low, high)
        for low, high in zip(lows.tolist(), highs.tolist(), strict=True)
    ]
    least = -qkeras.largest_exponent(grid.width)
    # the coarsest unit first, which wins where errors are equal
    tried = [
        grid.width - 1 - np.maximum(np.array(tops, np.int64) - fewer, least)
        for fewer in range(grid.candidates + 1)
    ]
    errors = []
    for fractions in tried:
        unit = 2.0**-fractions
        errors.append(np.square(grid.round(columns / unit) * unit - columns).sum(axis=0))
    return np.asarray(np.choose(np.argmin(errors, axis=0), tried), np.int64)
