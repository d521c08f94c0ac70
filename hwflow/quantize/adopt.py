"""A user's QKeras model as the one that is built: its own quantizers, every tensor on its grid.

What QKeras computes at inference becomes explicit: batch norm that a layer folds into its kernel is
folded, quantizers whose results are integers in disguise (powers of two, binary, ternary, scaled)
become `quantized_bits` with the same results, and a layer's own activation becomes a layer after
it. Layers keep their names, so that the user's model can be asked for every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.layers.base import pair
from hwflow.layers.copies import clone
from hwflow.layers.roles import ROLES, SKIPPED, UNQUANTIZED
from hwflow.quantize import qkeras
from hwflow.quantize.adopter import Adopter
from hwflow.quantize.float_graph import logits_note, output_layers
from hwflow.quantize.lower import lower, sources_of
from hwflow.quantize.policy import WidthSpec


def is_quantized(model: Any) -> bool:
    """Whether a model has QKeras layers, and so brings its own quantizers."""
    return any(type(layer).__name__ in ROLES for layer in model.layers)


def adopt(
    model: Any,
    input_spec: WidthSpec,
    images: npt.NDArray[np.float32],
    note: Callable[[str], None] = lambda text: None,
) -> Any:
    """The QKeras model to be built for a user's own.

    Args:
        model: flat functional QKeras model with one input.
        input_spec: width and binary point of the input, where no quantizer reads it.
        images: for choosing the input's binary point, shape `(N, H, W, C)`, preprocessed.
        note: told what was left out or added, a sentence each.

    Returns:
        A QKeras model of layers that hwflow lowers.

    Raises:
        DesignError: naming every tensor that is not quantized, or whose quantizer gives no numbers
            on a fixed-point grid, with what to write, and every layer that cannot be built.
    """
    adopter = Adopter(model, input_spec, images, note)
    made = _build(adopter)
    faults = list(adopter.faults)
    try:
        lower(made, model.name)
    except DesignError as error:
        faults += error.faults
    if faults:
        raise DesignError(faults)
    return made


def _build(adopter: Adopter) -> Any:
    """The finished model."""
    import keras

    inputs = []
    for layer in adopter.model.layers:
        class_name = type(layer).__name__
        if class_name == "InputLayer":
            inputs.append(adopter.input(layer))
            continue
        sources = [adopter.tensors[name] for name in sources_of(layer)]
        rule = RULES.get(class_name, _kept)
        if class_name in UNQUANTIZED:
            text = f"must be quantized, as other layers of the model are. {UNQUANTIZED[class_name]}"
            adopter.fault(f"layer {layer.name!r} ({class_name})", text)
        adopter.tensors[layer.name] = rule(adopter, layer, sources)
    outputs = [adopter.tensors[name] for name in output_layers(adopter.model)]
    return keras.Model(inputs, outputs, name=adopter.model.name)


def has_own_activation(layer: Any) -> bool:
    """Whether a layer computes a function after its own work."""
    activation = getattr(layer, "activation", None)
    return activation is not None and getattr(activation, "__name__", "") != "linear"


# --- rules -------------------------------------------------------------------------------------


def _kept(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    is_softmax = type(layer).__name__ == "Softmax" or function == "softmax"
    if is_softmax and adopter.is_end(layer):
        adopter.note(logits_note(layer.name))
        return tensors[0]
    return clone(layer, layer.name, tensors[0] if len(tensors) == 1 else tensors)


def _skipped(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    return tensors[0]


def _activation(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    """A quantizer; a hard tanh rounds and saturates, and does nothing else."""
    from qkeras import QActivation, quantized_bits

    quantizer = layer.quantizer
    if type(quantizer).__name__ == "quantized_tanh" and not (
        quantizer.use_real_tanh or quantizer.use_stochastic_rounding
    ):
        same = quantized_bits(quantizer.bits, 0, int(quantizer.symmetric), alpha=1.0)
        return QActivation(same, name=layer.name)(tensors[0])
    if not isinstance(quantizer, type(_activation)):
        return clone(layer, layer.name, tensors[0])
    return adopter.activated(layer, quantizer, tensors[0])


ARGUMENTS = (
    "depth_multiplier",
    "dilation_rate",
    "filters",
    "groups",
    "kernel_size",
    "padding",
    "strides",
    "units",
)
"""What convolutions and dense layers have besides their weights and functions."""


def _weighted(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    """A convolution or dense layer, batch norm folded as QKeras folds it at inference."""
    import qkeras as library

    class_name = type(layer).__name__.replace("Batchnorm", "")
    is_folded = class_name != type(layer).__name__
    is_depthwise = class_name == "QDepthwiseConv2D"
    key = "depthwise" if is_depthwise else "kernel"
    kernel: Any
    bias: Any
    if is_folded:
        kernel, bias = (np.asarray(part) for part in layer.get_folded_weights())
    else:
        kernel = layer.depthwise_kernel if is_depthwise else layer.kernel
        bias = layer.bias if layer.use_bias else None
    roles = [(f"{key}_quantizer", "kernel", kernel)]
    if bias is not None:
        roles.append(("bias_quantizer", "folded bias" if is_folded else "bias", bias))
    options: dict[str, Any] = {f"{key}_initializer": "zeros"}  # set below
    stored = []
    for argument, role, values in roles:
        own = getattr(layer, f"{argument}_internal")
        options[argument], array = adopter.weight(layer, role, values, own)
        stored.append(array)
    for name in ARGUMENTS:
        if hasattr(layer, name) and not (is_depthwise and name in ("filters", "groups")):
            options[name] = getattr(layer, name)
    has_activation = has_own_activation(layer)
    made = getattr(library, class_name)(
        **options,
        use_bias=bias is not None,
        name=f"{layer.name}_accumulator" if has_activation else layer.name,
    )
    result = made(tensors[0])
    made.set_weights(stored)
    return adopter.activated(layer, layer.activation, result) if has_activation else result


def _separable(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    """A depthwise convolution, then a 1x1 convolution, with nothing between them."""
    from qkeras import QConv2D, QDepthwiseConv2D

    depthwise_quantizer, depthwise_kernel = adopter.weight(
        layer, "kernel", layer.depthwise_kernel, layer.depthwise_quantizer_internal
    )
    pointwise_quantizer, pointwise_kernel = adopter.weight(
        layer, "pointwise kernel", layer.pointwise_kernel, layer.pointwise_quantizer_internal
    )
    stored, options = [pointwise_kernel], {}
    if layer.use_bias:
        quantizer, bias = adopter.weight(layer, "bias", layer.bias, layer.bias_quantizer_internal)
        stored, options = [pointwise_kernel, bias], {"bias_quantizer": quantizer}
    depthwise = QDepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        depth_multiplier=layer.depth_multiplier,
        use_bias=False,
        depthwise_quantizer=depthwise_quantizer,
        depthwise_initializer="zeros",
        name=f"{layer.name}_depthwise",
    )
    has_activation = has_own_activation(layer)
    pointwise = QConv2D(
        layer.filters,
        1,
        use_bias=layer.use_bias,
        kernel_quantizer=pointwise_quantizer,
        kernel_initializer="zeros",
        name=f"{layer.name}_accumulator" if has_activation else layer.name,
        **options,
    )
    result = pointwise(depthwise(tensors[0]))
    depthwise.set_weights([depthwise_kernel])
    pointwise.set_weights(stored)
    return adopter.activated(layer, layer.activation, result) if has_activation else result


def _average(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    """Average pooling; where the quantized factor is not 1/area, sums of products with it."""
    from keras.layers import AveragePooling2D, GlobalAveragePooling2D

    is_global = type(layer).__name__ == "QGlobalAveragePooling2D"
    has_activation = has_own_activation(layer)
    name = f"{layer.name}_average" if has_activation else layer.name
    window = tuple(tensors[0].shape[1:3]) if is_global else pair(layer.pool_size)
    area = window[0] * window[1]
    factor = 1.0 / area
    if layer.average_quantizer_internal is not None:
        factor = float(np.asarray(layer.average_quantizer_internal(np.float32(factor))))
    if factor * area == 1.0 and is_global:
        result = GlobalAveragePooling2D(keepdims=layer.keepdims, name=name)(tensors[0])
    elif factor * area == 1.0:
        strides = pair(layer.strides)
        made = AveragePooling2D(window, strides=strides, padding=layer.padding, name=name)
        result = made(tensors[0])
    else:
        result = _scaled_sum(adopter, layer, tensors[0], window, factor, name)
    return adopter.activated(layer, layer.activation, result) if has_activation else result


def _scaled_sum(
    adopter: Adopter, layer: Any, tensor: Any, window: tuple[int, int], factor: float, name: str
) -> Any:
    """Each channel's sum over windows, times a factor: a depthwise convolution."""
    from keras.layers import Reshape

    is_global = type(layer).__name__ == "QGlobalAveragePooling2D"
    is_flat = is_global and not layer.keepdims
    what = f"layer {layer.name!r} ({type(layer).__name__})"
    if getattr(layer, "padding", "valid") != "valid":
        adopter.fault(what, "a quantized average must have padding 'valid'")
    area = window[0] * window[1]
    if area & (area - 1):
        adopter.fault(
            what,
            f"the average of {area} values has no exact float32, so what QKeras makes of it is not "
            "determined to the last bit. Leave average_quantizer out: the average is rounded once, "
            "by the quantizer that follows",
        )
    channels = int(tensor.shape[3])
    kernel = np.full((*window, channels, 1), factor)
    result = adopter.depthwise(
        layer,
        tensor,
        kernel,
        None,
        name=f"{name}_sum" if is_flat else name,
        strides=window if is_global else pair(layer.strides),
    )
    return Reshape((channels,), name=name)(result) if is_flat else result


