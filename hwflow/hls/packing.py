"""What the kernels read from memory: weights and biases in the order of the fold, and constants.

The orders are those of `kernels/matrix_vector.h` and `kernels/depthwise.h`; the packing of lanes
into native integers is that of `kernels/weights.h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.opset import Conv2D
from hwflow.plan.blocks import row_bits, word_bits

NativeArray = npt.NDArray[Any]

_CPP_TYPES = {
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
}


def weight_rows(operation: Conv2D, pe: int, simd: int, parallel: int = 1) -> npt.NDArray[np.int64]:
    """The weights of a convolution in the order in which `matrix_vector` reads them.

    Args:
        operation: the layer.
        pe: output channels side by side.
        simd: inputs side by side.
        parallel: taps side by side.

    Returns:
        Shape `(folds, pe * parallel * simd)`: a row for each cycle of a pixel, in it output lane by
        output lane, tap by tap the weights of its inputs.

    Raises:
        DesignError: if `pe` or `simd` does not divide the channels of a group, or `parallel` the
            taps.
    """
    kernel_height, kernel_width, group_inputs, filters = operation.weights.shape
    group_filters = filters // operation.groups
    _check_divides(operation.name, "pe", pe, group_filters, "output channels of a group")
    _check_divides(operation.name, "simd", simd, group_inputs, "input channels of a group")
    _check_divides(operation.name, "parallel", parallel, kernel_height * kernel_width, "taps")
    split = operation.weights.reshape(
        kernel_height * kernel_width // parallel,
        parallel,
        group_inputs // simd,
        simd,
        operation.groups,
        group_filters // pe,
        pe,
    )
    return split.transpose(4, 5, 2, 0, 6, 1, 3).reshape(-1, pe * parallel * simd)


def depthwise_weight_rows(operation: Conv2D, pe: int, parallel: int = 1) -> npt.NDArray[np.int64]:
    """The weights of a depthwise convolution in the order in which `depthwise` reads them.

    Args:
        operation: the layer; each group has one input channel.
        pe: channels side by side.
        parallel: taps side by side.

    Returns:
        Shape `(folds, parallel * pe)`: a row for each cycle of a pixel, tap by tap.

    Raises:
        DesignError: if `pe` does not divide the input channels or `parallel` the taps, or a group
            has more than one channel.
    """
    kernel_height, kernel_width, group_inputs, filters = operation.weights.shape
    if group_inputs != 1:
        raise DesignError(
            f"{operation.name}: a depthwise layer has one input channel in each group, "
            f"not {group_inputs}: use matrix_vector"
        )
    _check_divides(operation.name, "pe", pe, operation.groups, "input channels")
    taps = kernel_height * kernel_width
    _check_divides(operation.name, "parallel", parallel, taps, "taps")
    split = operation.weights.reshape(taps // parallel, parallel, filters // pe, pe)
    return split.transpose(2, 0, 1, 3).reshape(-1, parallel * pe)


def bias_rows(biases: npt.NDArray[np.int64], pe: int) -> NativeArray:
    """Biases as the kernels read them: shape `(out_channels / pe, pe)`, int32 if all fit, or int64.

    Raises:
        DesignError: if `pe` does not divide the number of biases.
    """
    _check_divides("biases", "pe", pe, biases.size, "output channels")
    rows = biases.reshape(-1, pe)
    info = np.iinfo(np.int32)
    if rows.size and (rows.min() < info.min or rows.max() > info.max):
        return rows.astype(np.int64)
    return rows.astype(np.int32)


def with_shifts(
    biases: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64] | None, shift_bits: int
) -> npt.NDArray[np.int64]:
    """Biases with the shifts of their channels' products in the lowest bits.

    Args:
        biases: shape `(Cout,)`.
        shifts: of the same shape, or nothing.
        shift_bits: of a shift; 0 if there is nothing.

    Raises:
        DesignError: if a bias and its shift do not fit in 64 bits.
    """
    if shifts is None:
        return biases
    if int(np.max(np.abs(biases), initial=0)) >= 1 << (63 - shift_bits):
        raise DesignError(f"a bias needs more than {64 - shift_bits} bits beside its shift")
    return (biases << shift_bits) | shifts


def pack_rows(rows: npt.NDArray[np.int64], width: int) -> NativeArray:
    """Rows of weights as native integers.

    Args:
        rows: signed integers of `width` bits, shape `(folds, lanes)`; for a width of 1, of -1 and
            1, of which the sign is kept.
        width: 1 to 32.

    Returns:
        Shape `(folds, words)`. For a width of 8, 16 or 32 the weights themselves, as int8, int16 or
        int32. Otherwise unsigned integers in which they stand without gaps, the first lane in the
        lowest bits; the size of integer that wastes the fewest bits, the largest of those.

    Raises:
        DesignError: if the width is out of range or a weight does not fit.
    """
    if not 1 <= width <= 32:
        raise DesignError(f"a weight in memory has from 1 to 32 bits, not {width}")
    low, high = (-1, 1) if width == 1 else (-(1 << (width - 1)), (1 << (width - 1)) - 1)
    fits = width > 1 or np.all(rows != 0)
    if rows.size and (rows.min() < low or rows.max() > high or not fits):
        raise DesignError(
            f"weights from {rows.min()} to {rows.max()} do not fit in {width} bits: {low} to {high}"
        )
    if width in (8, 16, 32):
        return rows.astype(f"int{width}")
    folds, lanes = rows.shape
    chunk = word_bits(width, lanes)
    words = -(-lanes * width // chunk)
    if width == 1:
        rows = (rows < 0).astype(np.int64)
    raw = np.ascontiguousarray(rows.astype("<u4")).view(np.uint8).reshape(folds, lanes, 4)
    bits = np.unpackbits(raw, axis=2, bitorder="little")[:, :, :width].reshape(folds, -1)
    padded = np.zeros((folds, words * chunk), np.uint8)
    padded[:, : bits.shape[1]] = bits
    packed = np.packbits(padded, axis=1, bitorder="little")
    return packed.view(f"<u{chunk // 8}").astype(f"uint{chunk}")


def loaded_elements(width: int, lanes: int) -> int:
    """Native integers of the register in which `load_rows` gathers a row: whole 64-bit words."""
    each = 64 // word_bits(width, lanes)
    return -(-row_bits(width, lanes) // 64) * each


def cpp_type(array: NativeArray) -> str:
    """The C++ type of an array's elements, such as `signed char`."""
    return _CPP_TYPES[array.dtype.name]


