"""Layers that join tensors: residual addition and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext
from hwflow.layers.elementwise import deferred


def alignment(inputs: Sequence[str], context: LoweringContext) -> tuple[int, ...]:
    """Left shifts that bring tensors to the finest unit among them."""
    fractions = [context.tensor(name).format.fraction_bits for name in inputs]
    return tuple(max(fractions) - fraction for fraction in fractions)


def merge_kind(name: str, class_name: str, operation: type, *, computes: bool) -> LayerKind:
    """The kind of a layer that joins tensors and has nothing to configure.

    Args:
        name: of the kind.
        class_name: of the Keras layer.
        operation: Add or Concatenate.
        computes: whether its output has more bits than its inputs.
    """

    def check(node: FloatNode) -> str | None:
        if class_name == "Concatenate" and node.config["axis"] not in (-1, 3):
            return f"only channels can be concatenated, not axis {node.config['axis']}"
        return None

    def quantize(node: FloatNode, inputs: Sequence[Any], build: Any) -> Any:
        import keras

        return getattr(keras.layers, class_name)(name=node.name)(list(inputs))

    def lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
        if computes and any(context.expression(name) is not None for name in inputs):
            return deferred(layer, inputs, context)
        flat = len(layer.output_shape) == 2
        if flat and not computes and any(context.tensor(n).shape[:2] != (1, 1) for n in inputs):
            raise DesignError(f"layer {layer.name!r}: flattened tensors cannot be concatenated")
        return context.add(operation(layer.name, tuple(inputs), alignment(inputs, context)))

    return LayerKind(
        name=name,
        float_classes=(class_name,),
        quantized_classes=(class_name,),
        quantize=quantize,
        lower=lower,
        computes=computes,
        parsed_by_hls4ml=False,  # it refuses three inputs
        check=check,
    )
