"""Channels in another order, or some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import IntArray
from hwflow.opset.base import Interval, Operation, Shape


@dataclass(frozen=True, eq=False)
class SelectChannels(Operation):
    """Channels of the input in any order: a shuffle, a split, any permutation or repetition.

    Attributes:
        channels: for each channel of the result, the channel of the input that it is.
    """

    channels: tuple[int, ...]
    kind: ClassVar[str] = "select_channels"

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        if not self.channels:
            raise ValueError(f"{self.name}: selects no channel")
        if min(self.channels) < 0 or max(self.channels) >= channels:
            raise ValueError(
                f"{self.name}: selects channels {min(self.channels)} to {max(self.channels)} "
                f"of {channels}"
            )
        return (height, width, len(self.channels))

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return np.asarray(tensor[..., self.channels])

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        chosen = list(self.channels)
        return Interval(interval.low[chosen], interval.high[chosen])