def array_text(name: str, array: NativeArray) -> str:
    """The C++ definition of a constant array of two dimensions, a row a line."""
    suffix = "ull" if array.dtype == np.uint64 else "ll" if array.dtype == np.int64 else ""
    if suffix:
        texts = [f"{value}{suffix}" for value in array.ravel().tolist()]
    else:
        texts = list(map(str, array.ravel().tolist()))
    columns = array.shape[1]
    rows = map(",".join, zip(*[iter(texts)] * columns, strict=True)) if columns > 1 else texts
    head = f"static const {cpp_type(array)} {name}[{array.shape[0]}][{columns}] = {{\n{{"
    return head + "},\n{".join(rows) + "}};\n"


def narrowest(values: npt.NDArray[np.int64]) -> NativeArray:
    """The values as the narrowest signed native integers that hold them all."""
    for dtype in (np.int8, np.int16, np.int32):
        info = np.iinfo(dtype)
        if info.min <= values.min(initial=0) and values.max(initial=0) <= info.max:
            return values.astype(dtype)
    return values


def list_text(name: str, values: npt.NDArray[np.int64]) -> str:
    """The C++ definition of a constant array of one dimension."""
    array = narrowest(values)
    suffix = "ll" if array.dtype == np.int64 else ""
    texts = ",".join(f"{value}{suffix}" for value in array.tolist())
    return f"static const {cpp_type(array)} {name}[{array.size}] = {{{texts}}};\n"


