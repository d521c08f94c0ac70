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
from hwflow.quantize.policy import Point, candidates, output_groups, squared_error

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
    over all values. Points of one group share their format. What the network puts out is not
    clipped: the greatest values are few, but they are what is asked for, and clipped they tie.
    A tensor is freed once it is measured.

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
    import keras

    taps = keras.Model(model.inputs, [tensor_of(model, graph.node(p.node)) for p in points])
    largest = max(math.prod(tensor.shape[1:]) for tensor in taps.outputs)
    parts = list(batches(images, BATCH, ALIVE * largest))
    total = 2 * len(images)
    reach = {point.group: _Reach() for point in points}
    outputs = output_groups(graph, points)
    for start, batch in parts:
        for index, values in stream(taps, batch):
            low, high = float(values.min()), float(values.max())
            if not (math.isfinite(low) and math.isfinite(high)):  # a NaN is the least of all
                raise DesignError(f"layer {points[index].node!r} gives values that are not finite")
            entry = reach[points[index].group]
            entry.low, entry.high = min(entry.low, low), max(entry.high, high)
        progress(start + len(batch), total)
    for start, batch in parts:
        for index, values in stream(taps, batch):
            point = points[index]
            if point.integer_bits is not None:
                continue
            entry = reach[point.group]
            tried = candidates(entry.low, entry.high, least=0)
            targets = {
                bits: FixedPoint.from_qkeras(point.width, bits, entry.low < 0)
                for bits in (tried[-1:] if point.group in outputs else tried)
            }
            for first in range(0, values.size, BLOCK):
                block = values.reshape(-1)[first : first + BLOCK]
                for bits, target in targets.items():
                    error = squared_error(block, target)
                    entry.errors[bits] = entry.errors.get(bits, 0.0) + error
        progress(len(images) + start + len(batch), total)
    return {point.name: _chosen(point, reach[point.group]) for point in points}


def tensor_of(model: Any, node: FloatNode) -> Any:
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


def _chosen(point: Point, entry: _Reach) -> FixedPoint:
    signed = entry.low < 0
    if point.integer_bits is not None:
        return FixedPoint(point.width, point.integer_bits, signed)
    # of equal errors the widest range, which leaves room for images not seen
    bits = min(sorted(entry.errors, reverse=True), key=lambda bits: entry.errors[bits])
    return FixedPoint.from_qkeras(point.width, bits, signed)
