"""Output heads: what is made of a network's logits, pixel by pixel over the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.opset.base import Interval, Operation, Shape, Tensor, require_int64


@dataclass(frozen=True, eq=False)
class _TopK(Operation):
    """The `k` greatest channels of each pixel, the greatest first, equal ones by their index.

    Attributes:
        k: how many.
    """

    k: int
    is_head: ClassVar[bool] = True

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        if not 1 <= self.k <= channels:
            raise ValueError(f"k must be from 1 to its {channels} channels, not {self.k}")
        return (height, width, self.k)

    def order(self, tensor: IntArray) -> IntArray:
        """Indices of the channels, shape `(N, H, W, k)`."""
        # the complement falls where a value rises, and cannot overflow
        return np.argsort(~tensor, axis=-1, kind="stable")[..., : self.k]


@dataclass(frozen=True, eq=False)
class TopKIndices(_TopK):
    """The indices of the `k` greatest channels of each pixel; with `k = 1` the arg-max.

    Attributes:
        k: how many.
    """

    kind: ClassVar[str] = "top_k_indices"

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return self.order(tensor)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        return Interval(np.zeros(self.k, np.int64), np.full(self.k, interval.low.size - 1))

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        return 0, 1


@dataclass(frozen=True, eq=False)
class TopKValues(_TopK):
    """The values of the `k` greatest channels of each pixel.

    Attributes:
        k: how many.
    """

    kind: ClassVar[str] = "top_k_values"

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return np.take_along_axis(tensor, self.order(tensor), axis=-1)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        low, high = (np.sort(ends)[::-1][: self.k] for ends in (interval.low, interval.high))
        return Interval(low, high)


@dataclass(frozen=True, eq=False)
class Softmax(Operation):
    """Softmax over the channels of each pixel, in whole numbers.

    With `d` the distance of a channel's raw integer below the pixel's greatest, its exponential is
    `table[d]` (the last entry beyond the table's end), and its result is the exponential divided
    by the sum of all of them, as `format` has it: rounded once, ties to even.

    Attributes:
        table: whole numbers that do not rise, shape `(entries,)`; the last is zero unless there is
            one for every distance.
        format: of the results: unsigned, with one integer bit, so that 1 is among them.
    """

    table: npt.NDArray[np.int64]
    format: FixedPoint
    kind: ClassVar[str] = "softmax"
    is_head: ClassVar[bool] = True

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        rises = np.any(np.diff(self.table) > 0)
        if self.table.ndim != 1 or not self.table.size or rises or self.table[-1] < 0:
            raise ValueError("its table must be a list of whole numbers that do not rise")
        if self.table[0] < 1:
            raise ValueError("its table must begin above zero")
        if self.format.signed or self.format.integer_bits != 1:
            raise ValueError(f"its format must be unsigned with one integer bit, not {self.format}")
        require_int64(int(self.table[0]) * shape[2] << self.format.fraction_bits + 1)
        return shape

    def exponentials(self, tensor: IntArray) -> IntArray:
        """The table's entry of every value, the same shape."""
        distances = tensor.max(axis=-1, keepdims=True) - tensor
        return np.asarray(self.table[np.minimum(distances, self.table.size - 1)])

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        shares = self.exponentials(tensor) << self.format.fraction_bits
        totals = (shares >> self.format.fraction_bits).sum(axis=-1, keepdims=True)
        quotients, rests = np.divmod(shares, totals)
        ties, above = 2 * rests == totals, 2 * rests > totals
        return np.asarray(quotients + (above | (ties & (quotients % 2 == 1))))

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        one = 1 << self.format.fraction_bits
        return Interval(np.zeros_like(interval.low), np.full_like(interval.high, one))

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        (source,) = sources
        farthest = int(source.interval.high.max()) - int(source.interval.low.min())
        if self.table[-1] and farthest >= self.table.size:
            raise ValueError(f"its table must reach a distance of {farthest}, or end with zero")
        return self.format.fraction_bits, 1

    def result_format(self, interval: Interval, fraction_bits: int) -> FixedPoint:
        return self.format
