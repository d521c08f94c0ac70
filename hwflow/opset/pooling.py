"""Maxima and sums over windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import IntArray
from hwflow.opset.base import Interval, Operation, Shape, Tensor, require_int64
from hwflow.opset.windows import Padding, pixel_counts, pooled, window_count


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
        return pooled(tensor, self.window, self.strides, self.padding, lowest, np.maximum)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        return interval


@dataclass(frozen=True, eq=False)
class SumPool2D(Operation):
    """Sum over windows, the integer half of average pooling.

    The division is left to the `Requantize` that follows, so that it is rounded once.

    Attributes:
        window: rows, columns; the whole input for global pooling.
        strides: rows, columns.
        padding: around the input.
        divisor: nothing where padding counts as pixels of zero: sums are then divided by the
            window's size. Where it does not count, a common multiple of the pixels that the
            windows really hold: a sum of `n` pixels is given times `divisor / n`, so that the one
            divisor suits every window.
    """

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)
    divisor: int | None = None
    kind: ClassVar[str] = "sum_pool2d"

    @property
    def divides_by(self) -> int:
        """The divisor of the result."""
        return self.window[0] * self.window[1] if self.divisor is None else self.divisor

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        rows, columns = self.scales((height, width, channels))
        return (rows.size, columns.size, channels)

    def scales(self, shape: Shape) -> tuple[IntArray, IntArray]:
        """Factors of each row and of each column of the sums.

        Args:
            shape: of the input.

        Raises:
            ValueError: if the divisor is no multiple of a window's pixels.
        """
        rows, columns = _counts(shape, self.window, self.strides, self.padding)
        if self.divisor is None:
            return np.ones_like(rows), np.ones_like(columns)
        if rows.min() < 1 or columns.min() < 1:
            raise ValueError(f"{self.name}: a window would hold padding alone")
        row_multiple = math.lcm(*map(int, rows))
        column_multiple, rest = divmod(self.divisor, row_multiple)
        if rest or np.any(column_multiple % columns):
            raise ValueError(
                f"{self.name}: its divisor of {self.divisor} is no multiple of every window's "
                "number of pixels"
            )
        return row_multiple // rows, column_multiple // columns

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        sums = pooled(tensor, self.window, self.strides, self.padding, 0, np.add)
        if self.divisor is None:
            return sums
        height, width, channels = tensor.shape[1:]
        rows, columns = self.scales((height, width, channels))
        return np.asarray(sums * (rows[:, None] * columns)[:, :, None])

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        size = self.divides_by
        if any(self.padding) and self.divisor is None:
            interval = interval.including_zero()
        require_int64(interval.peak * size)
        # The running sum starts at zero, so zero is always among what it reaches.
        return Interval(interval.low * size, interval.high * size).including_zero()

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        return sources[0].format.fraction_bits, self.divides_by


def _counts(
    shape: Shape, window: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> tuple[IntArray, IntArray]:
    """Pixels that the windows really hold: rows of each row of windows, columns of each column."""
    top, bottom, left, right = padding
    return (
        pixel_counts(shape[0], top, bottom, window[0], strides[0]),
        pixel_counts(shape[1], left, right, window[1], strides[1]),
    )


def common_divisor(
    shape: Shape, window: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> int | None:
    """The `divisor` of a `SumPool2D` whose padding does not count, the least; nothing without any.

    Args:
        shape: of the input.
        window: rows, columns.
        strides: rows, columns.
        padding: around the input.

    Raises:
        ValueError: if no window fits.
    """
    if not any(padding):
        return None
    rows, columns = _counts(shape, window, strides, padding)
    return math.lcm(*map(int, rows)) * math.lcm(*map(int, columns))
