"""The closed set of integer operations, each with its NumPy reference.

Tensors are int64 arrays of raw integers, shape `(N, H, W, C)`; a tensor's `FixedPoint` says what
a raw integer is worth. Every operation gives its result exactly: what loses bits is `Requantize`
alone. An operation also bounds its result: `interval` maps, channel by channel, what its inputs can
reach to what its output can reach, over the actual weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, IntArray, Overflow

Shape = tuple[int, int, int]
"""Height, width, channels."""

Padding = tuple[int, int, int, int]
"""Rows above, rows below, columns left, columns right."""

KINDS: dict[str, type[Operation]] = {}
"""Every operation class by its kind."""


@dataclass(frozen=True)
class Interval:
    """The least and greatest raw integer that each channel can take.

    Attributes:
        low: shape `(C,)`.
        high: shape `(C,)`.
    """

    low: IntArray
    high: IntArray

    def including_zero(self) -> Interval:
        """The same, widened to hold zero (what padding brings in)."""
        return Interval(np.minimum(self.low, 0), np.maximum(self.high, 0))

    @property
    def peak(self) -> int:
        """The greatest magnitude of all channels."""
        return max(abs(int(self.low.min(initial=0))), abs(int(self.high.max(initial=0))))

    def shifted(self, bits: int) -> Interval:
        """The interval of the raw integers times `2**bits`.

        Raises:
            ValueError: if that does not fit in 64 bits.
        """
        require_int64(self.peak << bits)
        return Interval(self.low << bits, self.high << bits)


def require_int64(peak: int) -> None:
    """Refuses what NumPy's integers would wrap silently.

    Args:
        peak: the greatest magnitude that is computed.

    Raises:
        ValueError: if it does not fit in 64 bits.
    """
    if peak >= 1 << 63:
        raise ValueError(f"its values need {peak.bit_length() + 1} bits, more than 64")


@dataclass(frozen=True, eq=False)
class Operation(ABC):
    """One integer operation; its output tensor bears its name.

    Attributes:
        name: unique within the graph.
        inputs: names of the operations whose outputs it takes.
    """

    name: str
    inputs: tuple[str, ...]

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            KINDS[cls.kind] = cls

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of the result.

        Raises:
            ValueError: if the inputs' shapes do not fit the operation or one another.
        """

    @abstractmethod
    def evaluate(self, *tensors: IntArray) -> IntArray:
        """The result's raw integers, shape `(N, H, W, C)`, from the inputs' raw integers."""

    @abstractmethod
    def interval(self, *intervals: Interval) -> Interval:
        """What the result can reach when the inputs reach what `intervals` say."""

    def macs(self, *shapes: Shape) -> int:
        """Multiply-accumulates for one image."""
        return 0


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """The network's input, already quantized to its tensor's format.

    Attributes:
        shape: height, width, channels.
        format: the declared format of the tensor.
    """

    shape: Shape
    format: FixedPoint
    kind: ClassVar[str] = "input"

    def output_shape(self, *shapes: Shape) -> Shape:
        return self.shape

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return tensor

    def interval(self, *intervals: Interval) -> Interval:
        channels = self.shape[2]
        return Interval(
            np.full(channels, self.format.minimum, np.int64),
            np.full(channels, self.format.maximum, np.int64),
        )


def _window_count(size: int, before: int, after: int, window: int, stride: int) -> int:
    padded = size + before + after
    if padded < window:
        raise ValueError(f"a window of {window} does not fit in {padded} pixels")
    return (padded - window) // stride + 1


