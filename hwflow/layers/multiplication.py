"""Multiplication of two tensors, or of a feature map by a gate for each of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.layers.elementwise import deferred
from hwflow.opset import Multiply


def _check(node: FloatNode) -> str | None:
    if len(node.inputs) != 2:
        return f"two tensors can be multiplied, not {len(node.inputs)}"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import Multiply as KerasMultiply

    return KerasMultiply(name=node.name)(list(inputs))


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    if any(context.expression(name) is not None for name in inputs):
        return deferred(layer, inputs, context)
    if len(inputs) != 2:
        raise DesignError(f"layer {layer.name!r}: two tensors can be multiplied, not {len(inputs)}")
    first, second = inputs
    if context.tensor(first).shape[:2] == (1, 1):  # the gate may be named first
        first, second = second, first
    return context.add(Multiply(layer.name, (first, second)))


KIND = LayerKind(
    name="multiplication",
    float_classes=("Multiply",),
    quantized_classes=("Multiply",),
    quantize=_quantize,
    lower=_lower,
    computes=True,
    parsed_by_hls4ml=False,  # it takes the shape of the first input, which may be the gate
    check=_check,
)
