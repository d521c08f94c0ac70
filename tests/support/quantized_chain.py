"""A float Keras model through the whole chain, each step compared with the one before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Input
from hwflow.quantize.build import quantize
from hwflow.quantize.lower import lower
from hwflow.sections import LayerHardware, WeightFormat


class Widths:
    """A quantization section: the same widths for every layer, but for those named."""

    def __init__(
        self, weights=8, activations=8, biases=16, inputs=8, scale="channel", **layers: int
    ) -> None:
        self.input = _width(inputs)
        self._scale = scale
        self._all = (weights, activations, biases)
        self._activations = layers

    def for_layer(self, name: str, roles: Any = ()) -> Any:
        weights, activations, biases = self._all
        return SimpleNamespace(
            weights=WeightFormat(width=weights, scale=self._scale),
            activations=_width(self._activations.get(name, activations)),
            biases=_width(biases),
        )


class _Width(SimpleNamespace):
    pass


def _width(bits: int) -> Any:
    return _Width(width=bits, integer_bits=None)


def pictures(model: Any, count: int = 2, seed: int = 0) -> Any:
    """Random images of both signs, shape `(count, H, W, C)`."""
    shape = model.input_shape[1:]
    values = np.random.default_rng(seed).normal(0.0, 0.7, (count, *shape))
    return values.astype(np.float32)


def quantized(model: Any, widths: Any = None, images: Any = None) -> tuple[Any, IntegerGraph]:
    """The QKeras model of a float model, and its integer graph."""
    images = pictures(model) if images is None else images
    made = quantize(model, widths or Widths(), images)
    return made, lower(made, model.name)


def raw_input(graph: IntegerGraph, images: Any) -> dict[str, Any]:
    """The images as the raw integers of the graph's input."""
    (entry,) = (op for op in graph.operations if isinstance(op, Input))
    return {entry.name: entry.format.quantize(images).reshape(len(images), *entry.shape)}


def assert_equals_keras(model: Any, graph: IntegerGraph, images: Any) -> set[str]:
    """Every tensor that both have is equal, value by value; returns the tensors' names."""
    import keras

    values = graph.evaluate(raw_input(graph, images))
    names = [layer.name for layer in model.layers if layer.name in graph.tensors]
    taps = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    found = taps(images, training=False)
    found = [array.numpy() for array in (found if isinstance(found, list) else [found])]
    for name, got in zip(names, found, strict=True):
        tensor = graph.tensors[name]
        expected = tensor.format.to_float(values[name])
        if tensor.divisor != 1:
            expected = np.float32(expected) / np.float32(tensor.divisor)
        np.testing.assert_array_equal(got.reshape(expected.shape), expected, err_msg=name)
        low, high = tensor.interval.low, tensor.interval.high
        assert (values[name] >= low).all(), name
        assert (values[name] <= high).all(), name
    return set(names)


def assert_hardware_equals(
    model: Any, graph: IntegerGraph, images: Any, folder: Path, cache: Path | None = None
) -> set[str]:
    """C-simulates the network's HLS project: every tensor that passes a stream is equal.

    Args:
        model: the QKeras model.
        graph: its integer graph.
        images: shape `(N, H, W, C)`.
        folder: for the project and what is made of it.
        cache: of compiled objects, for networks that are compiled in one unit; by default within
            `folder`, a unit a layer.
    """
    from hwflow.hls import hls4ml_backend
    from hwflow.hls.writer import ProjectSettings
    from hwflow.plan.mapping import Choices, map_graph
    from hwflow.simulate.csim import compile_project, simulate

    layer = LayerHardware(None, "auto")
    streams = map_graph(graph, Choices(for_layer=lambda name: layer))
    settings = ProjectSettings("vitis", "xczu9eg-ffvb1156-2-e", 5.0)
    files, _ = hls4ml_backend.convert(model, graph, streams, settings)
    files.write_into(folder / "hls")
    simulator = compile_project(
        folder / "hls",
        streams,
        cache or folder / "cache",
        folder / "compile.txt",
        together=cache is not None,
    )
    inputs = raw_input(graph, images)
    outputs = simulate(simulator, inputs, folder / "run", folder / "run.txt")
    expected = graph.evaluate(inputs)
    for name, values in outputs.items():
        np.testing.assert_array_equal(values, expected[name].reshape(values.shape), err_msg=name)
    return set(outputs)
