"""Maximum pooling, overlapping windows included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import (
    FloatNode,
    LayerKind,
    LoweringContext,
    QuantizedBuilder,
    layer_padding,
    pair,
)
from hwflow.opset import MaxPool2D


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import MaxPooling2D

    return MaxPooling2D(
        pair(node.config["pool_size"]),
        strides=pair(node.config["strides"]),
        padding=node.config["padding"],
        name=node.name,
    )(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    window, strides = pair(layer.pool_size), pair(layer.strides)
    size = context.tensor(inputs[0]).shape[:2]
    padding = layer_padding(layer, size, window, strides)
    return context.add(MaxPool2D(layer.name, (inputs[0],), window, strides, padding))


KIND = LayerKind(
    name="max_pooling",
    float_classes=("MaxPooling2D",),
    quantized_classes=("MaxPooling2D",),
    quantize=_quantize,
    lower=_lower,
)
