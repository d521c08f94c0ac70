"""Comparison of witnesses: what is counted, what is told, and the probable causes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input, MaxPool2D, Requantize
from hwflow.simulate.compare import Tally, compare
from hwflow.simulate.keras_reference import float32_exact, matches, to_raw

TARGET = FixedPoint(5, 2, False)


@pytest.fixture
def graph() -> IntegerGraph:
    rng = np.random.default_rng(0)
    weights = rng.integers(-8, 8, (3, 3, 2, 20))
    conv = Conv2D(
        "conv", ("image",), weights, rng.integers(-9, 9, 20), FixedPoint(4, 1), padding=(1, 1, 1, 1)
    )
    program = [
        Input("image", (), (6, 5, 2), FixedPoint(6, 2)),
        conv,
        Requantize("relu", ("conv",), TARGET, 7),
        MaxPool2D("pool", ("relu",), (2, 2), (2, 2)),
    ]
    return IntegerGraph.build("g", program, ["pool"])


@pytest.fixture
def reference(graph: IntegerGraph) -> dict[str, Any]:
    return graph.evaluate({"image": np.random.default_rng(1).integers(-32, 32, (3, 6, 5, 2))})


def told(graph: IntegerGraph, reference: dict[str, Any], name: str, wrong: Any) -> str:
    tally = Tally()
    compare(tally, "csim", graph, reference, {name: wrong})
    return tally.first["csim"].cause


def test_equal_tensors_are_counted(graph: IntegerGraph, reference: dict[str, Any]) -> None:
    tally = Tally(images=3)
    compare(tally, "csim", graph, reference, {n: reference[n] for n in ("relu", "pool")})
    flat = {"pool": reference["pool"].reshape(3, -1, 20)}
    compare(tally, "keras", graph, reference, flat)
    found = tally.to_json(graph)
    assert found == {
        "status": "exact",
        "images": 3,
        "witnesses": ["integer", "csim", "keras"],
        "values_compared": 3 * (600 + 2 * 120),
        "mismatches": 0,
        "layers": [
            {"name": "relu", "values": 1800, "mismatches": 0},
            {"name": "pool", "values": 720, "mismatches": 0},
        ],
        "values_by_witness": {"csim": 2160, "keras": 360},
        "divergences": [],
    }
    assert Tally().to_json(graph)["status"] == "skipped"


def test_the_first_divergence_is_told_with_both_integers(
    graph: IntegerGraph, reference: dict[str, Any]
) -> None:
    wrong = {name: reference[name].copy() for name in ("relu", "pool")}
    wrong["pool"][0, 0, 0, 0] += 1
    wrong["relu"][1, 2, 3, 4] += 5
    wrong["relu"][2, 0, 0, 0] += 5
    tally = Tally()
    compare(tally, "csim", graph, reference, wrong, first_image=8)
    first = tally.first["csim"]
    expected = int(reference["relu"][1, 2, 3, 4])
    assert (first.layer, first.image, first.pixel, first.channel) == ("relu", 9, (2, 3), 4)
    assert (first.expected, first.got) == (expected, expected + 5)
    assert str(first).startswith(
        f"csim differs first at layer 'relu', image 9, pixel (2, 3), channel 4: {expected + 5}, "
        f"expected {expected}; 2 of 1,800 values of the layer differ. Probable cause: "
    )
    document = tally.to_json(graph)
    assert (document["status"], document["mismatches"]) == ("mismatch", 3)
    assert document["divergences"][0]["pixel"] == [2, 3]
    compare(tally, "csim", graph, reference, wrong, first_image=11)
    assert tally.first["csim"] is first  # the first of all images stays
    assert tally.mismatches == {"relu": 4, "pool": 2}


def test_tensors_may_come_in_any_order(graph: IntegerGraph, reference: dict[str, Any]) -> None:
    """One at a time and the last first: what is told is still the first in the graph's order."""
    wrong = {name: reference[name].copy() for name in ("relu", "pool")}
    wrong["pool"][0, 0, 0, 0] += 1
    wrong["relu"][1, 2, 3, 4] += 5
    tally = Tally()
    for name in ("pool", "relu"):
        compare(tally, "csim", graph, reference, {name: wrong[name]}, first_image=8)
    assert (tally.first["csim"].layer, tally.first["csim"].image) == ("relu", 9)
    together = Tally()
    compare(together, "csim", graph, reference, dict(reversed(wrong.items())), first_image=8)
    assert together.first == tally.first
    for name in ("relu", "pool"):  # of later images nothing is told
        compare(tally, "csim", graph, reference, {name: wrong[name]}, first_image=11)
    assert tally.first == together.first


