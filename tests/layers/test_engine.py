"""The engine equals the NumPy reference on every tensor, on every path of this machine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.engine_networks import mobilenet, mobilenet_v2, squeezenet
from hwflow.fixed_point import FixedPoint, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Add,
    Concatenate,
    Conv2D,
    Input,
    MaxPool2D,
    Operation,
    Requantize,
    SumPool2D,
)
from hwflow.simulate.fast import FastEngine
from tests.support.engine_graphs import random_graphs

PATHS = FastEngine.paths()


def assert_equal_everywhere(
    graph: IntegerGraph, inputs: dict[str, np.ndarray], path: str, threads: int = 1
) -> None:
    """All tensors at once (nothing fused), then the outputs alone (everything fused)."""
    expected = graph.evaluate(inputs)
    engine = FastEngine(graph, threads, path)
    everything = engine.predict(inputs, keep=lambda name: True)
    assert everything.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(everything[name], values, err_msg=name)
    sums = {name for op in graph.operations if isinstance(op, Requantize) for name in op.inputs}
    fused = engine.predict(inputs, keep=lambda name: name not in sums)
    for name, values in (fused | engine.predict(inputs)).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=random_graphs(), threads=st.sampled_from([1, 2]))
def test_random_graphs(
    path: str, case: tuple[IntegerGraph, dict[str, np.ndarray]], threads: int
) -> None:
    assert_equal_everywhere(*case, path, threads)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
def test_every_rounding_and_overflow_over_all_values(
    rounding: Rounding, overflow: Overflow, path: str
) -> None:
    """All 2**10 sums of a convolution, into narrower, equal and finer units; and by a divisor."""
    operations: list[Operation] = [Input("x", (), (8, 128, 1), FixedPoint(10, 5))]
    one = np.ones((1, 1, 1, 1), np.int64)
    outputs = []
    for width, fraction_bits, signed in itertools.product((1, 4, 8), (-1, 2, 5, 7), (True, False)):
        kept = FixedPoint(width, width - fraction_bits, signed, rounding, overflow)
        name = f"w{width}f{fraction_bits}{'s' if signed else 'u'}"
        operations += [
            Conv2D(f"{name}_sum", ("x",), one, np.array([0]), FixedPoint(2, 2)),
            Requantize(name, (f"{name}_sum",), kept, 5),
            SumPool2D(f"{name}_pool", ("x",), (1, 3), (1, 1)),
            Requantize(f"{name}_mean", (f"{name}_pool",), kept, 5, 3),
        ]
        outputs += [name, f"{name}_mean"]
    graph = IntegerGraph.build("roundings", operations, outputs)
    x = np.arange(-512, 512).reshape(1, 8, 128, 1)
    assert_equal_everywhere(graph, {"x": x}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("signed", [True, False])
def test_extremes_that_saturate_pairs_of_products(signed: bool, path: str) -> None:
    """Sums of two products leave 16 bits here, which byte instructions that saturate would lose."""
    data = FixedPoint(8, 8, signed)
    weights = np.full((1, 1, 64, 2), -128, np.int64)
    weights[..., 1] = 127
    graph = IntegerGraph.build(
        "extremes",
        [
            Input("x", (), (2, 1, 64), data),
            Conv2D("y", ("x",), weights, np.zeros(2, np.int64), FixedPoint(8, 8)),
        ],
        ["y"],
    )
    x = np.full((1, 2, 1, 64), data.maximum)
    x[:, 1] = data.minimum
    assert_equal_everywhere(graph, {"x": x}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("data_width", "weight_width", "high"),
    [(8, 8, 127), (16, 16, 32767), (32, 31, 2**30 - 1), (17, 8, 127), (8, 20, 2**19 - 1)],
)
def test_accumulators_on_both_sides_of_32_bits(
    data_width: int, weight_width: int, high: int, path: str
) -> None:
    random = np.random.default_rng(data_width)
    for channels, bias in ((1, 0), (2, 2**31 - 2**20), (3, -(2**31))):
        weights = random.integers(-high - 1, high, (1, 1, channels, 5), endpoint=True)
        graph = IntegerGraph.build(
            "wide",
            [
                Input("x", (), (3, 3, channels), FixedPoint(data_width, 4)),
                Conv2D(
                    "y",
                    ("x",),
                    weights,
                    np.array([bias, -bias, 0, bias // 3, 7]),
                    FixedPoint(weight_width, 1),
                ),
                Requantize("z", ("y",), FixedPoint(8, 4), data_width - 4 + weight_width - 1),
            ],
            ["z"],
        )
        limit = 1 << (data_width - 1)
        x = random.integers(-limit, limit, (2, 3, 3, channels))
        x[0] = -limit
        assert_equal_everywhere(graph, {"x": x}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("filters", [1, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130])
def test_every_remainder_of_channels_and_pixels(filters: int, path: str) -> None:
    random = np.random.default_rng(filters)
    kept = FixedPoint(8, 9, signed=False)
    operations: list[Operation] = [Input("x", (), (5, 7, filters), FixedPoint(8, 4))]
    for name, shape, groups in (
        ("dense", (3, 3, filters, filters), 1),
        ("point", (1, 1, filters, filters), 1),
        ("depth", (3, 3, 1, filters), filters),
        ("five", (5, 5, 1, filters), filters),
    ):
        weights = random.integers(-128, 128, shape)
        pad = shape[0] // 2
        for stride in (1, 2):
            operations += [
                Conv2D(
                    f"{name}{stride}_sum",
                    ("x",),
                    weights,
                    random.integers(-999, 999, filters),
                    FixedPoint(8, 4),
                    (stride, stride),
                    (pad, pad, pad, pad),
                    groups,
                ),
                Requantize(f"{name}{stride}", (f"{name}{stride}_sum",), kept, 8),
            ]
    names = [op.name for op in operations if isinstance(op, Requantize)]
    graph = IntegerGraph.build("remainders", operations, names)
    x = random.integers(-128, 128, (2, 5, 7, filters))
    assert_equal_everywhere(graph, {"x": x}, path, threads=2)


@pytest.mark.parametrize("path", PATHS)
def test_concatenations_in_place_and_by_copy(path: str) -> None:
    """Nested, shifted, of other storage, repeated and read by a padded convolution."""
    random = np.random.default_rng(5)
    u8, s8, u4 = FixedPoint(8, 4, signed=False), FixedPoint(8, 4), FixedPoint(4, 4, signed=False)

    def conv(name: str, source: str, channels: int, kept: FixedPoint) -> list[Operation]:
        weights = random.integers(-128, 128, (3, 3, channels, 6))
        return [
            Conv2D(
                f"{name}_sum",
                (source,),
                weights,
                np.zeros(6, np.int64),
                FixedPoint(8, 4),
                padding=(1, 1, 1, 1),
            ),
            Requantize(name, (f"{name}_sum",), kept, 8),
        ]

    operations = [
        Input("x", (), (6, 6, 4), u8),
        *conv("a", "x", 4, u8),
        *conv("b", "x", 4, u8),
        *conv("c", "x", 4, s8),
        *conv("d", "x", 4, u4),
        Concatenate("ab", ("a", "b"), (0, 0)),
        Concatenate("abx", ("ab", "x"), (0, 0)),
        Concatenate("abc", ("ab", "c"), (0, 0)),
        Concatenate("aa", ("a", "a"), (0, 0)),
        Concatenate("ad", ("a", "d"), (0, 4)),
        Add("sum", ("ab", "ab"), (0, 0)),
        MaxPool2D("pool", ("b",), (3, 3), (2, 2), (1, 1, 1, 1)),
        *conv("from_ab", "ab", 12, u8),
        *conv("from_abx", "abx", 16, s8),
        *conv("from_abc", "abc", 18, u8),
        *conv("from_ad", "ad", 12, u8),
        *conv("from_a", "a", 6, u8),
    ]
    outputs = ["from_ab", "from_abx", "from_abc", "from_ad", "from_a", "aa", "sum", "pool"]
    graph = IntegerGraph.build("concatenations", operations, outputs)
    x = random.integers(0, 256, (3, 6, 6, 4))
    assert_equal_everywhere(graph, {"x": x}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("network", [squeezenet, mobilenet, mobilenet_v2])
def test_whole_networks_at_full_size(network: object, path: str) -> None:
    graph = network()  # type: ignore[operator]
    x = np.random.default_rng(7).integers(0, 256, (1, 224, 224, 3))
    expected = _expected(network, graph, x)
    sums = {name for op in graph.operations if isinstance(op, Requantize) for name in op.inputs}
    engine = FastEngine(graph, 2, path)
    results = engine.predict({"x": x}, keep=lambda name: name not in sums)
    results |= engine.predict({"x": x}, keep=sums)
    assert results.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(results[name], values, err_msg=name)
    output = expected[graph.outputs[0]]
    assert len(np.unique(output)) > 10  # the network has neither died nor saturated on the way


_KNOWN: dict[object, dict[str, np.ndarray]] = {}


def _expected(network: object, graph: IntegerGraph, x: np.ndarray) -> dict[str, np.ndarray]:
    if network not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[network] = graph.evaluate({"x": x})
    return _KNOWN[network]
