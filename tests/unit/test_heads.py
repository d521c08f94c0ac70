"""Output heads: what they add to a graph, and how near a softmax is to the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Input
from hwflow.quantize.heads import head_faults, softmax, with_heads
from hwflow.sections import Outputs
from hwflow.simulate.fast import FastEngine
from hwflow.simulate.keras_reference import heads_of


def logits_graph(channels: int, source: FixedPoint) -> IntegerGraph:
    program = [Input("x", (), (1, 2, channels), source), Input("z", (), (1, 1, 4), source)]
    return IntegerGraph.build("g", program, ["x", "z"])


def heads(**values: Any) -> Outputs:
    return Outputs.model_validate(values)


def test_each_output_gets_its_head() -> None:
    graph = logits_graph(6, FixedPoint(8, 4))
    section = heads(head="top_k", k=3, layers={"z*": {"head": "argmax"}})
    made = with_heads(graph, [section.for_layer("x_layer"), section.for_layer("z_layer")])
    assert made.outputs == ("x_top3_indices", "x_top3_values", "z_argmax")
    assert [op.name for op in made.operations] == ["x", "z", *made.outputs]
    assert made.tensors["x_top3_indices"].shape == (1, 2, 3)
    values = made.tensors["x_top3_values"].format
    assert (values.width, values.integer_bits, values.signed) == (8, 4, True)
    assert with_heads(graph, [heads().for_layer("x")] * 2).outputs == ("x", "z")


def test_an_output_that_is_there_twice_has_one_head() -> None:
    graph = IntegerGraph.build("g", logits_graph(6, FixedPoint(8, 4)).operations, ["x", "x"])
    made = with_heads(graph, [heads(head="argmax").for_layer("x")] * 2)
    assert made.outputs == ("x_argmax", "x_argmax")
    assert len(made.operations) == 3


def test_more_than_there_are_is_a_fault() -> None:
    faults = head_faults(
        [("a", (10,)), ("b", (2, 2, 3))],
        heads(head="top_k").for_layer,
        lambda path, message: Fault("d.yaml:1:1", path, message),
    )
    assert [str(fault) for fault in faults] == [
        "d.yaml:1:1 outputs.k: must be at most the 3 channels of output 'b', not 5"
    ]


def test_logits_that_are_too_wide_are_refused() -> None:
    graph = logits_graph(3, FixedPoint(25, 4))
    with pytest.raises(DesignError, match="output 'x': a softmax takes logits of at most 24 bits"):
        with_heads(graph, [heads(head="softmax").for_layer("x")] * 2)


@pytest.mark.parametrize("width", [2, 5, 8, 16])
@pytest.mark.parametrize(
    ("channels", "source"),
    [
        (1000, FixedPoint(8, 4)),
        (10, FixedPoint(16, 5)),
        (21, FixedPoint(8, 8)),
        (2, FixedPoint(3, 0)),
    ],
)
def test_a_softmax_is_within_three_quarters_of_a_unit(
    channels: int, source: FixedPoint, width: int
) -> None:
    graph = logits_graph(channels, source)
    operation = softmax("p", "x", graph.tensors["x"], width)
    rng = np.random.default_rng(width)
    raw = rng.integers(source.minimum, source.maximum + 1, (24, 1, 1, channels))
    raw[::3] = np.clip(raw[::3] // 8, source.minimum, source.maximum)
    raw[1] = source.minimum
    reals = np.exp(source.to_float(raw) - source.to_float(raw).max(axis=-1, keepdims=True))
    wanted = reals / reals.sum(axis=-1, keepdims=True) * 2 ** (width - 1)
    worst = np.abs(operation.evaluate(raw) - wanted).max()
    assert worst <= 0.75


def test_all_witnesses_agree_on_heads() -> None:
    source = FixedPoint(8, 3)
    graph = logits_graph(9, source)
    images = np.random.default_rng(0).integers(-20, 20, (3, 1, 2, 9))
    inputs = {"x": images, "z": images[:, :, :1, :4]}
    for choice in (heads(head="top_k", k=4), heads(head="softmax", width=9), heads(head="argmax")):
        made = with_heads(graph, [choice.for_layer("x")] * 2)
        values = made.evaluate(inputs)
        reals = {name: source.to_float(array) for name, array in inputs.items()}
        for dtype in (np.float32, np.float64):
            found = heads_of(made, {name: array.astype(dtype) for name, array in reals.items()})
            assert set(found) == set(made.outputs)
            for name, array in found.items():
                expected = made.tensors[name].format.to_float(values[name])
                np.testing.assert_array_equal(array, expected, err_msg=name)
        for name, array in FastEngine(made).predict(inputs).items():
            np.testing.assert_array_equal(array, values[name], err_msg=name)
