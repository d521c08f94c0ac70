"""Convolution: dense, depthwise and grouped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.opset.base import Interval, Operation, Shape, Tensor, require_int64
from hwflow.opset.windows import Padding, window_count, windows

LARGEST_SHIFT = 62
"""No product can be shifted further within 64 bits."""


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
    """

    weights: npt.NDArray[np.int64]
    biases: npt.NDArray[np.int64]
    weight_format: FixedPoint
    strides: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    product_shift: int = 0
    channel_shifts: npt.NDArray[np.int64] | None = None
    kind: ClassVar[str] = "conv2d"

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
        kernel_height, kernel_width, group_inputs, filters = self.weights.shape
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
        top, bottom, left, right = self.padding
        return (
            window_count(height, top, bottom, kernel_height, self.strides[0]),
            window_count(width, left, right, kernel_width, self.strides[1]),
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
        return (result << self.shifts) + self.biases

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
