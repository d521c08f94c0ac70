"""Upsampling by whole factors: each pixel repeated, or bilinear interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import IntArray
from hwflow.opset.base import Interval, Operation, Shape, Tensor, require_int64


def weight_unit(factor: int) -> int:
    """How many parts of a whole the weights of bilinear interpolation count, along one axis."""
    return factor if factor % 2 else 2 * factor


def bilinear_taps(size: int, factor: int) -> tuple[IntArray, IntArray, IntArray]:
    """What each output row (or column) is interpolated from.

    The centres of the output's pixels are spread evenly over the input's (half-pixel centres);
    beyond the first and the last centre the border is repeated.

    Args:
        size: rows of the input.
        factor: output rows for each of them.

    Returns:
        For each output row: the row above, the row below, and the weight of that below in parts of
        `weight_unit(factor)`.

    Source: TensorFlow, `tf.image.resize`, method bilinear.
    """
    unit = weight_unit(factor)
    places = (2 * np.arange(size * factor) + 1 - factor) * unit // (2 * factor)
    above = places // unit
    return (
        np.clip(above, 0, size - 1),
        np.clip(above + 1, 0, size - 1),
        places - above * unit,
    )


@dataclass(frozen=True, eq=False)
class _Upsample2D(Operation):
    """What both have in common.

    Attributes:
        factors: output rows and columns for each of the input.
    """

    factors: tuple[int, int]

    def output_shape(self, *shapes: Shape) -> Shape:
        ((height, width, channels),) = shapes
        if min(self.factors) < 1:
            raise ValueError(f"factors must be positive, not {self.factors}")
        return (height * self.factors[0], width * self.factors[1], channels)


@dataclass(frozen=True, eq=False)
class UpsampleNearest2D(_Upsample2D):
    """Every pixel repeated along rows and columns.

    Attributes:
        factors: output rows and columns for each of the input.
    """

    kind: ClassVar[str] = "upsample_nearest2d"

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return tensor.repeat(self.factors[0], axis=1).repeat(self.factors[1], axis=2)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        return interval


@dataclass(frozen=True, eq=False)
class UpsampleBilinear2D(_Upsample2D):
    """Bilinear interpolation with half-pixel centres, exact: weighted sums of up to four pixels.

    The weights are whole numbers in parts of `weight_unit` of each factor, which are powers of two
    but for an odd divisor; that is left to the `Requantize` that follows.

    Attributes:
        factors: output rows and columns for each of the input.
    """

    kind: ClassVar[str] = "upsample_bilinear2d"

    @property
    def scale(self) -> int:
        """What the weights of an output pixel add up to."""
        return weight_unit(self.factors[0]) * weight_unit(self.factors[1])

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        result = tensor
        for axis, factor in ((1, self.factors[0]), (2, self.factors[1])):
            above, below, weights = bilinear_taps(tensor.shape[axis], factor)
            weights = weights.reshape((-1, 1, 1) if axis == 1 else (-1, 1))
            parts = result.take(above, axis), result.take(below, axis)
            result = parts[0] * (weight_unit(factor) - weights) + parts[1] * weights
        return np.asarray(result)

    def interval(self, *intervals: Interval) -> Interval:
        (interval,) = intervals
        require_int64(interval.peak * self.scale)
        return Interval(interval.low * self.scale, interval.high * self.scale)

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        twos = (self.scale & -self.scale).bit_length() - 1
        return sources[0].format.fraction_bits + twos, self.scale >> twos
