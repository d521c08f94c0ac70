"""Average pooling: an exact sum, divided and rounded once by the quantizer that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.layers.base import (
    FloatNode,
    LayerKind,
    LoweringContext,
    QuantizedBuilder,
    layer_padding,
    pair,
    pooling,
)
from hwflow.opset import SumPool2D, common_divisor


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import AveragePooling2D, GlobalAveragePooling2D

    if node.kind == "GlobalAveragePooling2D":
        return GlobalAveragePooling2D(keepdims=node.config["keepdims"], name=node.name)(inputs[0])
    return pooling(AveragePooling2D, node, inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    source, around = context.take_padding(inputs[0])
    shape = context.tensor(source).shape
    if type(layer).__name__ != "AveragePooling2D":
        if any(around):
            raise DesignError(f"layer {layer.name!r}: cannot average over zero padding")
        return context.add(SumPool2D(layer.name, (source,), shape[:2], shape[:2]))
    window, strides = pair(layer.pool_size), pair(layer.strides)
    if any(around):  # pixels of zero, which count
        if layer.padding != "valid":
            raise DesignError(
                f"layer {layer.name!r}: average pooling of zero padding must have padding 'valid', "
                f"not {layer.padding!r}"
            )
        return context.add(SumPool2D(layer.name, (source,), window, strides, around))
    # what 'same' adds does not count in Keras
    padding = layer_padding(layer, shape[:2], window, strides)
    try:
        divisor = common_divisor(shape, window, strides, padding)
    except ValueError as error:
        raise DesignError(f"layer {layer.name!r}: {error}") from error
    return context.add(SumPool2D(layer.name, (source,), window, strides, padding, divisor))


KIND = LayerKind(
    name="average_pooling",
    float_classes=("GlobalAveragePooling2D", "AveragePooling2D"),
    quantized_classes=("GlobalAveragePooling2D", "AveragePooling2D"),
    quantize=_quantize,
    lower=_lower,
    computes=True,
)