def windows(
    tensor: npt.NDArray[Any],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    fill: int,
) -> npt.NDArray[Any]:
    """All windows of a tensor: shape `(N, Ho, Wo, C, kh, kw)`, a view of the padded tensor."""
    top, bottom, left, right = padding
    padded = np.pad(tensor, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    view: npt.NDArray[Any] = np.lib.stride_tricks.sliding_window_view(
        padded,
        window,  # type: ignore[call-overload]
        axis=(1, 2),
    )
    return view[:, :: strides[0], :: strides[1]]


@dataclass(frozen=True, eq=False)
class Conv2D(Operation):
    """Convolution with bias: `(sum of weight * input) * 2**product_shift + bias`.

    Depthwise and grouped layers have `groups > 1`; a dense layer is a 1x1 convolution of one pixel.
    Input channel group `g` feeds output channels `g * Cout / groups` onward.

    Attributes:
        weights: raw integers, shape `(kh, kw, Cin / groups, Cout)`.
        biases: raw integers in the accumulator's unit, shape `(Cout,)`.
        weight_format: format of `weights`.
        strides: rows, columns.
        padding: zeros around the input.
        groups: number of channel groups.
        product_shift: bits by which the bias's unit is finer than the products'.
    """

    weights: npt.NDArray[np.int64]
    biases: npt.NDArray[np.int64]
    weight_format: FixedPoint
    strides: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    product_shift: int = 0
    kind: ClassVar[str] = "conv2d"

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        kernel_height, kernel_width, group_inputs, filters = self.weights.shape
        if channels != group_inputs * self.groups or filters % self.groups:
            raise ValueError(
                f"{self.name}: weights {self.weights.shape} in {self.groups} groups do not fit "
                f"{channels} input channels"
            )
        top, bottom, left, right = self.padding
        return (
            _window_count(height, top, bottom, kernel_height, self.strides[0]),
            _window_count(width, left, right, kernel_width, self.strides[1]),
            filters,
        )

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        kernel_height, kernel_width, group_inputs, filters = self.weights.shape
        peak = int(np.max(np.abs(tensor), initial=0)) * int(
            np.max(np.sum(np.abs(self.weights), axis=(0, 1, 2)), initial=0)
        )
        exact: type = np.float64 if peak < 1 << 53 else np.int64  # BLAS where it is exact
        image_count, height, width = tensor.shape[:3]
        out_height, out_width, _ = self.output_shape((height, width, tensor.shape[3]))
        result = np.empty((image_count, out_height, out_width, filters), np.int64)
        group_filters = filters // self.groups
        for index in range(image_count):
            view = windows(
                tensor[index : index + 1].astype(exact),
                (kernel_height, kernel_width),
                self.strides,
                self.padding,
                0,
            )[0]
            if self.groups > 1 and group_inputs == 1:
                kernels = self.weights[:, :, 0, :].reshape(
                    kernel_height, kernel_width, self.groups, group_filters
                )
                sums = np.einsum("hwcij,ijcm->hwcm", view, kernels.astype(exact))
                result[index] = sums.reshape(out_height, out_width, filters)
                continue
            for group in range(self.groups):
                columns = view[:, :, group * group_inputs : (group + 1) * group_inputs]
                columns = columns.reshape(out_height * out_width, -1)
                chosen = slice(group * group_filters, (group + 1) * group_filters)
                matrix = self.weights[..., chosen].transpose(2, 0, 1, 3).reshape(-1, group_filters)
                sums = columns @ matrix.astype(exact)
                result[index, ..., chosen] = sums.reshape(out_height, out_width, group_filters)
        return (result << self.product_shift) + self.biases

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        reach = interval.including_zero()
        heaviest = int(np.max(np.sum(np.abs(self.weights), axis=(0, 1, 2)), initial=0))
        largest_bias = int(np.max(np.abs(self.biases), initial=0))
        require_int64((reach.peak * heaviest << self.product_shift) + largest_bias)
        group_inputs, filters = self.weights.shape[2:]
        group_filters = filters // self.groups
        low = np.empty(filters, np.int64)
        high = np.empty(filters, np.int64)
        positive = np.maximum(self.weights, 0).sum(axis=(0, 1))
        negative = np.minimum(self.weights, 0).sum(axis=(0, 1))
        for group in range(self.groups):
            chosen = slice(group * group_filters, (group + 1) * group_filters)
            given = slice(group * group_inputs, (group + 1) * group_inputs)
            up, down = positive[:, chosen], negative[:, chosen]
            low[chosen] = reach.low[given] @ up + reach.high[given] @ down
            high[chosen] = reach.high[given] @ up + reach.low[given] @ down
        # A partial sum starts at the bias and adds terms whose extremes are on either side of
        # zero, so these bounds hold for every partial sum in every order too.
        return Interval(
            (low << self.product_shift) + self.biases, (high << self.product_shift) + self.biases
        )

    def macs(self, *shapes: Shape) -> int:
        height, width, _ = self.output_shape(*shapes)
        return height * width * int(self.weights.size)


@dataclass(frozen=True, eq=False)
class Requantize(Operation):
    """Brings a tensor to a narrower format: shift, round, saturate; unsigned formats give ReLU.

    Attributes:
        format: the format to reach.
        fraction_bits: of the input.
        divisor: the input's raw integers are sums of this many; they are divided exactly, and
            rounded once.
        maximum: greatest raw integer of the result where it is below the format's (ReLU6), or
            nothing. Rounding keeps order, so to clip the result is to clip what is rounded.
    """

    format: FixedPoint
    fraction_bits: int
    divisor: int = 1
    maximum: int | None = None
    kind: ClassVar[str] = "requantize"

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.maximum is not None:
            if not self.format.minimum <= self.maximum <= self.format.maximum:
                raise ValueError(f"its maximum of {self.maximum} is not in {self.format}")
            if self.format.overflow not in (Overflow.SAT, Overflow.SAT_SYM):
                raise ValueError(f"a maximum needs saturation, not {self.format.overflow.value}")
        return shape

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        result = self.format.rescale(tensor, self.fraction_bits, self.divisor)
        return result if self.maximum is None else np.minimum(result, self.maximum)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        if self.format.overflow.value in ("WRAP", "SAT_ZERO"):
            channels = interval.low.shape
            return Interval(
                np.full(channels, self.format.minimum, np.int64),
                np.full(channels, self.format.maximum, np.int64),
            )
        return Interval(self.evaluate(interval.low), self.evaluate(interval.high))


@dataclass(frozen=True, eq=False)
class MaxPool2D(Operation):
    """Maximum over windows; padding never wins.

    Attributes:
        window: rows, columns.
        strides: rows, columns.
        padding: around the input.
    """

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)
    kind: ClassVar[str] = "max_pool2d"

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        top, bottom, left, right = self.padding
        if max(top, bottom) >= self.window[0] or max(left, right) >= self.window[1]:
            raise ValueError(f"{self.name}: a window would hold padding alone")
        return (
            _window_count(height, top, bottom, self.window[0], self.strides[0]),
            _window_count(width, left, right, self.window[1], self.strides[1]),
            channels,
        )

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        lowest = int(np.iinfo(np.int64).min)
        view = windows(tensor, self.window, self.strides, self.padding, lowest)
        return np.asarray(view.max(axis=(4, 5)))

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        return interval


