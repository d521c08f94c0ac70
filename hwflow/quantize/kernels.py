"""From the weights of a layer to what its QKeras layer stores, and the quantizer that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.layers.base import RawWeights
from hwflow.quantize import compress, policy, powers, qkeras, scales

FloatArray = npt.NDArray[np.float64]


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
) -> StoredKernel:
    """The weights of a layer, quantized as the design wants it.

    Args:
        kernel: real values; the last `channel_axes` axes count the output channels.
        wanted: what the design says of the layer's weights.
        channel_axes: 1 or more.
        input_fraction: fraction bits of the layer's input.
        input_reach: the greatest magnitude of the layer's input.
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
    else:
        weights = scales.per_channel(kernel, grid, channel_axes, input_fraction, input_reach)
    shifts = weights.shifts
    if shifts is not None:
        shifts = shifts[(slice(0, 1),) * (kernel.ndim - channel_axes)]
    if wanted.values == "binary":
        quantizer = qkeras.sign_quantizer(weights.format, shifts)
        return StoredKernel(weights, quantizer, weights.values.astype(np.float64))
    quantizer = qkeras.weight_quantizer(weights.format, shifts)
    return StoredKernel(weights, quantizer, qkeras.stored(weights.values, weights.format))
