"""The only operation that loses bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import FixedPoint, IntArray, Overflow
from hwflow.opset.base import Interval, Operation, Shape, Tensor


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
    takes_sums: ClassVar[bool] = True

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
        return result if self.maximum is None else np.minimum(result, self.maximum, out=result)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        reach = Interval(self.evaluate(interval.low), self.evaluate(interval.high))
        if self.format.overflow.value in ("WRAP", "SAT_ZERO"):
            channels = interval.low.shape
            return Interval(
                np.full(channels, self.format.minimum, np.int64),
                np.full(channels, self.format.maximum, np.int64),
            )
        return reach

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        (source,) = sources
        if (self.fraction_bits, self.divisor) != (source.format.fraction_bits, source.divisor):
            raise ValueError("its fraction bits and divisor are not those of its input")
        return self.format.fraction_bits, 1

    def result_format(self, interval: Interval, fraction_bits: int) -> FixedPoint:
        return self.format
