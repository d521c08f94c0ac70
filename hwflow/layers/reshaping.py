"""Layers that move values without changing them: what becomes of the channels of each pixel.

A channel shuffle is a reshape to groups, a permutation and a reshape back; a channel split is a
reshape and a cropping. Each layer is applied to the numbers of the values, so that a chain of any
of them is understood by what it does. A chain that only rearranges the channels of every pixel
alike becomes `SelectChannels` (or nothing, if it leaves them as they are).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwflow.errors import DesignError
from hwflow.fixed_point import IntArray
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.opset import SelectChannels, Shape


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    import keras

    layer_class = getattr(keras.layers, node.kind)
    return layer_class.from_config({**node.config, "name": node.name})(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    source, places = context.arrangement(inputs[0])
    given = tuple(int(size) for size in layer.input_shape[1:])
    moved = np.asarray(layer(places.reshape(1, *given)))[0]
    shape = context.tensor(source).shape
    # A list in Keras's flat order is what the stream carries anyway; see flattening.
    if moved.ndim == 1 and np.array_equal(moved, np.arange(np.prod(shape))):
        return source
    pixels = (1,) * (3 - moved.ndim) + moved.shape[:-1]
    channels = selected_channels(moved, shape) if pixels == shape[:2] else None
    if channels is None:
        return context.arrange(layer.name, source, moved)
    if channels == tuple(range(shape[2])):
        return source
    return context.add(SelectChannels(layer.name, (source,), channels))


def selected_channels(places: IntArray, shape: Shape) -> tuple[int, ...] | None:
    """The channels that an arrangement takes of every pixel, if it takes the same of each.

    Args:
        places: for each value of the arrangement, its place in the tensor.
        shape: of the tensor.
    """
    pixels = shape[0] * shape[1]
    table = places.reshape(pixels, -1) - np.arange(pixels)[:, None] * shape[2]
    alike = (table == table[0]).all() and (table[0] >= 0).all() and (table[0] < shape[2]).all()
    return tuple(table[0].tolist()) if alike else None


def not_channels(name: str) -> DesignError:
    """The refusal of an arrangement that is read as a tensor."""
    return DesignError(
        f"layer {name!r}: only the channels of a pixel can be rearranged (a shuffle, a split), a "
        "pixel reshaped to a vector and back, or everything to a flat vector"
    )


KIND = LayerKind(
    name="reshaping",
    float_classes=("Reshape", "Permute", "Cropping3D"),
    quantized_classes=("Reshape", "Permute", "Cropping3D"),
    quantize=_quantize,
    lower=_lower,
    parsed_by_hls4ml=False,
)
