"""Functions of one value (h-swish, sigmoid, any of Keras's): tables made by the layers themselves.

In the float network a group of layers that computes something of a single tensor, element by
element, is one node of kind `Elementwise` (quantize/float_graph.py). In the QKeras model
they stand between two quantizers, and the second quantizer becomes the table: the layers and the
quantizer are evaluated for every value that the first can give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.layers.base import (
    Expression,
    FloatNode,
    LayerKind,
    LoweringContext,
    QuantizedBuilder,
)
from hwflow.opset import Table

WIDEST_INPUT = 16
"""Bits of an input beyond which a table is too large to be sensible."""

WIDEST_OUTPUT = 32
"""Bits of a table's entries."""

UNARY = ("Activation", "ELU", "LeakyReLU", "ReLU", "Rescaling", "ThresholdedReLU")
"""Keras layers that compute something of each value by itself."""

FUNCTIONS = (
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "linear",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "softplus",
    "softsign",
    "swish",
    "tanh",
)
"""Keras's activations of one value."""


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    import keras
    from qkeras import QActivation

    made = {"": inputs[0]}
    tensor = inputs[0]
    for step in node.config["steps"]:
        layer = getattr(keras.layers, step["class"]).from_config(
            {**step["config"], "name": step["name"]}
        )
        sources = [made[source] for source in step["inputs"]]
        tensor = layer(sources[0] if len(sources) == 1 else sources)
        made[step["node"]] = tensor
    return QActivation(build.activation_quantizer(node.name), name=node.name)(tensor)


def deferred(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    """Announces a layer that computes something of one tensor, for a quantizer to tabulate.

    Args:
        layer: of Keras, without weights.
        inputs: what it reads: one tensor, and expressions of it.
        context: where it is announced.

    Raises:
        DesignError: if its inputs go back to several tensors.
    """
    found = [context.as_expression(name) for name in inputs]
    sources = {expression.source for expression in found}
    if len(sources) != 1:
        raise DesignError(
            f"layer {layer.name!r}: what it reads must be quantized first, for it depends on "
            f"several tensors ({', '.join(sorted(sources))})"
        )

    def evaluate(values: Any) -> Any:
        arguments = [expression.evaluate(values) for expression in found]
        return layer(arguments[0] if len(arguments) == 1 else arguments)

    return context.express(layer.name, Expression(sources.pop(), evaluate))


def tabulated(layer: Any, expression: Expression, context: LoweringContext) -> str:
    """Adds the table of a quantizer that reads an expression.

    Args:
        layer: QActivation.
        expression: what it reads.
        context: where the operation goes.

    Raises:
        DesignError: if the table would be too large, or has results that are not finite.
    """
    import tensorflow as tf

    tensor = context.tensor(expression.source)
    what = f"layer {layer.name!r}"
    if tensor.divisor != 1 or tensor.format.width > WIDEST_INPUT:
        raise DesignError(
            f"{what}: the function before it needs a quantized input of at most {WIDEST_INPUT} "
            f"bits, but {expression.source!r} has {tensor.format.width}: add a QActivation"
        )
    least = -(1 << (tensor.format.width - 1)) if tensor.format.signed else 0
    raw = np.arange(least, least + (1 << tensor.format.width))
    values = tf.constant(tensor.format.to_float(raw).reshape(-1, 1, 1, 1), tf.float32)
    results = np.asarray(layer.quantizer(expression.evaluate(values)), np.float64).ravel()
    target = _format_of_results(layer, results, context)
    scaled = results * 2.0**target.fraction_bits
    if not np.array_equal(scaled, np.rint(scaled)):
        raise DesignError(f"{what}: the function before it has results that are not finite")
    return context.add(
        Table(
            layer.name,
            (expression.source,),
            values=scaled.astype(np.int64),
            format=target,
            is_signed=tensor.format.signed,
        )
    )


def _format_of_results(layer: Any, results: Any, context: LoweringContext) -> FixedPoint:
    """The format of a quantizer's results: its own, or one that holds them."""
    what = f"layer {layer.name!r}"
    if not context.computes(layer.quantizer):
        return context.format_of(layer.quantizer, what)
    target = FixedPoint.holding(results)
    if target is None or target.width > WIDEST_OUTPUT:
        kind = type(layer.quantizer).__name__
        raise DesignError(
            f"{what}: the results of {kind} are on no fixed-point grid of at most {WIDEST_OUTPUT} "
            "bits"
        )
    return target


KIND = LayerKind(
    name="elementwise",
    float_classes=("ELU", "Elementwise", "LeakyReLU", "Rescaling", "ThresholdedReLU"),
    quantized_classes=("ELU", "LeakyReLU", "Rescaling", "ThresholdedReLU"),
    quantize=_quantize,
    lower=deferred,
    is_activation=True,
    reads_quantized=True,
    parsed_by_hls4ml=False,
)
