"""Formats of tensors from what the float network makes of calibration images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import BLOCK, FixedPoint
from hwflow.layers.base import FloatNode
from hwflow.pictures import batches
from hwflow.quantize.float_graph import FloatGraph
from hwflow.quantize.inference import stream
from hwflow.quantize.policy import Point, candidates, squared_error

BATCH = 4
"""The most images evaluated at a time."""

ALIVE = 4
"""Tensors of the largest size that are in memory at a time, about."""


@dataclass
class _Reach:
    low: float = np.inf
    high: float = -np.inf
    errors: dict[int, float] = field(default_factory=dict)


def calibrate(
    model: Any,
    graph: FloatGraph,
    points: Sequence[Point],
    images: npt.NDArray[np.float32],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, FixedPoint]:
    """Chooses for every point the integer bits that lose least over the images.

    The range is measured over all images first; then the squared error of each candidate is summed
    over all values. Points of one group share their format. A tensor is freed once it is measured.

    Args:
        model: the float Keras model that `graph` was read from.
        graph: its nodes.
        points: where tensors are quantized.
        images: shape `(N, H, W, C)`, preprocessed.
        progress: told how many images of how many passes are done.

    Returns:
        Formats by the points' names.

    Raises:
        DesignError: if the network's values are not finite.
    """
    return _chosen_all(points, _measured(model, graph, points, [], images, progress)[0])


def calibrate_with_means(
    model: Any,
    graph: FloatGraph,
    points: Sequence[Point],
    images: npt.NDArray[np.float32],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, FixedPoint], dict[str, npt.NDArray[np.float64]]]:
    """As `calibrate`, and what the layers with weights read on the average.

    Returns:
        Formats by the points' names; and by the layer's name, the mean of each of its input
        channels over pixels and images.
    """
    layers = [node for node in graph.nodes if node.weights]
    sources = list(dict.fromkeys(node.inputs[0] for node in layers))
    reach, means = _measured(model, graph, points, sources, images, progress)
    return _chosen_all(points, reach), {node.name: means[node.inputs[0]] for node in layers}


def _tensor_of(model: Any, node: FloatNode) -> Any:
    """The Keras tensor of a node; of a layer that has an activation of its own, before that."""
    if node.source:
        return model.get_layer(node.source).output
    layer = model.get_layer(node.name)
    twin = type(layer).from_config(
        {**layer.get_config(), "activation": "linear", "name": f"{node.name}_before_activation"}
    )
    tensor = twin(layer.input)
    twin.set_weights(layer.get_weights())
    return tensor


def _measured(
    model: Any,
    graph: FloatGraph,
    points: Sequence[Point],
    sources: Sequence[str],
    images: npt.NDArray[np.float32],
    progress: Callable[[int, int], None],
) -> tuple[dict[str, _Reach], dict[str, npt.NDArray[np.float64]]]:
    """What each group of points reaches and loses; and the means of the sources' channels."""
    import keras

    nodes = [*(point.node for point in points), *sources]
    taps = keras.Model(model.inputs, [_tensor_of(model, graph.node(name)) for name in nodes])
    largest = max(math.prod(tensor.shape[1:]) for tensor in taps.outputs)
    parts = list(batches(images, BATCH, ALIVE * largest))
    total = 2 * len(images)
    reach = {point.group: _Reach() for point in points}
    sums: dict[str, Any] = dict.fromkeys(sources, 0.0)
    for start, batch in parts:
        for index, values in stream(taps, batch):
            low, high = float(values.min()), float(values.max())
            if not (math.isfinite(low) and math.isfinite(high)):  # a NaN is the least of all
                raise DesignError(f"layer {nodes[index]!r} gives values that are not finite")
            if index < len(points):
                entry = reach[points[index].group]
                entry.low, entry.high = min(entry.low, low), max(entry.high, high)
            else:
                means = values.reshape(len(values), -1, values.shape[-1]).mean(1, np.float64)
                sums[nodes[index]] = sums[nodes[index]] + means.sum(axis=0)
        progress(start + len(batch), total)
    for start, batch in parts:
        for index, values in stream(taps, batch):
            if index < len(points) and points[index].integer_bits is None:
                point = points[index]
                entry = reach[point.group]
                targets = {
                    bits: FixedPoint.from_qkeras(point.width, bits, entry.low < 0)
                    for bits in candidates(entry.low, entry.high, least=0)
                }
                for first in range(0, values.size, BLOCK):
                    block = values.reshape(-1)[first : first + BLOCK]
                    for bits, target in targets.items():
                        error = squared_error(block, target)
                        entry.errors[bits] = entry.errors.get(bits, 0.0) + error
        progress(len(images) + start + len(batch), total)
    return reach, {name: total / len(images) for name, total in sums.items()}


def _chosen_all(points: Sequence[Point], reach: dict[str, _Reach]) -> dict[str, FixedPoint]:
    return {point.name: _chosen(point, reach[point.group]) for point in points}


def _chosen(point: Point, entry: _Reach) -> FixedPoint:
    signed = entry.low < 0
    if point.integer_bits is not None:
        return FixedPoint(point.width, point.integer_bits, signed)
    # of equal errors the widest range, which leaves room for images not seen
    bits = min(sorted(entry.errors, reverse=True), key=lambda bits: entry.errors[bits])
    return FixedPoint.from_qkeras(point.width, bits, signed)
