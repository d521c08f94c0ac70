"""Runs Keras models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

UNOPTIMISED = "disable_meta_optimizer"
"""TensorFlow's option that leaves graphs as they are written."""


def predict(model: Any, images: npt.NDArray[np.float32]) -> Any:
    """What `model.predict_on_batch(images)` gives, its operations run as they are written.

    TensorFlow's graph optimiser reorders arithmetic where a graph is large enough: of ResNet-50 it
    rewrote QKeras's `x + (xq - x)` so that half the values left their grid by one unit in the last
    place. It also joins a convolution and its bias to one operation, which on CPUs refuses groups
    ("Fused conv implementation does not support grouped convolutions"). So it is off here.
    """
    import tensorflow as tf

    given = tf.config.optimizer.get_experimental_options().get(UNOPTIMISED, False)
    tf.config.optimizer.set_experimental_options({UNOPTIMISED: True})
    try:
        return model.predict_on_batch(images)
    finally:
        tf.config.optimizer.set_experimental_options({UNOPTIMISED: given})


def stream(model: Any, images: npt.NDArray[np.float32]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Runs a model layer by layer and yields each of its outputs when it is computed.

    Layers run eagerly, each operation as it is written and no graph before it. A tensor is freed
    when its last reader has had it: memory holds the tensors alive between two layers.

    Args:
        model: functional, with one input.
        images: shape `(N, H, W, C)`.

    Yields:
        The index of an output among the model's outputs, and its values, which may be of use to
        layers yet to come: they must not be changed.
    """
    import tensorflow as tf

    depths = sorted(model._nodes_by_depth, reverse=True)  # from the inputs on
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
    readers = Counter(str(id(tensor)) for node in nodes for tensor in node.keras_inputs)
    wanted: dict[str, list[int]] = {}
    for index, tensor in enumerate(model.outputs):
        wanted.setdefault(str(id(tensor)), []).append(index)
    waiting: dict[str, list[Any]] = {}  # a copy of the reference for each reader to take away

    def made(tensors: Any, values: Any) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        for tensor, value in zip(tf.nest.flatten(tensors), tf.nest.flatten(values), strict=True):
            key = str(id(tensor))
            waiting[key] = [value] * readers[key]
            for index in wanted.get(key, ()):
                yield index, np.asarray(value)

    yield from made(model.inputs, tf.convert_to_tensor(images))
    for node in nodes:
        arguments, keywords = node.map_arguments(waiting)
        yield from made(node.outputs, node.layer(*arguments, **keywords))
