"""ReLU without a format of its own, a maximum included: absorbed by the quantizer that reads it.

`quantized_relu` saturates at a power of two, so ReLU6 is a Keras ReLU with its maximum, then the
quantizer: Keras and QKeras alone can load it, and in hardware it is one more constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow, Rounding
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, Rectification
from hwflow.layers.elementwise import FUNCTIONS, deferred
from hwflow.opset import Requantize, Tensor

MAXIMA = {"relu": None, "relu6": 6.0}
"""Rectifying activations that Keras knows by name, with their maxima."""


QKERAS_FUNCTIONS = (
    "binary_sigmoid",
    "binary_tanh",
    "hard_sigmoid",
    "hard_tanh",
    "smooth_sigmoid",
    "smooth_tanh",
)
"""Functions of one value that QKeras knows by name."""


def is_rectification(config: Mapping[str, Any]) -> bool:
    """Whether a Keras ReLU, by its configuration, has neither a negative slope nor a threshold."""
    return not float(config.get("negative_slope") or 0) and not float(config.get("threshold") or 0)


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    if type(layer).__name__ != "ReLU":
        activation = getattr(layer.activation, "__name__", str(layer.activation))
        return lower_function(layer, activation, inputs, context)
    is_part = context.expression(inputs[0]) is not None
    if is_part or not is_rectification(layer.get_config()):
        return deferred(layer, inputs, context)
    maximum = None if layer.max_value is None else float(layer.max_value)
    return context.rectify(layer.name, inputs[0], Rectification(maximum))


def lower_function(layer: Any, name: str, inputs: Sequence[str], context: LoweringContext) -> str:
    """A layer that applies a function that Keras or QKeras knows by name.

    Args:
        layer: Activation or QActivation.
        name: of the function.
        inputs: the one tensor that it reads.
        context: where it is announced.

    Raises:
        DesignError: for a function of more than one value.
    """
    if context.expression(inputs[0]) is None:
        if name == "linear":
            return inputs[0]
        if name in MAXIMA:
            return context.rectify(layer.name, inputs[0], Rectification(MAXIMA[name]))
    if name not in (*MAXIMA, *FUNCTIONS, *QKERAS_FUNCTIONS):
        raise DesignError(f"layer {layer.name!r}: activation {name!r} is not supported")
    return deferred(layer, inputs, context)


def absorbed(
    target: FixedPoint, rectification: Rectification | None
) -> tuple[FixedPoint, int | None]:
    """Format and maximum of a quantizer that reads a ReLU: the negative half falls away.

    Args:
        target: the quantizer's format.
        rectification: of the ReLU, or nothing.

    Raises:
        DesignError: if nothing but zero would be left.
    """
    if rectification is None:
        return target, None
    if target.signed:
        if target.width == 1:
            raise DesignError(f"a ReLU leaves nothing but zero in {target}")
        target = FixedPoint(
            target.width - 1, target.integer_bits - 1, False, target.rounding, Overflow.SAT
        )
    return target, rectification.limit(target)


def rectified(name: str, source: str, tensor: Tensor, rectification: Rectification) -> Requantize:
    """The operation of a ReLU that others than quantizers read: exact, in its source's unit.

    Args:
        name: of the ReLU.
        source: what it reads.
        tensor: of the source.
        rectification: what it does.

    Raises:
        DesignError: if the source is a sum of average pooling, or the maximum is no multiple of
            the unit.
    """
    if tensor.divisor != 1:
        raise DesignError(f"layer {name!r}: a quantizer must stand between average pooling and it")
    high = max(int(tensor.interval.high.max()), 0)
    fraction_bits = tensor.format.fraction_bits
    limit = None
    if rectification.maximum is not None:
        scaled = rectification.maximum * 2.0**fraction_bits
        if scaled != int(scaled):
            raise DesignError(
                f"layer {name!r}: its maximum of {rectification.maximum} is no multiple of its "
                f"input's unit of {tensor.format.lsb}"
            )
        high = min(high, int(scaled))
        limit = high
    exact = FixedPoint.containing(0, high, fraction_bits)
    target = FixedPoint(exact.width, exact.integer_bits, False, Rounding.TRN, Overflow.SAT)
    if limit is not None and limit >= target.maximum:
        limit = None
    return Requantize(name, (source,), target, fraction_bits, maximum=limit)


def _quantize(node: FloatNode, inputs: Sequence[Any], build: Any) -> Any:
    raise AssertionError(f"{node.name}: float networks give it a format (layers/activation.py)")


KIND = LayerKind(
    name="rectification",
    float_classes=(),
    quantized_classes=("ReLU", "Activation"),
    quantize=_quantize,
    lower=_lower,
)
