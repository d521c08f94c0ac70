"""A function of one value, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, IntArray, blockwise
from hwflow.opset.base import Interval, Operation, Shape, Tensor


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
        return blockwise(lambda part: self.values[part + self.offset], tensor)

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

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        declared = sources[0].format
        if (self.values.size, self.is_signed) != (1 << declared.width, declared.signed):
            raise ValueError(f"its table is not one of every value of {declared}")
        return self.format.fraction_bits, 1

    def result_format(self, interval: Interval, fraction_bits: int) -> FixedPoint:
        return self.format
