"""A map in another frame: rows and columns cut off, or zeros around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import IntArray
from hwflow.opset.base import Interval, Operation, Shape
from hwflow.opset.windows import Padding, padded


@dataclass(frozen=True, eq=False)
class Frame2D(Operation):
    """The same pixels, with fewer rows and columns, or with zeros around.

    Attributes:
        padding: zeros around the input; of a negative side as many rows or columns are cut off.
    """

    padding: Padding
    kind: ClassVar[str] = "frame2d"

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        top, bottom, left, right = self.padding
        kept = height + min(top, 0) + min(bottom, 0), width + min(left, 0) + min(right, 0)
        if min(kept) < 1:
            raise ValueError(f"{self.name}: cuts off all of {height} x {width} pixels")
        return (height + top + bottom, width + left + right, channels)

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        top, bottom, left, right = (max(-side, 0) for side in self.padding)
        height, width = tensor.shape[1:3]
        kept = tensor[:, top : height - bottom, left : width - right]
        top, bottom, left, right = (max(side, 0) for side in self.padding)
        return np.ascontiguousarray(padded(kept, (top, bottom, left, right)))

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        return interval.including_zero() if max(self.padding) > 0 else interval
