"""The QKeras model on the calibration images, layer by layer while it is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.pictures import VALUES_IN_MEMORY
from hwflow.quantize.float_graph import FloatGraph

BATCH = 8
"""Images that a layer is given at a time."""

LIVE = 8
"""Tensors of the greatest size that are taken to be in memory at a time."""


def images_at_hand(graph: FloatGraph, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """As many of the first images as the tensors of a network leave room for, one at least."""
    largest = max(int(np.prod(node.shape)) for node in graph.nodes)
    return images[: max(1, VALUES_IN_MEMORY // (LIVE * largest))]


class Running:
    """Holds the tensors that layers to come will read.

    Args:
        graph: the float network, whose nodes are run in their order.
        images: shape `(N, H, W, C)`.
        activated: by node, of those that are layers before an activation of the layer's own: what
            the layer puts out, of Keras, and the activation.
    """

    def __init__(
        self,
        graph: FloatGraph,
        images: npt.NDArray[np.float32],
        activated: Mapping[str, tuple[Any, Callable[[Any], Any]]] | None = None,
    ) -> None:
        self._activated = activated or {}
        self._images = images
        self._uses = Counter(source for node in graph.nodes for source in node.inputs)
        self._tensors: dict[str, Any] = {}
        self._values: dict[str, npt.NDArray[np.float32]] = {}

    def values(self, node: str) -> npt.NDArray[np.float32]:
        """What a node puts out, `(N, ...)`, until all that read it have run and released it."""
        return self._values[node]

    def mean(self, node: str) -> npt.NDArray[np.float64]:
        """The mean of each channel that a node puts out, over pixels and images."""
        values = self._values[node]
        return np.asarray(values.mean(axis=tuple(range(values.ndim - 1)), dtype=np.float64))

    def begin(self, node: str, image: Any, tensor: Any) -> None:
        """Runs the input.

        Args:
            node: its name.
            image: the Keras tensor that the network is given.
            tensor: of Keras, which the node puts out: the same, or that quantized.
        """
        self._run(node, tensor, {id(image): self._images})

    def step(self, node: str, inputs: tuple[str, ...], tensor: Any) -> None:
        """Runs a node whose inputs have run.

        Args:
            node: its name.
            inputs: names of the nodes that it reads.
            tensor: of Keras, which it puts out.
        """
        given = {id(self._tensors[name]): self._values[name] for name in inputs}
        for name in self._activated.keys() & set(inputs):
            output, activation = self._activated[name]
            given[id(output)] = np.asarray(activation(self._values[name]))
        self._run(node, tensor, given)

    def release(self, inputs: tuple[str, ...]) -> None:
        """Lets go of what no other node is to read than one that has run.

        Args:
            inputs: names of the nodes that it reads.
        """
        for name in inputs:
            self._uses[name] -= 1
            if not self._uses[name]:
                self._values.pop(name, None)

    def _run(self, node: str, tensor: Any, given: dict[int, npt.NDArray[np.float32]]) -> None:
        self._tensors[node] = tensor
        parts = []
        for start in range(0, len(self._images), BATCH):
            known = {key: array[start : start + BATCH] for key, array in given.items()}
            parts.append(np.asarray(_evaluated(tensor, known)))
        self._values[node] = np.concatenate(parts)


def _evaluated(tensor: Any, known: dict[int, Any]) -> Any:
    """The value of a Keras tensor, from those of tensors that it is made of, by their `id`."""
    if id(tensor) not in known:
        node = tensor.node
        sources = node.keras_inputs
        values = {str(id(each)): [_evaluated(each, known)] * len(sources) for each in sources}
        arguments, named = node.map_arguments(values)
        known[id(tensor)] = node.layer(*arguments, **named)
    return known[id(tensor)]