def test_narrow_references_are_compared_by_value(
    graph: IntegerGraph, reference: dict[str, Any]
) -> None:
    narrow = {name: graph.narrowed(name, values) for name, values in reference.items()}
    assert narrow["relu"].dtype == np.uint8
    tally = Tally()
    compare(tally, "fast", graph, narrow, {"relu": reference["relu"].astype(np.int32)})
    assert tally.mismatches == {"relu": 0}
    wrong = reference["relu"] + 256  # equal in the lowest byte
    compare(tally, "fast", graph, narrow, {"relu": wrong})
    assert tally.mismatches == {"relu": wrong.size}


def test_equality_may_be_given(graph: IntegerGraph, reference: dict[str, Any]) -> None:
    same = np.ones(reference["pool"].shape, bool)
    same[0, 1, 0, 2] = False
    tally = Tally()
    found = {"pool": reference["pool"] + 0.25}
    compare(tally, "keras", graph, reference, found, {"pool": same})
    assert tally.mismatches == {"pool": 1}
    first = tally.first["keras"]
    assert (first.pixel, first.channel) == ((1, 0), 2)
    assert first.cause == "missing quantizer: values between two representable ones"
    assert f"{int(reference['pool'][0, 1, 0, 2]) + 0.25}, expected" in str(first)


@pytest.mark.parametrize("rounding", [mode for mode in Rounding if mode is not Rounding.RND_CONV])
def test_another_rounding_is_recognised(
    graph: IntegerGraph, reference: dict[str, Any], rounding: Rounding
) -> None:
    wrong = replace(TARGET, rounding=rounding).rescale(reference["conv"], 7)
    assert not np.array_equal(wrong, reference["relu"])
    cause = told(graph, reference, "relu", wrong)
    assert cause.startswith("rounding: ")
    named = Rounding(cause.split()[1])
    assert np.array_equal(replace(TARGET, rounding=named).rescale(reference["conv"], 7), wrong)


@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SAT_ZERO])
def test_another_overflow_is_recognised(
    graph: IntegerGraph, reference: dict[str, Any], overflow: Overflow
) -> None:
    wrong = replace(TARGET, overflow=overflow).rescale(reference["conv"], 7)
    expected = f"overflow: {overflow.value} instead of SAT"
    assert told(graph, reference, "relu", wrong) == expected


def test_a_limit_is_part_of_every_cause(graph: IntegerGraph) -> None:
    """ReLU6 in a format that reaches further: with the limit, or for want of it."""
    operations = list(graph.operations[:2])
    relu6 = Requantize("relu6", ("conv",), TARGET, 7, maximum=20)
    made = IntegerGraph.build("limited", [*operations, relu6], ["relu6"])
    values = made.evaluate({"image": np.random.default_rng(1).integers(-32, 32, (3, 6, 5, 2))})
    unlimited = replace(relu6, maximum=None).evaluate(values["conv"])
    assert told(made, values, "relu6", unlimited) == "the maximum of 20 is missing"
    truncated = replace(relu6, format=replace(TARGET, rounding=Rounding.TRN))
    wrong = truncated.evaluate(values["conv"])
    assert wrong.max() == 20
    assert told(made, values, "relu6", wrong).startswith("rounding: TRN")


def test_scales_of_channels_that_are_ignored_are_recognised(graph: IntegerGraph) -> None:
    conv = graph.operations[1]
    shifts = np.arange(20) % 4
    scaled = replace(conv, channel_shifts=shifts)
    program = [graph.operations[0], scaled, replace(graph.operations[2])]
    made = IntegerGraph.build("scaled", program, ["relu"])
    values = made.evaluate({"image": np.random.default_rng(1).integers(-32, 32, (3, 6, 5, 2))})
    plain = graph.evaluate({"image": values["image"]})
    assert told(made, values, "relu", plain["relu"]) == "scales of the channels ignored"


@pytest.mark.parametrize("width", [3, 4, 6])
def test_another_width_is_recognised(
    graph: IntegerGraph, reference: dict[str, Any], width: int
) -> None:
    other = replace(TARGET, width=width, integer_bits=TARGET.integer_bits + width - TARGET.width)
    wrong = other.rescale(reference["conv"], 7)
    assert told(graph, reference, "relu", wrong) == f"wrong width: {width} bits instead of 5"


