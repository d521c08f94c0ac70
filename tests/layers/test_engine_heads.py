"""The engine's kernels of upsamplings and output heads equal NumPy, at their limits too."""

from __future__ import annotations

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Concatenate,
    Input,
    Operation,
    Requantize,
    Softmax,
    TopKIndices,
    TopKValues,
    UpsampleBilinear2D,
    UpsampleNearest2D,
)
from hwflow.simulate.fast import FastEngine
from tests.layers.test_engine import PATHS, assert_equal_everywhere

CHANNELS = (1, 3, 8, 15, 16, 17, 19, 33, 64, 67)
SIGNED, UNSIGNED = FixedPoint(8, 4), FixedPoint(8, 4, signed=False)


def graph_of(operations: list[Operation], *outputs: str) -> IntegerGraph:
    return IntegerGraph.build("g", operations, outputs)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [SIGNED, UNSIGNED, FixedPoint(9, 4)])
@pytest.mark.parametrize("channels", CHANNELS)
def test_upsamplings(path: str, given: FixedPoint, channels: int) -> None:
    random = np.random.default_rng(channels)
    operations: list[Operation] = [Input("x", (), (3, 4, channels), given)]
    outputs = []
    for factors in ((1, 1), (2, 2), (3, 5), (8, 8), (1, 4)):
        name = "by_{}_{}".format(*factors)
        sums = UpsampleBilinear2D(name, ("x",), factors)
        unit = IntegerGraph.build("unit", [operations[0], sums], [name]).tensors[name].format
        operations += [sums, UpsampleNearest2D(f"{name}_nearest", ("x",), factors)]
        outputs += [name, f"{name}_nearest"]
        for kept in (SIGNED, UNSIGNED, FixedPoint(12, 3, rounding=Rounding.RND)):
            requantized = f"{name}_{kept.width}_{kept.signed}"
            scale = _divisor(factors)
            operations.append(Requantize(requantized, (name,), kept, unit.fraction_bits, scale))
            outputs.append(requantized)
    x = random.integers(given.minimum, given.maximum, (2, 3, 4, channels), endpoint=True)
    x[0] = random.choice([given.minimum, given.maximum], x[0].shape)
    assert_equal_everywhere(graph_of(operations, *outputs), {"x": x}, path, threads=2)


def _divisor(factors: tuple[int, int]) -> int:
    """What is left of the weights' sum without its powers of two."""
    divisor = 1
    for factor in factors:
        while factor % 2 == 0:
            factor //= 2
        divisor *= factor
    return divisor


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("factor", [63, 64, 66, 127, 128, 129])
def test_bilinear_factors_on_both_sides_of_16_bits(path: str, factor: int) -> None:
    graph = graph_of(
        [
            Input("x", (), (2, 3, 5), UNSIGNED),
            UpsampleBilinear2D("rows", ("x",), (factor, 2)),
            UpsampleBilinear2D("columns", ("x",), (2, factor)),
        ],
        "rows",
        "columns",
    )
    x = np.random.default_rng(factor).choice([0, 255], (2, 2, 3, 5))
    assert_equal_everywhere(graph, {"x": x}, path)


@pytest.mark.parametrize("path", PATHS)
def test_an_upsampling_beside_another_tensor(path: str) -> None:
    """Made in the place of a concatenation, its pixels do not lie side by side."""
    graph = graph_of(
        [
            Input("x", (), (3, 4, 5), UNSIGNED),
            Input("y", (), (6, 8, 7), UNSIGNED),
            UpsampleBilinear2D("sums", ("x",), (2, 2)),
            Requantize("wide", ("sums",), UNSIGNED, 8),
            UpsampleNearest2D("near", ("x",), (2, 2)),
            Concatenate("z", ("wide", "y", "near"), (0, 0, 0)),
        ],
        "z",
    )
    random = np.random.default_rng(2)
    x, y = (random.integers(0, 256, (2, *graph.tensors[name].shape)) for name in "xy")
    assert_equal_everywhere(graph, {"x": x, "y": y}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [SIGNED, UNSIGNED, FixedPoint(12, 4)])
@pytest.mark.parametrize("channels", [*CHANNELS, 300])
def test_the_greatest_channel_is_the_first_of_equal_ones(
    path: str, given: FixedPoint, channels: int
) -> None:
    random = np.random.default_rng(channels)
    graph = graph_of(
        [
            Input("x", (), (4, 5, channels), given),
            TopKIndices("index", ("x",), 1),
            TopKValues("value", ("x",), 1),
        ],
        "index",
        "value",
    )
    x = random.integers(given.minimum, given.maximum, (3, 4, 5, channels), endpoint=True)
    x[0] = random.integers(-1, 1, x[0].shape) - given.minimum // 2 * given.signed  # many ties
    x[1] = given.minimum
    x[0] = np.clip(x[0], given.minimum, given.maximum)
    assert_equal_everywhere(graph, {"x": x}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [1, 2, 8, 16, 20, 21])
@pytest.mark.parametrize("given", [SIGNED, UNSIGNED])
def test_every_tie_of_a_softmax_is_rounded_to_even(
    path: str, width: int, given: FixedPoint
) -> None:
    """Small whole numbers as exponentials make quotients of which many are ties."""
    random = np.random.default_rng(width)
    for table in (
        np.arange(16, -1, -1),
        np.array([1, 0]),
        np.array([3, 2, 1, 1, 0]),
        np.array([(1 << 31) // 7, 12345, 1, 0]),  # sums just within 32 bits
        np.array([1 << 31, 1 << 30, 0]),  # and beyond
    ):
        graph = graph_of(
            [
                Input("x", (), (16, 16, 7), given),
                Softmax("y", ("x",), table.astype(np.int64), FixedPoint(width, 1, False)),
            ],
            "y",
        )
        x = random.integers(given.minimum, given.minimum + 18, (2, 16, 16, 7))
        assert_equal_everywhere(graph, {"x": x}, path)


def test_the_kernels_are_many_times_as_fast_as_portable_code() -> None:
    """So that a condition which keeps a network from its kernel is noticed."""
    import time

    graph = graph_of(
        [
            Input("x", (), (16, 32, 19), SIGNED),
            UpsampleBilinear2D("sums", ("x",), (8, 8)),
            Requantize("wide", ("sums",), SIGNED, 12),
            TopKIndices("class", ("wide",), 1),
        ],
        "class",
    )
    x = np.zeros((1, 16, 32, 19), np.int64)
    seconds = {}
    for path in {PATHS[0], "portable"}:
        engine = FastEngine(graph, 1, path)
        taken = []
        for _ in range(8):
            start = time.thread_time()
            engine.predict({"x": x})
            taken.append(time.thread_time() - start)
        seconds[path] = min(taken)
    assert PATHS[0] == "portable" or seconds["portable"] > 3 * seconds[PATHS[0]]
