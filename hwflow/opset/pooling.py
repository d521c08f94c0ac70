"""Maxima and sums over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import IntArray
from hwflow.opset.base import Interval, Operation, Shape, Tensor, require_int64
from hwflow.opset.windows import Padding, window_count, windows


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
            window_count(height, top, bottom, self.window[0], self.strides[0]),
            window_count(width, left, right, self.window[1], self.strides[1]),
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
            window_count(height, top, bottom, self.window[0], self.strides[0]),
            window_count(width, left, right, self.window[1], self.strides[1]),
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

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        return sources[0].format.fraction_bits, self.window[0] * self.window[1]