@pytest.mark.parametrize(("bits", "cause"), [(2, "2 bit(s) too far"), (-1, "1 bit(s) too little")])
def test_a_wrong_shift_is_recognised(
    graph: IntegerGraph, reference: dict[str, Any], bits: int, cause: str
) -> None:
    wrong = TARGET.rescale(reference["conv"], 7 + bits)
    assert told(graph, reference, "relu", wrong) == f"wrong shift: {cause}"


def test_an_overflowing_accumulator_is_recognised(
    graph: IntegerGraph, reference: dict[str, Any]
) -> None:
    width = graph.tensors["conv"].format.width
    narrow = FixedPoint(width - 3, width - 3, overflow=Overflow.WRAP)
    wrong = TARGET.rescale(narrow.overflowed(reference["conv"]), 7)
    cause = told(graph, reference, "relu", wrong)
    assert cause == f"accumulator overflow: {width - 3} bits instead of {width}"


def test_wrong_weights_are_known_by_their_channels(
    graph: IntegerGraph, reference: dict[str, Any]
) -> None:
    wrong = reference["relu"].copy()
    wrong[..., 7] = np.random.default_rng(2).integers(0, 32, wrong.shape[:3])
    assert told(graph, reference, "relu", wrong) == (
        "only channels 7 differ: a wrong weights or bias of these channels"
    )
    pooled = reference["pool"].copy()
    pooled[..., 3] += 2
    assert told(graph, reference, "pool", pooled) == (
        "only channels 3 differ: a wrong wiring of these channels"
    )


def test_wrong_padding_is_known_by_the_border(
    graph: IntegerGraph, reference: dict[str, Any]
) -> None:
    wrong = reference["relu"].copy()
    noise = np.random.default_rng(2).integers(2, 9, wrong.shape)
    inside = np.zeros(wrong.shape, bool)
    inside[:, 1:-1, 1:-1] = True
    wrong = np.where(inside, wrong, wrong + noise)
    assert told(graph, reference, "relu", wrong) == "only the border differs: wrong padding"


def test_other_causes(graph: IntegerGraph, reference: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    shape = reference["relu"].shape
    off = reference["relu"] + rng.integers(-1, 2, shape)
    assert told(graph, reference, "relu", off) == "off by one everywhere: wrong rounding"
    beyond = reference["relu"] + rng.integers(60, 90, shape)
    assert "values beyond the range of ufixed<5,2>" in told(graph, reference, "relu", beyond)
    other = rng.integers(0, 32, shape)
    assert told(graph, reference, "relu", other).startswith("the layer's arithmetic")


# --- what float32 can tell ----------------------------------------------------------------------


def summing(terms: int, bias: int) -> IntegerGraph:
    """A sum of `terms` products of up to 127 * 127, and a bias."""
    weights = np.full((1, 1, terms, 1), 127)
    conv = Conv2D("sum", ("image",), weights, np.array([bias]), FixedPoint(8, 8))
    source = Input("image", (), (1, 1, terms), FixedPoint(8, 8, overflow=Overflow.SAT_SYM))
    return IntegerGraph.build("g", [source, conv], ["sum"])


def test_float32_is_trusted_up_to_its_last_exact_sum_and_no_further() -> None:
    room = 2**24 - 1000 * 127 * 127
    assert float32_exact(summing(1000, room)) == {"image", "sum"}
    assert float32_exact(summing(1000, -room)) == {"image", "sum"}
    assert float32_exact(summing(1000, room + 1)) == {"image"}
    assert float32_exact(summing(1000, -room - 1)) == {"image"}


def test_what_is_not_exact_makes_nothing_exact_after_it() -> None:
    graph = summing(2000, 1)
    after = [*graph.operations, Requantize("out", ("sum",), FixedPoint(4, 4), 0)]
    assert float32_exact(IntegerGraph.build("g", after, ["out"])) == {"image"}


def test_values_match_only_when_they_are_equal() -> None:
    tensor = summing(2, 0).tensors["sum"]
    raw = np.array([0, 5, -7])
    assert matches(np.array([0, 5, -7], np.float32), raw, tensor).tolist() == [True] * 3
    assert matches(np.array([0, 5.0001, -7]), raw, tensor).tolist() == [True, False, True]
    mean = replace(tensor, divisor=9)
    quotients = np.float32([0, 5, -7]) / np.float32(9)
    assert matches(quotients, raw, mean).all()
    assert not matches(np.nextafter(quotients, np.float32(9)), raw, mean).any()
    fine = replace(tensor, format=FixedPoint(8, 3))
    assert to_raw(np.array([0.5, 0.03125, 0.046875]), fine).tolist() == [16, 1, 1.5]
