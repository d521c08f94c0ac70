"""What the rules of adoption share: weights on their grids, own activations, the input, faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import FixedPoint
from hwflow.layers.base import FloatNode
from hwflow.layers.rectification import MAXIMA
from hwflow.layers.roles import ROLES
from hwflow.quantize import qkeras
from hwflow.quantize.calibrate import calibrate
from hwflow.quantize.float_graph import FloatGraph, logits_note, output_layers
from hwflow.quantize.lower import sources_of
from hwflow.quantize.policy import MAXIMUM_WIDTH, Point, WidthSpec

FloatArray = npt.NDArray[np.float64]


class Adopter:
    """Adds layer after layer; after a fault it goes on with zeros, to find the others."""

    def __init__(
        self,
        model: Any,
        input_spec: WidthSpec,
        images: npt.NDArray[np.float32],
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.input_spec = input_spec
        self.images = images
        self.note = note
        self.tensors: dict[str, Any] = {}
        self.faults: list[Fault] = []
        self.read = {name for layer in model.layers for name in sources_of(layer)}

    def fault(self, subject: str, message: str) -> None:
        """Notes a fault; the build goes on."""
        self.faults.append(Fault("", subject, message))

    def input(self, layer: Any) -> Any:
        """The network's input, with a quantizer unless exactly one reads it."""
        import keras
        from qkeras import QActivation

        # hls4ml reserves the name "input"
        name = "image" if layer.name == "input" else layer.name
        tensor = given = keras.Input(layer.output_shape[0][1:], name=name)
        readers = [node.outbound_layer for node in layer.outbound_nodes]
        readers = [reader for reader in readers if reader in self.model.layers]
        if len(readers) != 1 or not has_format(getattr(readers[0], "quantizer", None)):
            target = self.input_format(layer)
            quantizer = qkeras.activation_quantizer(target)
            tensor = QActivation(quantizer, name=f"{layer.name}_quantized")(given)
            self.note(
                f"no quantizer reads the input {layer.name!r}: it is taken as {target}, "
                "as the design's quantization.input has it"
            )
        self.tensors[layer.name] = tensor
        return given

    def input_format(self, layer: Any) -> FixedPoint:
        shape = tuple(int(size) for size in layer.output_shape[0][1:])
        node = FloatNode(layer.name, "InputLayer", (), {}, {}, shape, layer.name)
        spec = self.input_spec
        name = f"{layer.name}_quantized"
        point = Point(name, layer.name, spec.width, spec.integer_bits, "", layer.name)
        graph = FloatGraph((node,), (layer.name,))
        return calibrate(self.model, graph, [point], self.images)[name]

    def weight(self, layer: Any, role: str, values: Any, quantizer: Any) -> tuple[Any, FloatArray]:
        """A quantizer that lowering knows, and what to store for it: the same weights.

        Args:
            layer: that has the weight.
            role: of the weight, as `ROLES` names it.
            values: before they are quantized.
            quantizer: the layer's own for them.
        """
        what = f"the {role} of layer {layer.name!r}"
        try:
            return _exact_weight(values, quantizer, what)
        except DesignError as error:
            advice = next(text for name, _, text in ROLES[type(layer).__name__] if name == role)
            self.faults += [
                Fault(fault.where, fault.subject, f"{fault.message}. {advice}")
                for fault in error.faults
            ]
            stand_in = FixedPoint(8, 1)
            return qkeras.weight_quantizer(stand_in), np.zeros(np.shape(values))

    def depthwise(
        self,
        layer: Any,
        tensor: Any,
        kernel: FloatArray,
        bias: FloatArray | None = None,
        *,
        name: str,
        strides: tuple[int, int] = (1, 1),
        advice: str = "",
    ) -> Any:
        """A depthwise convolution with constants that a layer computes.

        Args:
            layer: that it stands for.
            tensor: of shape `(N, H, W, C)`.
            kernel: of shape `(height, width, C, 1)`.
            bias: of shape `(C,)`, or nothing.
            name: of the convolution.
            strides: rows and columns.
            advice: what to do where the constants are on no grid.
        """
        from qkeras import QDepthwiseConv2D

        options: dict[str, Any] = {}
        stored = []
        for key, values in (("depthwise_quantizer", kernel), ("bias_quantizer", bias)):
            if values is None:
                continue
            target = FixedPoint.holding(values)
            if target is None or target.width > MAXIMUM_WIDTH:
                text = f"multiplies by numbers on no fixed-point grid of {MAXIMUM_WIDTH} bits"
                self.fault(f"layer {layer.name!r} ({type(layer).__name__})", text + advice)
                target, values = FixedPoint(8, 1), np.zeros(values.shape)
            options[key] = qkeras.weight_quantizer(target)
            stored.append(qkeras.stored(target.quantize(values), target))
        made = QDepthwiseConv2D(
            kernel.shape[:2],
            strides=strides,
            use_bias=bias is not None,
            depthwise_initializer="zeros",  # set below
            name=name,
            **options,
        )
        result = made(tensor)
        made.set_weights(stored)
        return result

    def activated(self, layer: Any, activation: Any, tensor: Any) -> Any:
        """A layer's own activation, under the layer's name."""
        from keras.layers import Activation
        from qkeras import QActivation

        function = getattr(activation, "__name__", "")
        if function == "softmax" and self.is_end(layer):
            self.note(logits_note(layer.name))
            return tensor
        if function in MAXIMA:
            return Activation(function, name=layer.name)(tensor)
        return QActivation(function or activation, name=layer.name)(tensor)

    def is_end(self, layer: Any) -> bool:
        """Whether a layer's output is the network's, and nothing else."""
        return layer.name in output_layers(self.model) and layer.name not in self.read


def has_format(quantizer: Any) -> bool:
    """Whether a QKeras quantizer does nothing but round to a fixed-point format."""
    try:
        qkeras.format_of(quantizer, "")
    except DesignError:
        return False
    return True


def _exact_weight(values: Any, quantizer: Any, what: str) -> tuple[Any, FloatArray]:
    import tensorflow as tf

    given = np.asarray(values, np.float64)
    if has_format(quantizer):
        qkeras.raw_weights(values, quantizer, what)  # refuses what leaves its own grid
        return quantizer, given
    qkeras.require_quantizer(quantizer, what)
    quantized = np.asarray(quantizer(tf.convert_to_tensor(values)), np.float64)
    target = FixedPoint.holding(quantized)
    if target is None or target.width > MAXIMUM_WIDTH:
        kind = type(quantizer).__name__
        raise DesignError(
            f"{what}: the weights that {kind} gives are on no fixed-point grid of at most "
            f"{MAXIMUM_WIDTH} bits"
        )
    return qkeras.weight_quantizer(target), qkeras.stored(target.quantize(quantized), target)