def selection_rows(
    channels: npt.NDArray[np.int64], lanes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What `select_channels` looks up: beat and lane of the input for each lane of each beat.

    Args:
        channels: of the input, for each channel of the output.
        lanes: of the beats on both sides.

    Returns:
        Two arrays of shape `(out_channels / lanes, lanes)`.

    Raises:
        DesignError: if the lanes do not divide the output's channels.
    """
    _check_divides("selection", "lanes", lanes, channels.size, "selected channels")
    beats, places = np.divmod(channels.reshape(-1, lanes), lanes)
    return beats, places


def reciprocal(divisor: int, low: int, high: int) -> tuple[int, int]:
    """A multiplication and a shift that divide exactly.

    With `m, k` returned, `floor(n / divisor) == (n * m) >> k` for every n from 0 to
    `max(high, -1 - low)`; and since `floor(n / d) == -1 - floor((-1 - n) / d)`, every n from `low`
    to `high` can be divided so.

    Proof: let `m = ceil(2**k / d)` and `e = m * d - 2**k`, so `0 <= e < d`. For `n = q * d + r`
    with `0 <= r < d`: `n * m / 2**k = q + (r + n * e / 2**k) / d`. If `n * e < 2**k`, then
    `r + n * e / 2**k < r + 1 <= d`, so the floor is q. As `n * e` grows with n, the greatest n
    alone has to be looked at. The least such k is taken.

    Args:
        divisor: 1 or more.
        low: least numerator.
        high: greatest numerator.

    Returns:
        Multiplier and shift.

    Raises:
        DesignError: if the divisor is not positive or the multiplier needs more than 63 bits.
    """
    if divisor < 1:
        raise DesignError(f"a divisor must be 1 or more, not {divisor}")
    greatest = max(high, -1 - low, 0)
    shift = 0
    while True:
        multiplier = -(-(1 << shift) // divisor)
        if multiplier >= 1 << 63:
            raise DesignError(
                f"division of {low} to {high} by {divisor} needs a reciprocal of more than 63 "
                "bits: narrow the accumulator"
            )
        if greatest * (multiplier * divisor - (1 << shift)) < 1 << shift:
            return multiplier, shift
        shift += 1


@dataclass(frozen=True)
class Requantization:
    """The constants of one `requantize<R>`.

    Attributes:
        accumulator: format of the sums; its unit and width count, not its rounding.
        output: format to reach.
        divisor: the sums are divided by this.
        maximum: greatest raw integer of the output where it is below the format's, or nothing.
    """

    accumulator: FixedPoint
    output: FixedPoint
    divisor: int = 1
    maximum: int | None = None

    @property
    def shift(self) -> int:
        """Bits by which the accumulator's unit is finer than the output's; may be negative."""
        return self.accumulator.fraction_bits - self.output.fraction_bits

    def text(self, name: str) -> str:
        """The C++ struct.

        Raises:
            DesignError: if the numbers exceed what the kernel computes with (63 bits), or the
                division has no reciprocal.
        """
        width = self.accumulator.width + (not self.accumulator.signed)
        up, down = max(-self.shift, 0), max(self.shift, 0)
        if max(width + up, self.divisor.bit_length() + down + 1) + 1 > 64:
            raise DesignError(
                f"{name}: {self.accumulator} shifted by {self.shift} and divided by {self.divisor} "
                "exceeds 63 bits: narrow the accumulator or bring the units closer"
            )
        low = -(1 << (self.accumulator.width - 1)) if self.accumulator.signed else 0
        high = (1 << (self.accumulator.width - self.accumulator.signed)) - 1
        multiplier, reciprocal_shift = reciprocal(
            self.divisor, (low << up) >> down, (high << up) >> down
        )
        # A maximum that no sum exceeds would not always fit the kernel's numbers.
        limited = self.maximum is not None and self.maximum < int(
            self.output.rescale(high, self.accumulator.fraction_bits, self.divisor)
        )
        lines = [
            f"typedef {self.accumulator.raw_type} accumulator_t;",
            f"typedef {self.output.raw_type} output_t;",
            f"static const int shift = {self.shift};",
            f"static const int divisor = {self.divisor};",
            f"static const unsigned long long reciprocal_multiplier = {multiplier}ull;",
            f"static const int reciprocal_shift = {reciprocal_shift};",
            f"static const hwflow::rounding_mode rounding = hwflow::{self.output.rounding.value};",
            f"static const hwflow::overflow_mode overflow = hwflow::{self.output.overflow.value};",
            f"static const bool is_limited = {'true' if limited else 'false'};",
            f"static const long long maximum = {self.maximum if limited else 0}ll;",
        ]
        return f"struct {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "};\n"


def _check_divides(where: str, name: str, value: int, total: int, what: str) -> None:
    if value < 1 or total % value:
        raise DesignError(f"{where}: {name} must divide the {total} {what}, not {value}")