def _batch_norm(adopter: Adopter, layer: Any, tensors: list[Any]) -> Any:
    """A factor and an offset for each channel, from the four quantized statistics."""
    import tensorflow as tf
    from keras.layers import Reshape

    def quantized(role: str, default: float) -> Any:
        attribute = role if role in ("beta", "gamma") else f"moving_{role}"
        values = getattr(layer, attribute)
        if values is None:
            return tf.constant(default)
        quantizer = getattr(layer, f"{role}_quantizer_internal")
        try:
            qkeras.require_quantizer(quantizer, f"the {role} of layer {layer.name!r}")
        except DesignError as error:
            adopter.faults += error.faults
            return values
        return quantizer(values)

    # as tf.nn.batch_normalization computes them
    factor = tf.math.rsqrt(quantized("variance", 1.0) + layer.epsilon) * quantized("gamma", 1.0)
    offset = quantized("beta", 0.0) - quantized("mean", 0.0) * factor
    tensor = tensors[0]
    shape = tuple(tensor.shape[1:])
    if len(shape) == 1:
        tensor = Reshape((1, 1, *shape), name=f"{layer.name}_pixel")(tensor)
    channels = int(shape[-1])
    kernel = np.broadcast_to(np.asarray(factor, np.float64), (channels,))
    bias = np.broadcast_to(np.asarray(offset, np.float64), (channels,))
    result = adopter.depthwise(
        layer,
        tensor,
        kernel.reshape(1, 1, channels, 1),
        bias,
        name=f"{layer.name}_scaled" if len(shape) == 1 else layer.name,
        advice=" (the square root of the quantized variance plus epsilon): set epsilon=0, or fold "
        "the layer (QConv2DBatchnorm)",
    )
    return Reshape(shape, name=layer.name)(result) if len(shape) == 1 else result


Rule = Callable[[Adopter, Any, list[Any]], Any]

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(SKIPPED, _skipped),
    "QActivation": _activation,
    "QAveragePooling2D": _average,
    "QBatchNormalization": _batch_norm,
    "QConv2D": _weighted,
    "QConv2DBatchnorm": _weighted,
    "QDense": _weighted,
    "QDepthwiseConv2D": _weighted,
    "QDepthwiseConv2DBatchnorm": _weighted,
    "QGlobalAveragePooling2D": _average,
    "QSeparableConv2D": _separable,
}
"""What becomes of a layer, by its class; others stay as they are."""