@dataclass(frozen=True, eq=False)
class SumPool2D(Operation):
    """Sum over windows, the integer half of average pooling; padding counts as zero.

    The division is left to the `Requantize` that follows, so that it is rounded once.

    Attributes:
        window: rows, columns; the whole input for global pooling.
        strides: rows, columns.
        padding: around the input.
    """

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)
    kind: ClassVar[str] = "sum_pool2d"

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        top, bottom, left, right = self.padding
        return (
            _window_count(height, top, bottom, self.window[0], self.strides[0]),
            _window_count(width, left, right, self.window[1], self.strides[1]),
            channels,
        )

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        view = windows(tensor, self.window, self.strides, self.padding, 0)
        return np.asarray(view.sum(axis=(4, 5)))

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        size = self.window[0] * self.window[1]
        if any(self.padding):
            interval = interval.including_zero()
        require_int64(interval.peak * size)
        # The running sum starts at zero, so zero is always among what it reaches.
        return Interval(interval.low * size, interval.high * size).including_zero()


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Sum of tensors of one shape, each aligned by a left shift to the finest unit.

    Attributes:
        shifts: left shift of each input.
    """

    shifts: tuple[int, ...]
    kind: ClassVar[str] = "add"

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(set(shapes)) != 1:
            raise ValueError(f"{self.name}: cannot add shapes {', '.join(map(str, shapes))}")
        return shapes[0]

    def evaluate(self, *tensors: IntArray) -> IntArray:
        return _total([tensor << bits for tensor, bits in zip(tensors, self.shifts, strict=True)])

    def interval(self, *intervals: Interval) -> Interval:
        shifted = [part.shifted(bits) for part, bits in zip(intervals, self.shifts, strict=True)]
        require_int64(sum(part.peak for part in shifted))
        return Interval(_total([s.low for s in shifted]), _total([s.high for s in shifted]))


def _total(arrays: Sequence[IntArray]) -> IntArray:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


@dataclass(frozen=True, eq=False)
class Concatenate(Operation):
    """Tensors side by side along the channels, each aligned by a left shift to the finest unit.

    Attributes:
        shifts: left shift of each input.
    """

    shifts: tuple[int, ...]
    kind: ClassVar[str] = "concatenate"

    def output_shape(self, *shapes: Shape) -> Shape:
        if len({shape[:2] for shape in shapes}) != 1:
            raise ValueError(
                f"{self.name}: cannot concatenate shapes {', '.join(map(str, shapes))}"
            )
        return (*shapes[0][:2], sum(shape[2] for shape in shapes))

    def evaluate(self, *tensors: IntArray) -> IntArray:
        parts = [tensor << bits for tensor, bits in zip(tensors, self.shifts, strict=True)]
        return np.concatenate(parts, axis=-1)

    def interval(self, *intervals: Interval) -> Interval:
        shifted = [part.shifted(bits) for part, bits in zip(intervals, self.shifts, strict=True)]
        return Interval(
            np.concatenate([part.low for part in shifted]),
            np.concatenate([part.high for part in shifted]),
        )


@dataclass(frozen=True, eq=False)
class Multiply(Operation):
    """Product of two tensors; the second may be a single pixel, which scales every pixel.

    Squeeze-and-excitation gates a feature map so. The unit is the product of the units.
    """

    kind: ClassVar[str] = "multiply"

    def output_shape(self, *shapes: Shape) -> Shape:
        first, second = shapes
        if second not in (first, (1, 1, first[2])):
            raise ValueError(f"{self.name}: cannot multiply shapes {first} and {second}")
        return first

    def evaluate(self, *tensors: IntArray) -> IntArray:
        first, second = tensors
        return np.asarray(first * second)

    def interval(self, *intervals: Interval) -> Interval:
        first, second = intervals
        require_int64(first.peak * second.peak)
        corners = [a * b for a in (first.low, first.high) for b in (second.low, second.high)]
        return Interval(np.min(corners, axis=0), np.max(corners, axis=0))


@dataclass(frozen=True, eq=False)
class Table(Operation):
    """A function of one value as a list of its results for every value that there can be.

    Attributes:
        values: raw results, shape `(2**width,)` for an input of `width` bits: that of the least raw
            integer of the input's format first (`-2**(width - 1)` where it is signed, else 0).
        format: of the results.
        is_signed: whether the input's format is signed.
    """

    values: npt.NDArray[np.int64]
    format: FixedPoint
    is_signed: bool
    kind: ClassVar[str] = "table"

    @property
    def offset(self) -> int:
        """What is added to a raw input to find its entry."""
        return self.values.size // 2 if self.is_signed else 0

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.values.min() < self.format.minimum or self.values.max() > self.format.maximum:
            raise ValueError(f"its results leave the range of {self.format}")
        return shape

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return np.asarray(self.values[tensor + self.offset])

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        reach = [
            self.values[low + self.offset : high + self.offset + 1]
            for low, high in zip(interval.low, interval.high, strict=True)
        ]
        return Interval(
            np.array([values.min() for values in reach]),
            np.array([values.max() for values in reach]),
        )


@dataclass(frozen=True)
class Tensor:
    """The result of an operation.

    Attributes:
        shape: height, width, channels.
        format: what a raw integer is worth; proved to hold every value the tensor can take.
        divisor: the value is `raw * 2**-fraction_bits / divisor` (sums of average pooling).
        interval: what each channel can reach.
    """

    shape: Shape
    format: FixedPoint
    divisor: int = 1
    interval: Interval = field(repr=False, compare=False, default=None)  # type: ignore[assignment]
