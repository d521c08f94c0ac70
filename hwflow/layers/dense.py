"""Dense layers: convolutions whose window is the whole input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.layers.convolution import lower_convolution


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from qkeras import QDense

    kernel_quantizer, bias_quantizer = build.weight_quantizers(node)
    layer = QDense(
        node.config["units"],
        kernel_quantizer=kernel_quantizer,
        kernel_initializer="zeros",  # set below
        bias_quantizer=bias_quantizer,
        name=node.name,
    )
    result = layer(inputs[0])
    layer.set_weights(build.stored_weights(node))
    return result


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
