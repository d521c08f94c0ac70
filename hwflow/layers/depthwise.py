"""Depthwise convolution, depth multiplier included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder
from hwflow.layers.convolution import (
    add_quantized,
    check_convolution,
    lower_convolution,
    window_settings,
)


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from qkeras import QDepthwiseConv2D

    return add_quantized(
        node,
        inputs,
        build,
        QDepthwiseConv2D,
        "depthwise",
        **window_settings(node),
        depth_multiplier=node.config["depth_multiplier"],
    )


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    weights = context.raw_weights(layer, "depthwise_kernel")
    height, width, channels, multiplier = weights.values.shape
    weights = weights.reshaped(height, width, 1, channels * multiplier)
    return lower_convolution(layer, inputs, context, weights, groups=channels)


KIND = LayerKind(
    name="depthwise",
    float_classes=("DepthwiseConv2D",),
    quantized_classes=("QDepthwiseConv2D",),
    quantize=_quantize,
    lower=_lower,
    computes=True,
    weights=("kernel", "bias"),
    channel_axes=2,
    check=check_convolution,
)
