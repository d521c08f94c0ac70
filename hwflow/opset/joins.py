"""Operations that join several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import IntArray
from hwflow.opset.base import Interval, Operation, Shape, Tensor, require_int64


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

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        return _aligned_unit(sources, self.shifts)


def _aligned_unit(sources: Sequence[Tensor], shifts: Sequence[int]) -> tuple[int, int]:
    units = {
        source.format.fraction_bits + shift for source, shift in zip(sources, shifts, strict=True)
    }
    if len(units) != 1:
        raise ValueError(f"shifts {tuple(shifts)} do not align its inputs")
    return units.pop(), 1


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

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        return _aligned_unit(sources, self.shifts)


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

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        first, second = sources
        return first.format.fraction_bits + second.format.fraction_bits, 1
