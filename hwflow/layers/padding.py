"""Zero padding, absorbed by the layers that read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import ZeroPadding2D

    return ZeroPadding2D(node.config["padding"], name=node.name)(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    (top, bottom), (left, right) = layer.padding
    return context.pad(layer.name, inputs[0], (top, bottom, left, right))


KIND = LayerKind(
    name="padding",
    float_classes=("ZeroPadding2D",),
    quantized_classes=("ZeroPadding2D",),
    quantize=_quantize,
    lower=_lower,
)
