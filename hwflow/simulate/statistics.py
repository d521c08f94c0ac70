"""What every tensor is on the hardware's own numbers: its range, overflows, unused bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Input, Requantize, Table
from hwflow.simulate.fast import FastEngine

MOST_TOLD = 5
"""Tensors that a summary names."""

CHOSEN = (Input, Requantize, Table)
"""Operations whose formats calibration or the design chose; all other formats are proved."""


def observed(
    graph: IntegerGraph,
    images: npt.NDArray[np.float32],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Statistics of every tensor over images, from the engine; one image is in memory at a time.

    Args:
        graph: with one input.
        images: preprocessed, shape `(N, H, W, C)`.
        progress: told how many images are done.

    Returns:
        By tensor its `format` and what `TensorStatistics` has.

    Raises:
        DesignError: if the engine cannot prove the graph.
        ToolError: if the engine is not built.
    """
    (name,) = graph.inputs
    engine = FastEngine(graph, statistics=True)
    for done, image in enumerate(images):
        progress(done, len(images))
        engine.predict({name: graph.tensors[name].format.quantize(image[None])})
    progress(len(images), len(images))
    return {
        tensor: {"format": str(graph.tensors[tensor].format), **asdict(seen)}
        for tensor, seen in engine.statistics.items()
    }


def lost_share(seen: Mapping[str, Any]) -> float:
    """The share of a tensor's values that its range changed; ReLU's zeros are none of them.

    Args:
        seen: `format`, and `count`, `saturated`, `below` and `wrapped` of `TensorStatistics`.
    """
    relu = seen["below"] if seen["format"].startswith("u") else 0
    share: float = (seen["saturated"] - relu + seen["wrapped"]) / seen["count"]
    return share


def summary(
    graph: IntegerGraph, statistics: Mapping[str, Mapping[str, Any]], images: int
) -> dict[str, Any]:
    """What `metrics.json` holds of them.

    Args:
        graph: the network.
        statistics: of `observed`.
        images: how many they are of.

    Returns:
        `images`; `clipped`: the tensors that lose most by their range, with the share of their
        values; `unused_bits`: those whose format was chosen and has bits on top that no value
        needed, the most first.
    """
    clipped = {name: lost_share(seen) for name, seen in statistics.items()}
    chosen = {operation.name for operation in graph.operations if isinstance(operation, CHOSEN)}
    unused = {
        name: int(seen["unused_bits"])
        for name, seen in statistics.items()
        if name in chosen and seen["unused_bits"] > 0
    }
    return {
        "images": images,
        "clipped": {name: float(f"{share:.3g}") for name, share in _most(clipped) if share > 0},
        "unused_bits": dict(_most(unused)),
    }


def _most(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(values.items(), key=lambda item: (-item[1], item[0]))[:MOST_TOLD]
