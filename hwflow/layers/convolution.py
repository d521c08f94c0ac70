"""Two-dimensional convolution, grouped too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwflow.errors import DesignError
from hwflow.layers.base import (
    FloatNode,
    LayerKind,
    LoweringContext,
    QuantizedBuilder,
    RawWeights,
    added_padding,
    layer_padding,
    pair,
)
from hwflow.opset import Conv2D, Requantize, reach_of


def check_convolution(node: FloatNode) -> str | None:
    """What about a convolution, depthwise or not, cannot be built."""
    if node.config["data_format"] != "channels_last":
        return "data_format must be channels_last"
    return None


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from qkeras import QConv2D

    return add_quantized(
        node,
        inputs,
        build,
        QConv2D,
        "kernel",
        **window_settings(node),
        filters=node.config["filters"],
        groups=node.config.get("groups", 1),
    )


def window_settings(node: FloatNode) -> dict[str, Any]:
    """How a convolution's window lies, as Keras layers are told."""
    return {
        "kernel_size": pair(node.config["kernel_size"]),
        "strides": pair(node.config["strides"]),
        "padding": node.config["padding"],
        "dilation_rate": pair(node.config["dilation_rate"]),
    }


def add_quantized(
    node: FloatNode,
    inputs: Sequence[Any],
    build: QuantizedBuilder,
    layer_class: Any,
    kernel: str,
    **settings: Any,
) -> Any:
    """Adds a QKeras layer with a kernel and a bias to the QKeras model, and sets both.

    Args:
        node: the float layer.
        inputs: its one input tensor.
        build: gives quantizers and weights.
        layer_class: of QKeras.
        kernel: what the class calls its kernel: `kernel` or `depthwise`.
        settings: other arguments of the class.

    Returns:
        The output tensor.
    """
    kernel_quantizer, bias_quantizer = build.weight_quantizers(node)
    layer = layer_class(
        **settings,
        **{
            f"{kernel}_quantizer": kernel_quantizer,
            f"{kernel}_initializer": "zeros",  # set below
        },
        bias_quantizer=bias_quantizer,
        name=node.name,
    )
    result = layer(inputs[0])
    layer.set_weights(build.stored_weights(node))
    return result


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    weights = context.raw_weights(layer, "kernel")
    groups = int(getattr(layer, "groups", 1))
    return lower_convolution(layer, inputs, context, weights, groups)


def lower_convolution(
    layer: Any,
    inputs: Sequence[str],
    context: LoweringContext,
    weights: RawWeights,
    groups: int,
) -> str:
    """Adds the convolution of a QKeras layer, and its own activation if it has one.

    Args:
        layer: QConv2D, QDepthwiseConv2D, or QDense (a window over the whole input).
        inputs: its one input.
        context: where operations go.
        weights: of shape `(kh, kw, Cin / groups, Cout)`.
        groups: number of channel groups.

    Raises:
        DesignError: if the scale of the weights differs within an output channel.
    """
    source, padding = context.take_padding(inputs[0])
    tensor = context.tensor(source)
    strides = pair(getattr(layer, "strides", 1))
    dilation = pair(getattr(layer, "dilation_rate", 1))
    top, bottom, left, right = padding
    height, width, _ = tensor.shape
    padded = (height + top + bottom, width + left + right)
    shape = weights.values.shape
    own = layer_padding(layer, padded, reach_of((shape[0], shape[1]), dilation), strides)
    product_fraction = tensor.format.fraction_bits + weights.format.fraction_bits
    biases = np.zeros(shape[3], np.int64)
    product_shift = 0
    if layer.use_bias:
        bias = context.raw_weights(layer, "bias")
        product_shift = max(0, bias.format.fraction_bits - product_fraction)
        biases = bias.aligned << max(0, product_fraction - bias.format.fraction_bits)
    channel_shifts = None
    if weights.shifts is not None:
        channel_shifts = weights.shifts[0, 0, 0]
        if np.any(weights.shifts != channel_shifts):
            raise DesignError(
                f"the kernel of layer {layer.name!r}: alpha must be the same throughout an output "
                "channel"
            )
    activation = getattr(layer, "activation", None)
    has_activation = activation is not None and getattr(activation, "__name__", "") != "linear"
    name = context.add(
        Conv2D(
            f"{layer.name}_accumulator" if has_activation else layer.name,
            (source,),
            weights=weights.values,
            biases=biases,
            weight_format=weights.format,
            strides=strides,
            padding=added_padding(padding, own),
            groups=groups,
            product_shift=product_shift,
            channel_shifts=channel_shifts,
            dilation=dilation,
        )
    )
    if not has_activation:
        return name
    target = context.format_of(activation, f"the activation of layer {layer.name!r}")
    made = context.tensor(name)
    return context.add(Requantize(layer.name, (name,), target, made.format.fraction_bits))


KIND = LayerKind(
    name="convolution",
    float_classes=("Conv2D",),
    quantized_classes=("QConv2D",),
    quantize=_quantize,
    lower=_lower,
    computes=True,
    weights=("kernel", "bias"),
    check=check_convolution,
)
