"""Builds the QKeras model from the float graph and the chosen formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import Fault
from hwflow.fixed_point import FixedPoint
from hwflow.layers import float_kind
from hwflow.layers.base import FloatNode
from hwflow.quantize import policy, qkeras
from hwflow.quantize.calibrate import calibrate
from hwflow.quantize.float_graph import FloatGraph, read


def quantize(
    model: Any,
    quantization: policy.Quantization,
    images: npt.NDArray[np.float32],
    fault: Callable[[str, str], Fault] = lambda path, message: Fault("", path, message),
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Any:
    """The QKeras model of a float network.

    Args:
        model: functional float Keras model with one input.
        quantization: the design's section.
        images: for calibration, shape `(N, H, W, C)`, preprocessed.
        fault: makes a fault of a key path of the design and a message.
        progress: told how far the calibration is.
        note: told what was left out of the network, a sentence each.

    Returns:
        A QKeras model: every weight is stored quantized, every tensor that is computed passes a
        quantizer, and the layers keep their names.

    Raises:
        DesignError: naming every layer and width that cannot be built.
    """
    graph = read(model)
    for text in graph.notes:
        note(text)
    points = policy.points_of(graph, quantization)
    policy.raise_faults(policy.width_faults(graph, points, quantization, fault))
    formats = calibrate(model, graph, points, images, progress)
    return _Builder(graph, quantization, points, formats).build(model.name)


class _Builder:
    """Adds node after node, and knows the fraction bits of every tensor on the way."""

    def __init__(
        self,
        graph: FloatGraph,
        quantization: policy.Quantization,
        points: tuple[policy.Point, ...],
        formats: Mapping[str, FixedPoint],
    ) -> None:
        self.graph = graph
        self.quantization = quantization
        self.points = {point.node: point for point in points}
        self.formats = formats
        self.fractions: dict[str, int] = {}
        self.weights: dict[str, dict[str, tuple[npt.NDArray[np.int64], FixedPoint]]] = {}

    def build(self, name: str) -> Any:
        """The finished model."""
        import keras

        tensors: dict[str, Any] = {}
        inputs = []
        for node in self.graph.nodes:
            if node.kind == "InputLayer":
                # hls4ml reserves the name "input"
                name_taken = node.name == "input"
                tensor = keras.Input(node.shape, name="image" if name_taken else node.name)
                inputs.append(tensor)
            else:
                kind = float_kind(node.kind)
                assert kind is not None  # what has none was refused on reading
                if kind.weights:
                    self.weights[node.name] = self._quantized_weights(node)
                tensor = kind.quantize(node, [tensors[source] for source in node.inputs], self)
            point = self.points.get(node.name)
            if point is not None and point.name != node.name:
                from qkeras import QActivation

                tensor = QActivation(self.activation_quantizer(point.name), name=point.name)(tensor)
            if point is not None:
                self.fractions[node.name] = self.formats[point.name].fraction_bits
            elif node.inputs:
                self.fractions[node.name] = max(self.fractions[s] for s in node.inputs)
            tensors[node.name] = tensor
        return keras.Model(inputs, [tensors[name] for name in self.graph.outputs], name=name)

    def _quantized_weights(
        self, node: FloatNode
    ) -> dict[str, tuple[npt.NDArray[np.int64], FixedPoint]]:
        widths = self.quantization.for_layer(node.name)
        kernel = node.weights["kernel"]
        target = policy.best_format(kernel, widths.weights.width, widths.weights.integer_bits)
        chosen = {"kernel": (target.quantize(kernel), target)}
        bias = node.weights.get("bias", np.zeros(node.shape[-1]))
        product_fraction = self.fractions[node.inputs[0]] + target.fraction_bits
        bias_target = policy.bias_format(
            bias, widths.biases.width, widths.biases.integer_bits, product_fraction
        )
        chosen["bias"] = (bias_target.quantize(bias), bias_target)
        return chosen

    def weight_quantizers(self, node: FloatNode) -> tuple[Any, Any]:
        kernel, bias = (self.weights[node.name][role][1] for role in ("kernel", "bias"))
        return qkeras.weight_quantizer(kernel), qkeras.weight_quantizer(bias)

    def stored_weights(self, node: FloatNode) -> list[npt.NDArray[np.float64]]:
        return [qkeras.stored(*self.weights[node.name][role]) for role in ("kernel", "bias")]

    def activation_format(self, name: str) -> FixedPoint:
        return self.formats[name]

    def activation_quantizer(self, name: str) -> Any:
        return qkeras.activation_quantizer(self.formats[name])
