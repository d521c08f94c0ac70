"""Depthwise convolution, depth multiplier included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder, pair
from hwflow.layers.convolution import lower_convolution, refuse_dilation


def _check(node: FloatNode) -> str | None:
    if pair(node.config["dilation_rate"]) != (1, 1):
        return f"dilation {node.config['dilation_rate']} is not supported"
    if node.config["data_format"] != "channels_last":
        return "data_format must be channels_last"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from qkeras import QDepthwiseConv2D

    kernel_quantizer, bias_quantizer = build.weight_quantizers(node)
    layer = QDepthwiseConv2D(
        pair(node.config["kernel_size"]),
        strides=pair(node.config["strides"]),
        padding=node.config["padding"],
        depth_multiplier=node.config["depth_multiplier"],
        depthwise_quantizer=kernel_quantizer,
        depthwise_initializer="zeros",  # set below
        bias_quantizer=bias_quantizer,
        name=node.name,
    )
    result = layer(inputs[0])
    layer.set_weights(build.stored_weights(node))
    return result


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    refuse_dilation(layer)
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
    check=_check,
)
