"""Reshaping that moves nothing: a pixel's channels to a vector and back, or any row-major list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import Reshape

    return Reshape(node.shape, name=node.name)(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    target = tuple(int(size) for size in layer.output_shape[1:])
    given = context.tensor(inputs[0]).shape
    # A list in Keras's flat order is what the stream carries anyway; see flattening.
    if len(target) == 1 or (1,) * (3 - len(target)) + target == given:
        return inputs[0]
    raise DesignError(
        f"layer {layer.name!r}: only a reshape between a pixel and a vector, or to a flat vector, "
        f"is supported, not {given} to {target}"
    )


KIND = LayerKind(
    name="reshaping",
    float_classes=("Reshape",),
    quantized_classes=("Reshape",),
    quantize=_quantize,
    lower=_lower,
)
