"""ReLU and explicit quantizers: where a tensor gets its declared format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.opset import Input, Requantize


def _check(node: FloatNode) -> str | None:
    if node.kind == "Activation":
        if node.config["activation"] not in ("relu", "linear"):
            return f"activation {node.config['activation']!r} is not supported"
        return None
    if node.config.get("max_value") is not None:
        return f"a maximum of {node.config['max_value']} is not supported"
    if node.config.get("negative_slope") or node.config.get("threshold"):
        return "a negative slope or threshold is not supported"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from qkeras import QActivation

    return QActivation(build.activation_quantizer(node.name), name=node.name)(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    target = context.format_of(layer.quantizer, f"layer {layer.name!r}")
    tensor = context.tensor(inputs[0])
    return context.add(
        Requantize(
            layer.name, (inputs[0],), target, tensor.format.fraction_bits, divisor=tensor.divisor
        )
    )


def quantized_input(layer: Any, context: LoweringContext) -> str:
    """Adds the network's input, in the format of the quantizer that reads it.

    Args:
        layer: the QActivation on the input.
        context: where operations go.
    """
    shape = tuple(int(size) for size in layer.output_shape[1:])
    height, width, channels = (1,) * (3 - len(shape)) + shape
    target = context.format_of(layer.quantizer, f"layer {layer.name!r}")
    return context.add(Input(layer.name, (), (height, width, channels), target))


KIND = LayerKind(
    name="activation",
    float_classes=("ReLU", "Activation"),
    quantized_classes=("QActivation",),
    quantize=_quantize,
    lower=_lower,
    is_activation=True,
    check=_check,
)
