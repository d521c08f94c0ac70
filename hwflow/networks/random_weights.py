"""Seeded random weights under which a network behaves much as a trained one does."""

from __future__ import annotations

import hashlib
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwflow.networks.flatten import leaves

if TYPE_CHECKING:
    import keras

    FloatArray = npt.NDArray[np.float32]

BIAS_DEVIATION = 0.05
RECTIFIERS = ("relu", "relu6")
STATISTICS = ("mean", "variance", "count")
"""Of a `Normalization`: they describe the inputs, so they are kept."""


def randomise(model: keras.Model, seed: int) -> None:
    """Sets every weight of the model at random; the same seed gives the same weights.

    Kernels are He-normal where a ReLU follows and LeCun-normal elsewhere, so that the activations
    neither vanish nor explode; normal variates are cut off at two deviations. Biases are small and
    of both signs. The statistics of a batch norm are near those of what its layer is fed. Each
    tensor depends on the seed, its layer's name and its own name alone, and so neither on the order
    of the layers nor on the rest of the network.

    Source: He et al. 2015, arXiv:1502.01852; LeCun et al. 1998, "Efficient BackProp".
    """
    for layer in leaves(model):
        gain = 2.0 if _feeds_relu(layer) else 1.0
        tensors = []
        for variable in layer.weights:
            part = variable.name.split("/")[-1].split(":")[0]
            if part in STATISTICS:
                tensors.append(variable.numpy())
                continue
            generator = _generator(seed, layer.name, part)
            shape = tuple(int(size) for size in variable.shape)
            tensors.append(_tensor(part, shape, gain, generator))
        if tensors:
            layer.set_weights(tensors)


def _tensor(
    part: str, shape: tuple[int, ...], gain: float, generator: np.random.Generator
) -> FloatArray:
    if part == "gamma":
        tensor = generator.uniform(0.8, 1.2, shape)
    elif part == "moving_variance":
        tensor = generator.uniform(0.5, 1.5, shape)
    elif part in ("bias", "beta", "moving_mean"):
        tensor = BIAS_DEVIATION * _truncated_normal(shape, generator)
    elif part == "depthwise_kernel":
        tensor = sqrt(gain / prod(shape[:2])) * _truncated_normal(shape, generator)
    else:
        tensor = sqrt(gain / prod(shape[:-1])) * _truncated_normal(shape, generator)
    return tensor.astype(np.float32)


def _truncated_normal(shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    """Normal variates cut off at two deviations, then scaled to a variance of one."""
    values = generator.standard_normal(shape)
    outside = np.abs(values) > 2
    while outside.any():
        values[outside] = generator.standard_normal(int(outside.sum()))
        outside = np.abs(values) > 2
    return values / 0.8796256610342398  # standard deviation of the normal cut off at +-2


def _generator(seed: int, layer: str, part: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{layer}/{part}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _feeds_relu(layer: Any) -> bool:
    """Whether what the layer computes goes through a ReLU, batch norm and padding aside."""
    activation = getattr(layer, "activation", None)
    if getattr(activation, "__name__", "") in RECTIFIERS:
        return True
    for node in layer.outbound_nodes:
        follower = node.outbound_layer
        kind = type(follower).__name__
        if kind == "ReLU" or (kind == "Activation" and follower.activation.__name__ in RECTIFIERS):
            return True
        if kind in ("BatchNormalization", "ZeroPadding2D") and _feeds_relu(follower):
            return True
    return False
