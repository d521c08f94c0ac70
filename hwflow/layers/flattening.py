"""Flattening: nothing but another view of the same values, row-major as Keras has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import Flatten

    return Flatten(name=node.name)(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    # Keras's flat order is that of the stream (row, column, channel), so a dense layer reads
    # the unflattened tensor as a convolution over the whole of it.
    return inputs[0]


KIND = LayerKind(
    name="flattening",
    float_classes=("Flatten",),
    quantized_classes=("Flatten",),
    quantize=_quantize,
    lower=_lower,
)
