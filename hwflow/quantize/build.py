"""Builds the QKeras model from the float graph and the chosen formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import Fault
from hwflow.fixed_point import FixedPoint
from hwflow.keras_models import as_written
from hwflow.layers import float_kind
from hwflow.layers.base import FloatNode, LayerKind, RawWeights
from hwflow.quantize import kernels, policy, qkeras
from hwflow.quantize.calibrate import calibrate, tensor_of
from hwflow.quantize.float_graph import FloatGraph, read
from hwflow.quantize.kernels import StoredKernel
from hwflow.quantize.moments import Moments, moments_of
from hwflow.quantize.roles import OfNetwork, SectionOfRoles
from hwflow.quantize.running import Running, images_at_hand


def quantize(
    model: Any,
    section: SectionOfRoles,
    images: npt.NDArray[np.float32],
    fault: Callable[[str, str], Fault] = lambda path, message: Fault("", path, message),
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Any:
    """The QKeras model of a float network.

    Args:
        model: functional float Keras model with one input.
        section: the design's section on quantization.
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
    quantization, points = quantizable(graph, section, fault)
    formats = calibrate(model, graph, points, images, progress)
    policy.raise_faults(policy.sign_faults(points, formats, quantization, fault))
    images = images_at_hand(graph, images)
    layers = [model.get_layer(node.name) for node in graph.nodes if not node.source]
    activated = {layer.name: (layer.output, layer.activation) for layer in layers}
    running, real = Running(graph, images), Running(graph, images, activated)
    tensors = {node.name: tensor_of(model, node) for node in graph.nodes}
    builder = _Builder(graph, quantization, points, formats, running, real, tensors)
    return as_written(builder.build)(model.name)


def quantizable(
    graph: FloatGraph, section: SectionOfRoles, fault: Callable[[str, str], Fault]
) -> tuple[OfNetwork, tuple[policy.Point, ...]]:
    """The section for a network, and where its tensors are quantized.

    Args:
        graph: of the float network.
        section: the design's section on quantization.
        fault: makes a fault of a key path of the design and a message.

    Raises:
        DesignError: naming every width that cannot be.
    """
    quantization = OfNetwork(section, graph)
    points = policy.points_of(graph, quantization)
    policy.raise_faults(policy.width_faults(graph, points, quantization, fault))
    return quantization, points


class _Builder:
    """Adds node after node, and knows the fraction bits of every tensor on the way."""

    def __init__(
        self,
        graph: FloatGraph,
        quantization: policy.Quantization,
        points: tuple[policy.Point, ...],
        formats: Mapping[str, FixedPoint],
        running: Running,
        real: Running,
        real_tensors: Mapping[str, Any],
    ) -> None:
        self.graph = graph
        self.quantization = quantization
        self.points = {point.node: point for point in points}
        self.formats = formats
        self.running = running
        self.real = real
        self.real_tensors = real_tensors
        self.fractions: dict[str, int] = {}
        self.reaches: dict[str, float] = {}
        self.kernels: dict[str, StoredKernel] = {}
        self.biases: dict[str, RawWeights] = {}

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
                image = tensor
                inputs.append(tensor)
            else:
                self.real.step(node.name, node.inputs, self.real_tensors[node.name])
                kind = _kind_of(node)
                if kind.weights:
                    self._quantize_weights(node)
                tensor = kind.quantize(node, [tensors[source] for source in node.inputs], self)
            point = self.points.get(node.name)
            if point is not None and point.name != node.name:
                from qkeras import QActivation

                tensor = QActivation(self.activation_quantizer(point.name), name=point.name)(tensor)
            if point is not None:
                chosen = self.formats[point.name]
                self.fractions[node.name] = chosen.fraction_bits
                self.reaches[node.name] = float(chosen.to_float(-chosen.minimum or chosen.maximum))
            elif node.inputs:
                self.fractions[node.name] = max(self.fractions[s] for s in node.inputs)
                self.reaches[node.name] = max(self.reaches[s] for s in node.inputs)
            tensors[node.name] = tensor
            if node.kind == "InputLayer":
                self.running.begin(node.name, image, tensor)
                given = self.real_tensors[node.name]
                self.real.begin(node.name, given, given)
            else:
                self.running.step(node.name, node.inputs, tensor)
                self.running.release(node.inputs)
                self.real.release(node.inputs)
        return keras.Model(inputs, [tensors[name] for name in self.graph.outputs], name=name)

    def _quantize_weights(self, node: FloatNode) -> None:
        widths = self.quantization.for_layer(node.name)
        source = node.inputs[0]
        channel_axes = _kind_of(node).channel_axes
        moments = moments_of(
            node, channel_axes, self.running.values(source), self.real.values(source)
        )
        chosen = kernels.quantized(
            node.weights["kernel"],
            widths.weights,
            channel_axes,
            self.fractions[source],
            self.reaches[source],
            moments,
        )
        bias = self.real.mean(node.name) - _mean_output(chosen.weights, moments)
        product_fraction = self.fractions[source] + chosen.weights.format.fraction_bits
        target = policy.bias_format(
            bias, widths.biases.width, widths.biases.integer_bits, product_fraction
        )
        self.kernels[node.name] = chosen
        self.biases[node.name] = RawWeights(target.quantize(bias), target)

    def weight_quantizers(self, node: FloatNode) -> tuple[Any, Any]:
        bias = self.biases[node.name].format
        return self.kernels[node.name].quantizer, qkeras.weight_quantizer(bias)

    def stored_weights(self, node: FloatNode) -> list[npt.NDArray[np.float64]]:
        bias = self.biases[node.name]
        return [self.kernels[node.name].stored, qkeras.stored(bias.values, bias.format)]

    def activation_format(self, name: str) -> FixedPoint:
        return self.formats[name]

    def activation_quantizer(self, name: str) -> Any:
        return qkeras.activation_quantizer(self.formats[name])


def _kind_of(node: FloatNode) -> LayerKind:
    kind = float_kind(node.kind)
    assert kind is not None  # what has none was refused on reading
    return kind


def _mean_output(kernel: RawWeights, moments: Moments) -> npt.NDArray[np.float64]:
    """By output channel, what a layer without a bias puts out on the average."""
    split = moments.columns.split(kernel.to_float())
    return np.asarray(np.einsum("gp,gpc->gc", moments.means, split).ravel())
