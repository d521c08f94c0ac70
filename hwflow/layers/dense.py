"""Dense layers: convolutions whose window is the whole input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.layers.convolution import add_quantized, lower_convolution


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from qkeras import QDense

    return add_quantized(node, inputs, build, QDense, "kernel", units=node.config["units"])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    weights = context.raw_weights(layer, "kernel")
    height, width, channels = context.tensor(inputs[0]).shape
    weights = weights.reshaped(height, width, channels, -1)
    return lower_convolution(layer, inputs, context, weights, groups=1)


KIND = LayerKind(
    name="dense",
    float_classes=("Dense",),
    quantized_classes=("QDense",),
    quantize=_quantize,
    lower=_lower,
    computes=True,
    weights=("kernel", "bias"),
)
