"""Rows and columns cut off a map, of the zeros around it first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.opset import Frame2D


def _check(node: FloatNode) -> str | None:
    if node.config["data_format"] != "channels_last":
        return "data_format must be channels_last"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import Cropping2D

    return Cropping2D(node.config["cropping"], name=node.name)(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    source, (top, bottom, left, right) = context.take_padding(inputs[0])
    (above, below), (before, after) = layer.cropping
    framing = (top - above, bottom - below, left - before, right - after)
    if min(framing) >= 0:  # nothing but zeros is cut off
        return context.pad(layer.name, source, framing)
    context.tensor(source)
    return context.add(Frame2D(layer.name, (source,), framing))


KIND = LayerKind(
    name="cropping",
    float_classes=("Cropping2D",),
    quantized_classes=("Cropping2D",),
    quantize=_quantize,
    lower=_lower,
    parsed_by_hls4ml=False,
    check=_check,
)
