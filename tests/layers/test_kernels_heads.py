"""top_k and softmax as they are emitted, against the integer operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Input, Operation, Shape, TopKIndices, TopKValues
from hwflow.quantize.heads import softmax
from tests.support.kernel_cases import emitted_case
from tests.support.kernel_harness import STRICT, Case, run_cases


def logits(rng: np.random.Generator, shape: Shape, source: FixedPoint) -> np.ndarray:
    """Many equal values; the extremes; random ones."""
    images = rng.integers(source.minimum, source.maximum + 1, (4, *shape))
    images[0] = rng.integers(-1, 2, shape).clip(source.minimum, source.maximum)
    images[1] = rng.choice([source.minimum, source.maximum], shape)
    images[2] = source.minimum
    return images


def check(graphs: list[tuple[IntegerGraph, dict[str, int]]], folder: Path) -> None:
    rng = np.random.default_rng(31)
    batch: list[tuple[Case, list[np.ndarray]]] = []
    expected = []
    for graph, choices in graphs:
        tensor = graph.tensors["x"]
        images = logits(rng, tensor.shape, tensor.format)
        batch.append((emitted_case(graph, **choices), [images]))
        values = graph.evaluate({"x": images})
        expected.append([values[name] for name in graph.outputs])
    results = run_cases(batch, folder, STRICT)
    for streams, outputs in zip(results, expected, strict=True):
        for found, values in zip(streams, outputs, strict=True):
            np.testing.assert_array_equal(found.reshape(values.shape), values)


def headed(shape: Shape, source: FixedPoint, operations: list[Operation]) -> IntegerGraph:
    program = [Input("x", (), shape, source), *operations]
    return IntegerGraph.build("heads", program, [operation.name for operation in operations])


def test_top_k(tmp_path: Path) -> None:
    instances: list[tuple[Shape, FixedPoint, int, int]] = [
        ((2, 3, 10), FixedPoint(8, 3), 5, 1_000_000),
        ((1, 1, 12), FixedPoint(8, 3, False), 1, 1),
        ((2, 2, 7), FixedPoint(3, 2), 7, 1),
        ((1, 2, 1), FixedPoint(16, 3), 1, 1),
        ((1, 1, 64), FixedPoint(32, 4, False), 3, 16),
    ]
    check(
        [
            (
                headed(
                    shape,
                    source,
                    [TopKIndices("indices", ("x",), k), TopKValues("values", ("x",), k)],
                ),
                {"interval_cycles": interval},
            )
            for shape, source, k, interval in instances
        ],
        tmp_path,
    )


@pytest.mark.parametrize("width", [2, 8, 16])
def test_softmax(width: int, tmp_path: Path) -> None:
    graphs = []
    for shape, source in (
        ((2, 2, 10), FixedPoint(8, 4)),
        ((1, 3, 3), FixedPoint(8, 3, False)),
        ((1, 1, 1), FixedPoint(4, 2)),
        ((1, 1, 40), FixedPoint(12, 9)),
        ((1, 2, 5), FixedPoint(6, -2)),
    ):
        graph = IntegerGraph.build("x", [Input("x", (), shape, source)], ["x"])
        made = softmax("y", "x", graph.tensors["x"], width)
        graphs.append((headed(shape, source, [made]), {}))
    check(graphs, tmp_path)
