"""From the weights of a layer to what its QKeras layer stores, and the quantizer that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.layers.base import RawWeights
from hwflow.quantize import compress, policy, powers, qkeras, scales
from hwflow.quantize.moments import Moments
from hwflow.quantize.rounding import SWEEPS, Loss, rounded_together

FloatArray = npt.NDArray[np.float64]

FINE = 8
"""Bits of weights beyond which each by itself is near enough."""

OCTAVES = (0, 1, -1)
"""By how many the unit of a channel may differ from that in which weights lose least alone.

Of weights of `FINE` bits no other unit gains anything, nor more than `FEW_SWEEPS` over them: of
ResNet-50 they would take 150 seconds instead of 44.
"""

FEW_SWEEPS = 4


@dataclass(frozen=True)
class StoredKernel:
    """Quantized weights as a QKeras layer has them.

    Attributes:
        weights: the raw integers and what they are worth.
        quantizer: makes these weights of what is stored.
        stored: what the layer stores.
    """

    weights: RawWeights
    quantizer: Any
    stored: FloatArray


def quantized(
    kernel: FloatArray,
    wanted: policy.WeightSpec,
    channel_axes: int,
    input_fraction: int,
    input_reach: float,
    moments: Moments,
) -> StoredKernel:
    """The weights of a layer, quantized as the design wants it.

    Args:
        kernel: real values; the last `channel_axes` axes count the output channels.
        wanted: what the design says of the layer's weights.
        channel_axes: 1 or more.
        input_fraction: fraction bits of the layer's input.
        input_reach: the greatest magnitude of the layer's input.
        moments: of what the layer reads.
    """
    if wanted.density is not None:
        kernel = compress.pruned(kernel, wanted.density)
    if wanted.shared is not None:
        kernel = compress.shared(kernel, wanted.shared)
    if wanted.curve == "tanh":
        kernel = compress.tanh_normalised(kernel)
    if wanted.values == "powers_of_two":
        quantizer = powers.quantizer(kernel, wanted.width)
        weights = powers.nearest(kernel, quantizer)
        return StoredKernel(weights, quantizer, weights.to_float())
    grid = scales.GRIDS[wanted.values](wanted.width)
    if wanted.integer_bits is not None or wanted.scale == "tensor":
        weights = scales.per_tensor(kernel, grid, wanted.integer_bits)
        octaves: tuple[int, ...] = (0,)
    else:
        weights = scales.per_channel(kernel, grid, channel_axes, input_fraction, input_reach)
        octaves = OCTAVES if grid.width < FINE else (0,)
    if moments.covariance is not None and grid.width <= FINE and not _is_shared(kernel, grid):
        weights = _refined(weights, kernel, grid, moments, octaves)
    shifts = weights.shifts
    if shifts is not None:
        shifts = shifts[(slice(0, 1),) * (kernel.ndim - channel_axes)]
    if wanted.values == "binary":
        quantizer = qkeras.sign_quantizer(weights.format, shifts)
        return StoredKernel(weights, quantizer, weights.values.astype(np.float64))
    quantizer = qkeras.weight_quantizer(weights.format, shifts)
    return StoredKernel(weights, quantizer, qkeras.stored(weights.values, weights.format))


def _refined(
    weights: RawWeights,
    kernel: FloatArray,
    grid: scales.Grid,
    moments: Moments,
    octaves: tuple[int, ...],
) -> RawWeights:
    """The weights rounded together, each channel in the best of several units; zeros stay zeros.

    The units stay between the finest and the coarsest that the weights have.
    """
    assert moments.covariance is not None
    assert moments.drift is not None
    split = moments.columns.split
    real, is_zero = split(kernel), split((kernel == 0) & (weights.values == 0))
    loss = Loss(moments.covariance, moments.drift @ real)
    shifts = np.zeros_like(weights.values) if weights.shifts is None else weights.shifts
    own = split(shifts)[:, :1]
    sweeps = SWEEPS if grid.width < FINE else FEW_SWEEPS
    best = np.full(own.shape, np.inf)
    found, chosen = split(weights.values).astype(np.float64), own
    for octave in octaves:
        tried = np.clip(own + octave, 0, shifts.max())
        units = 2.0 ** (tried - weights.format.fraction_bits)
        start = np.where(is_zero, 0.0, grid.round(real / units))
        rounded = rounded_together(real, start, units, loss, grid.round, is_zero, sweeps)
        lost = loss.of(rounded * units - real)[:, None]
        is_better = lost < best
        best = np.where(is_better, lost, best)
        found, chosen = np.where(is_better, rounded, found), np.where(is_better, tried, chosen)
    join = moments.columns.join
    raw, shifts = join(found).astype(np.int64), join(np.broadcast_to(chosen, found.shape))
    coarsening = int(shifts.min())  # a format has a channel of its own unit
    return RawWeights(
        raw,
        grid.format(weights.format.fraction_bits - coarsening),
        shifts - coarsening if (shifts > coarsening).any() else None,
    )


def _is_shared(kernel: FloatArray, grid: scales.Grid) -> bool:
    """Whether most weights stand in several places, as those that a network has shared do.

    Where they are no fewer than the grid's integers, any rounding shares them as much.
    """
    different = np.unique(kernel).size
    return different < 1 << grid.width and 2 * different < np.count_nonzero(kernel)
