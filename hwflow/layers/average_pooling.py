"""Average pooling: an exact sum, divided and rounded once by the quantizer that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder, pair
from hwflow.opset import SumPool2D


def _check(node: FloatNode) -> str | None:
    if node.config.get("padding", "valid") != "valid":
        return "average pooling with padding 'same' is not supported"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import AveragePooling2D, GlobalAveragePooling2D

    if node.kind == "GlobalAveragePooling2D":
        return GlobalAveragePooling2D(keepdims=node.config["keepdims"], name=node.name)(inputs[0])
    return AveragePooling2D(
        pair(node.config["pool_size"]), strides=pair(node.config["strides"]), name=node.name
    )(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    height, width, _ = context.tensor(inputs[0]).shape
    window = strides = (height, width)
    if type(layer).__name__ == "AveragePooling2D":
        window, strides = pair(layer.pool_size), pair(layer.strides)
        if layer.padding != "valid":
            raise DesignError(f"layer {layer.name!r}: average pooling must have padding 'valid'")
    return context.add(SumPool2D(layer.name, (inputs[0],), window, strides))


KIND = LayerKind(
    name="average_pooling",
    float_classes=("GlobalAveragePooling2D", "AveragePooling2D"),
    quantized_classes=("GlobalAveragePooling2D", "AveragePooling2D"),
    quantize=_quantize,
    lower=_lower,
    computes=True,
    check=_check,
)
