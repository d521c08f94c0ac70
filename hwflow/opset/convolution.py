"""Convolution: dense, depthwise and grouped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.opset.base import UNSAID, Interval, Operation, Shape, Tensor, require_int64
from hwflow.opset.windows import Padding, padded, reach_of, strided, window_count

LARGEST_SHIFT = 62
"""No product can be shifted further within 64 bits."""

BLOCK_VALUES = 1 << 18
"""The most values of a convolution's input or output that are in work at a time."""


@dataclass(frozen=True, eq=False)
class Conv2D(Operation):
    """Convolution with bias: `(sum of weight * input) * 2**shifts[c] + biases[c]` in channel c.

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
        channel_shifts: bits by which an output channel's weights are coarser than
            `weight_format` says, shape `(Cout,)`; or nothing, if none are.
        dilation: rows, columns from one tap of the window to the next.
    """

    weights: npt.NDArray[np.int64]
    biases: npt.NDArray[np.int64]
    weight_format: FixedPoint
    strides: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    product_shift: int = 0
    channel_shifts: npt.NDArray[np.int64] | None = None
    dilation: tuple[int, int] = field(default=(1, 1), metadata=UNSAID)
    kind: ClassVar[str] = "conv2d"

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the window's first tap to its last, both counted."""
        return reach_of((self.weights.shape[0], self.weights.shape[1]), self.dilation)

    @property
    def has_window(self) -> bool:
        """Whether an output pixel does not read the one input pixel in its place alone."""
        return self.weights.shape[:2] != (1, 1) or self.strides != (1, 1) or any(self.padding)

    @property
    def shifts(self) -> IntArray:
        """Bits by which the products of each output channel are shifted, shape `(Cout,)`."""
        by_channel = 0 if self.channel_shifts is None else self.channel_shifts
        return np.full(self.weights.shape[3], self.product_shift, np.int64) + by_channel

    @property
    def shift_bits(self) -> int:
        """Bits that tell a channel's own shift; 0 if no channel has one."""
        return 0 if self.channel_shifts is None else int(self.channel_shifts.max()).bit_length()

    @property
    def weight_width(self) -> int:
        """Bits of a weight in memory, as a signed integer; 1 where all are -1 or 1."""
        if np.all(np.abs(self.weights) == 1):
            return 1
        return max(2, self.weight_format.width + (not self.weight_format.signed))

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        group_inputs, filters = self.weights.shape[2:]
        if channels != group_inputs * self.groups or filters % self.groups:
            raise ValueError(
                f"{self.name}: weights {self.weights.shape} in {self.groups} groups do not fit "
                f"{channels} input channels"
            )
        given = self.channel_shifts
        if given is not None and (
            given.shape != (filters,) or given.min() < 0 or given.max() > LARGEST_SHIFT
        ):
            raise ValueError(
                f"{self.name}: channel_shifts must be {filters} numbers from 0 to {LARGEST_SHIFT}"
            )
        if min(self.dilation) < 1:
            raise ValueError(f"{self.name}: dilation must be positive, not {self.dilation}")
        top, bottom, left, right = self.padding
        rows, columns = self.reach
        return (
            window_count(height, top, bottom, rows, self.strides[0]),
            window_count(width, left, right, columns, self.strides[1]),
            filters,
        )

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        images, height, width, channels = tensor.shape
        out_height, out_width, filters = self.output_shape((height, width, channels))
        kernels = self.weights.astype(self.exact_type(tensor))
        result = np.empty((images, out_height, out_width, filters), np.int64)
        count = max(1, BLOCK_VALUES // (out_width * max(channels, filters)))  # rows at a time
        for index in range(images):
            image = padded(tensor[index : index + 1].astype(kernels.dtype), self.padding)[0]
            for first in range(0, out_height, count):
                rows = range(first, min(first + count, out_height))
                sums = self._sums(image, kernels, rows, out_width).astype(np.int64)
                result[index, first : rows.stop] = (sums << self.shifts) + self.biases
        return result

    def exact_type(self, tensor: IntArray) -> type[np.generic]:
        """The type that sums the products without a rounding error: for BLAS, where that is proved.

        Every product, and every sum of some of the products, is a whole number whose magnitude is
        at most `peak`: the input's greatest magnitude times a filter's sum of magnitudes. float32
        holds all whole numbers up to 2**24 and float64 all up to 2**53, so up to there no operation
        rounds, in whatever order products are added, and whether or not they are fused with sums.
        Beyond, integers are added, of which `interval` has proved that they stay within 64 bits.

        Args:
            tensor: the input's raw integers.
        """
        reach = max(int(tensor.max(initial=0)), -int(tensor.min(initial=0)))
        peak = reach * int(np.max(np.abs(self.weights).sum(axis=(0, 1, 2)), initial=0))
        if peak <= 1 << 24:
            return np.float32
        return np.float64 if peak <= 1 << 53 else np.int64

    def _sums(
        self, image: npt.NDArray[Any], kernels: npt.NDArray[Any], rows: range, columns: int
    ) -> npt.NDArray[Any]:
        """Sums of products, tap by tap of the window.

        Args:
            image: padded, shape `(H, W, Cin)`.
            kernels: the weights, of the same type.
            rows: of the output.
            columns: of the output.

        Returns:
            Shape `(rows, columns, Cout)`.
        """
        kernel_height, kernel_width, group_inputs, filters = kernels.shape
        group_filters = filters // self.groups
        sums = np.zeros((len(rows) * columns, filters), kernels.dtype)
        for i, j in np.ndindex(kernel_height, kernel_width):
            pixels = image[
                strided(
                    rows.start * self.strides[0] + i * self.dilation[0],
                    len(rows),
                    self.strides[0],
                ),
                strided(j * self.dilation[1], columns, self.strides[1]),
            ].reshape(len(sums), -1)
            if group_inputs == 1:
                sums += pixels.repeat(group_filters, axis=1) * kernels[i, j, 0]
                continue
            for group in range(self.groups):
                given = slice(group * group_inputs, (group + 1) * group_inputs)
                chosen = slice(group * group_filters, (group + 1) * group_filters)
                sums[:, chosen] += pixels[:, given] @ kernels[i, j, :, chosen]
        return sums.reshape(len(rows), columns, filters)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        reach = interval.including_zero()
        shifts = self.shifts
        magnitudes = np.sum(np.abs(self.weights), axis=(0, 1, 2))
        heaviest = max(
            int(magnitude) << int(shift)
            for magnitude, shift in zip(magnitudes, shifts, strict=True)
        )
        largest_bias = int(np.max(np.abs(self.biases), initial=0))
        require_int64(reach.peak * heaviest + largest_bias)
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
        return Interval((low << shifts) + self.biases, (high << shifts) + self.biases)

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        fraction_bits = sources[0].format.fraction_bits + self.weight_format.fraction_bits
        return fraction_bits + self.product_shift, 1

    def result_format(self, interval: Interval, fraction_bits: int) -> FixedPoint:
        # The running sum also passes through its parts.
        return super().result_format(interval.including_zero(), fraction_bits)

    def macs(self, *shapes: Shape) -> int:
        height, width, _ = self.output_shape(*shapes)
        return height * width * int(self.weights.size)
