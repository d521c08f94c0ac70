"""Maximum pooling, overlapping windows included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import (
    FloatNode,
    LayerKind,
    LoweringContext,
    QuantizedBuilder,
    added_padding,
    layer_padding,
    pair,
    pooling,
)
from hwflow.opset import MaxPool2D


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import MaxPooling2D

    return pooling(MaxPooling2D, node, inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    window, strides = pair(layer.pool_size), pair(layer.strides)
    source, zeros = context.take_padding(inputs[0])
    top, bottom, left, right = zeros
    alone = max(top, bottom) >= window[0] or max(left, right) >= window[1]
    if any(zeros) and (alone or context.tensor(source).interval.low.min() < 0):
        # The zeros take part in the maximum; what pads a pool in the hardware never wins it.
        source, zeros = inputs[0], (0, 0, 0, 0)
        top, bottom, left, right = zeros
    tensor = context.tensor(source)
    size = (tensor.shape[0] + top + bottom, tensor.shape[1] + left + right)
    padding = added_padding(zeros, layer_padding(layer, size, window, strides))
    return context.add(MaxPool2D(layer.name, (source,), window, strides, padding))


KIND = LayerKind(
    name="max_pooling",
    float_classes=("MaxPooling2D",),
    quantized_classes=("MaxPooling2D",),
    quantize=_quantize,
    lower=_lower,
)
