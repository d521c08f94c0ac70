"""ReLU, ReLU6 and explicit quantizers: where a tensor gets its declared format."""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType
from typing import Any

from hwflow.layers.base import (
    FloatNode,
    LayerKind,
    LoweringContext,
    QuantizedBuilder,
    Rectification,
)
from hwflow.layers.elementwise import FUNCTIONS, tabulated
from hwflow.layers.rectification import MAXIMA, absorbed, lower_function
from hwflow.opset import Input, Requantize


def _check(node: FloatNode) -> str | None:
    if node.kind == "Activation":
        if node.config["activation"] not in (*MAXIMA, *FUNCTIONS):
            return f"activation {node.config['activation']!r} is not supported"
        return None
    maximum = node.config.get("max_value")
    if maximum is not None and not 0 < float(maximum) < float("inf"):
        return f"a maximum must be positive, not {maximum}"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import ReLU
    from qkeras import QActivation

    tensor = inputs[0]
    rectification = Rectification(_maximum(node))
    target = build.activation_format(node.name)
    # a signed format does not rectify: a ReLU has one where it is joined with negative values
    keeps_negative = target.signed and _rectifies(node)
    if keeps_negative or rectification.limit(target) is not None:
        tensor = ReLU(rectification.maximum, name=f"{node.name}_limit")(tensor)
    return QActivation(build.activation_quantizer(node.name), name=node.name)(tensor)


def _rectifies(node: FloatNode) -> bool:
    return node.kind == "ReLU" or node.config["activation"] in MAXIMA


def _maximum(node: FloatNode) -> float | None:
    if node.kind == "Activation":
        return MAXIMA.get(node.config["activation"])
    maximum = node.config.get("max_value")
    return None if maximum is None else float(maximum)


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    what = f"layer {layer.name!r}"
    if isinstance(layer.quantizer, FunctionType):
        return lower_function(layer, layer.quantizer.__name__, inputs, context)
    if context.expression(inputs[0]) is not None or context.computes(layer.quantizer):
        return tabulated(layer, context.as_expression(inputs[0]), context)
    source, rectification = context.take_rectification(inputs[0])
    target, maximum = absorbed(context.format_of(layer.quantizer, what), rectification)
    tensor = context.tensor(source)
    return context.add(
        Requantize(
            layer.name,
            (source,),
            target,
            tensor.format.fraction_bits,
            divisor=tensor.divisor,
            maximum=maximum,
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
