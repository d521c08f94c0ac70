"""The integer graph: proved formats, files that return, and everything that it refuses."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    KINDS,
    Add,
    Concatenate,
    Conv2D,
    Input,
    MaxPool2D,
    Multiply,
    Operation,
    Requantize,
    SumPool2D,
    Table,
)
from tests.support.operation_cases import kinds, program, random_case

BYTE = FixedPoint(8, 2)


def convolution(name: str, source: str, shape: tuple[int, ...], **options: Any) -> Conv2D:
    rng = np.random.default_rng(len(name))
    weights = rng.integers(-8, 8, shape)
    biases = rng.integers(-300, 300, shape[3])
    return Conv2D(name, (source,), weights, biases, FixedPoint(4, 1), **options)


def operations() -> list[Operation]:
    """A program whose tensors have every relation to one another."""
    half = FixedPoint(6, 2, False)
    return [
        Input("image", (), (6, 5, 2), BYTE),
        convolution("conv", "image", (3, 3, 2, 4), padding=(1, 1, 0, 2), product_shift=1),
        Requantize("relu", ("conv",), half, 10, maximum=40),
        MaxPool2D("pool", ("relu",), (3, 3), (2, 2), (1, 1, 0, 0)),
        convolution(
            "depthwise", "pool", (1, 1, 1, 4), groups=4, channel_shifts=np.array([2, 0, 5, 2])
        ),
        Requantize("linear", ("depthwise",), FixedPoint(7, 3, rounding=Rounding.TRN), 7),
        Concatenate("concat", ("pool", "linear"), (0, 0)),
        Add("add", ("concat", "concat"), (0, 0)),
        SumPool2D("sum", ("add",), (3, 2), (3, 2)),
        Requantize("mean", ("sum",), BYTE, 4, 6),
        Table("gate", ("mean",), np.arange(256) % 13, FixedPoint(4, 1, False), True),
        Multiply("gated", ("add", "gate")),
    ]


@pytest.fixture
def graph() -> IntegerGraph:
    return IntegerGraph.build("toy", operations(), ["gated", "linear"])


def test_every_kind_survives_its_files(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    drawn = enumerate(4 * kinds())
    cases = [random_case(random, kind, f"case{index}_") for index, kind in drawn]
    graph = program(cases)
    assert {operation.kind for operation in graph.operations} == set(KINDS)
    files = graph.to_files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    again = IntegerGraph.load(tmp_path)
    assert again.tensors == graph.tensors
    assert again.to_files() == files


def test_formats_shapes_and_divisors_follow_from_the_operations(graph: IntegerGraph) -> None:
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items()}
    assert shapes == {
        "image": (6, 5, 2),
        "conv": (6, 5, 4),
        "relu": (6, 5, 4),
        "pool": (3, 2, 4),
        "depthwise": (3, 2, 4),
        "linear": (3, 2, 4),
        "concat": (3, 2, 8),
        "add": (3, 2, 8),
        "sum": (1, 1, 8),
        "mean": (1, 1, 8),
        "gate": (1, 1, 8),
        "gated": (3, 2, 8),
    }
    fractions = {name: tensor.format.fraction_bits for name, tensor in graph.tensors.items()}
    assert fractions["conv"] == 6 + 3 + 1
    assert fractions["depthwise"] == 4 + 3
    assert fractions["sum"] == 4
    assert fractions["gated"] == 4 + 3
    assert [graph.tensors[name].divisor for name in ("add", "sum", "mean")] == [1, 6, 1]
    assert graph.inputs == ("image",)
    assert graph.operation("pool").inputs == ("relu",)
    assert [op.name for op in graph.consumers("pool")] == ["depthwise", "concat"]
    with pytest.raises(KeyError):
        graph.operation("none")


def test_costs_are_counted(graph: IntegerGraph) -> None:
    assert graph.parameters == (3 * 3 * 2 * 4 + 4) + (4 + 4)
    assert graph.macs == 6 * 5 * (3 * 3 * 2 * 4) + 3 * 2 * 4
    conv, depthwise = graph.operation("conv"), graph.operation("depthwise")
    assert isinstance(conv, Conv2D)
    assert isinstance(depthwise, Conv2D)
    bits = sum(
        op.weights.size * 4
        + 4 * FixedPoint.containing(int(op.biases.min()), int(op.biases.max()), 0).width
        for op in (conv, depthwise)
    )
    assert graph.weight_bits == bits


def test_every_value_stays_in_its_format(graph: IntegerGraph) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(-128, 128, (6, 6, 5, 2))
    images[0], images[1] = -128, 127
    values = graph.evaluate({"image": images})
    assert list(values) == list(graph.tensors)
    for name, tensor in graph.tensors.items():
        assert values[name].shape == (6, *tensor.shape)
        assert tensor.format.minimum <= values[name].min()
        assert values[name].max() <= tensor.format.maximum
        assert (values[name] >= tensor.interval.low).all()
        assert (values[name] <= tensor.interval.high).all()


def test_only_what_is_asked_for_is_kept(graph: IntegerGraph) -> None:
    images = np.zeros((1, 6, 5, 2), np.int64)
    everything = graph.evaluate({"image": images})
    outputs = graph.evaluate({"image": images}, keep=lambda name: False)
    assert set(outputs) == {"gated", "linear"}
    some = graph.evaluate({"image": images}, keep=lambda name: name == "pool")
    assert set(some) == {"gated", "linear", "pool"}
    for found in (outputs, some):
        for name, values in found.items():
            np.testing.assert_array_equal(values, everything[name])


def test_tensors_are_streamed_in_order_and_equal(graph: IntegerGraph) -> None:
    images = np.random.default_rng(1).integers(-128, 128, (3, 6, 5, 2))
    everything = graph.evaluate({"image": images})
    seen = []
    for name, values in graph.stream({"image": images}):
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, everything[name])
        seen.append(name)
    assert seen == list(graph.tensors)


def chain(length: int) -> IntegerGraph:
    """Additions one after another, each requantized, of 64 K values."""
    program: list[Operation] = [Input("tensor0", (), (64, 64, 16), BYTE)]
    for index in range(length):
        program += [
            Add(f"sum{index}", (f"tensor{index}", f"tensor{index}"), (0, 0)),
            Requantize(f"tensor{index + 1}", (f"sum{index}",), BYTE, 6),
        ]
    return IntegerGraph.build("chain", program, [f"tensor{length}"])


def test_streaming_takes_the_memory_of_some_tensors_whatever_their_number() -> None:
    values = np.random.default_rng(0).integers(-128, 128, (1, 64, 64, 16))
    peaks = []
    for length in (3, 60):
        graph = chain(length)
        tracemalloc.start()
        for name, integers in graph.stream({"tensor0": values}):
            assert integers.size == values.size, name
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[0] < 8 * values.nbytes


def test_narrow_integers_hold_every_value_or_refuse(graph: IntegerGraph) -> None:
    for name, values in graph.stream({"image": np.full((1, 6, 5, 2), -128)}):
        narrow = graph.narrowed(name, values)
        assert narrow.dtype.itemsize * 8 < 2 * max(8, graph.tensors[name].format.width)
        np.testing.assert_array_equal(narrow, values)
    with pytest.raises(OverflowError, match=r"relu: a value leaves ufixed<6,2>"):
        graph.narrowed("relu", np.full((1, 6, 5, 4), -1))


# --- files -------------------------------------------------------------------------------------


def write(graph: IntegerGraph, folder: Path) -> Path:
    for name, content in graph.to_files().items():
        (folder / name).write_bytes(content)
    return folder


def test_files_return_and_are_the_same_bytes(graph: IntegerGraph, tmp_path: Path) -> None:
    again = IntegerGraph.build("toy", operations(), ["gated", "linear"])
    assert again.to_files() == graph.to_files()
    loaded = IntegerGraph.load(write(graph, tmp_path))
    assert loaded.to_files() == graph.to_files()
    assert loaded.tensors == graph.tensors
    images = np.random.default_rng(1).integers(-128, 128, (2, 6, 5, 2))
    expected = graph.evaluate({"image": images})
    for name, values in loaded.evaluate({"image": images}).items():
        np.testing.assert_array_equal(values, expected[name])
    for before, after in zip(graph.operations, loaded.operations, strict=True):
        assert type(before) is type(after)
        for attribute, value in vars(before).items():
            np.testing.assert_array_equal(getattr(after, attribute), value)


def test_files_speak_of_dilation_only_where_there_is_some(tmp_path: Path) -> None:
    image = Input("image", (), (6, 5, 2), BYTE)
    dense = convolution("dense", "image", (3, 3, 2, 4))
    wide = convolution("wide", "image", (2, 3, 2, 4), dilation=(3, 2))
    graph = IntegerGraph.build("toy", [image, dense, wide], ["dense", "wide"])
    assert graph.tensors["wide"].shape == (3, 1, 4)
    written = json.loads(graph.to_files()["integer_graph.json"])["operations"]
    assert "dilation" not in written[1]["attributes"]
    assert written[2]["attributes"]["dilation"] == [3, 2]
    loaded = IntegerGraph.load(write(graph, tmp_path))
    assert [getattr(op, "dilation", None) for op in loaded.operations] == [None, (1, 1), (3, 2)]


def test_the_archive_has_no_time_and_is_narrow(graph: IntegerGraph) -> None:
    content = graph.to_files()["integer_graph.npz"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(io.BytesIO(content)) as arrays:
        assert arrays["conv/weights"].dtype == np.int8
        assert arrays["conv/biases"].dtype == np.int16


Damage = Callable[[Path], None]


def edited(change: Callable[[dict[str, Any]], None]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "integer_graph.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return damage


def cut(name: str, size: int) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])  # type: ignore[return-value]


def flipped(folder: Path) -> None:
    path = folder / "integer_graph.npz"
    content = bytearray(path.read_bytes())
    for place in range(60, 120):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def attribute(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["operations"][2]["attributes"].update({name: value})


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no document": (lambda f: (f / "integer_graph.json").unlink(), "No such file"),
    "no arrays": (lambda f: (f / "integer_graph.npz").unlink(), "No such file"),
    "not JSON": (cut("integer_graph.json", 100), ""),
    "half the arrays": (cut("integer_graph.npz", 300), ""),
    "empty arrays": (cut("integer_graph.npz", 0), ""),
    "wrong bytes": (flipped, ""),
    "a list": (lambda f: (f / "integer_graph.json").write_text("[]") and None, "not an integer"),
    "another format": (edited(lambda d: d.update(format="x")), "not an integer graph"),
    "another version": (edited(lambda d: d.update(version=99)), "version 99, expected 1"),
    "no operations": (edited(lambda d: d.pop("operations")), "operations"),
    "operations of no kind": (edited(lambda d: d.update(operations=7)), ""),
    "an unknown kind": (edited(lambda d: d["operations"][1].update(kind="fft")), "kind 'fft'"),
    "an unknown attribute": (edited(attribute("colour", 1)), "colour"),
    "an impossible width": (
        edited(attribute("format", {"width": 99, "integer_bits": 1})),
        "width must be from 1 to 64",
    ),
    "a format of no kind": (edited(attribute("format", 3)), ""),
    "no way from tap to tap": (
        edited(lambda d: d["operations"][1]["attributes"].update(dilation=[1, 0])),
        "dilation must be positive, not (1, 0)",
    ),
    "an array that is not there": (
        edited(lambda d: d["operations"][1]["attributes"].update(weights={"array": "x"})),
        "x",
    ),
    "a claim that is not proved": (
        edited(lambda d: d["tensors"]["conv"]["format"].update(width=9)),
        "'conv' has another format",
    ),
    "a missing tensor": (edited(lambda d: d["tensors"].pop("conv")), "conv"),
    "an output of nowhere": (edited(lambda d: d.update(outputs=["x"])), "output 'x'"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_files_are_refused_by_name(graph: IntegerGraph, tmp_path: Path, what: str) -> None:
    damage, message = DAMAGES[what]
    damage(write(graph, tmp_path))
    with pytest.raises(DesignError) as caught:
        IntegerGraph.load(tmp_path)
    assert message in str(caught.value)
    assert "integer_graph.json" in str(caught.value)


# --- faults ------------------------------------------------------------------------------------

IMAGE = Input("image", (), (4, 4, 2), BYTE)


@pytest.mark.parametrize(
    ("added", "outputs", "message"),
    [
        ([IMAGE], ["image"], "two operations are named 'image'"),
        ([MaxPool2D("p", ("no",), (2, 2), (2, 2))], ["p"], "p: reads 'no', which no earlier"),
        ([], ["nothing"], "output 'nothing' is not made by any operation"),
        ([convolution("c", "image", (1, 1, 3, 1))], ["c"], "c: .* do not fit 2 input channels"),
        ([convolution("c", "image", (5, 1, 2, 1))], ["c"], "a window of 5 does not fit in 4"),
        ([Requantize("r", ("image",), BYTE, 3)], ["r"], "r: its fraction bits and divisor"),
        ([Requantize("r", ("image",), BYTE, 6, 2)], ["r"], "r: its fraction bits and divisor"),
        (
            [
                Requantize("r", ("image",), FixedPoint(8, 4), 6),
                Add("a", ("image", "r"), (0, 0)),
            ],
            ["a"],
            r"a: shifts \(0, 0\) do not align its inputs",
        ),
        (
            [SumPool2D("s", ("image",), (2, 2), (2, 2)), MaxPool2D("p", ("s",), (1, 1), (1, 1))],
            ["p"],
            "p: a sum of average pooling must be requantized first",
        ),
        (
            [Table("t", ("image",), np.zeros(128, int), BYTE, True)],
            ["t"],
            "t: its table is not one of every value of fixed<8,2>",
        ),
        (
            [Table("t", ("image",), np.zeros(256, int), BYTE, False)],
            ["t"],
            "t: its table is not one of every value of fixed<8,2>",
        ),
        (
            [Add("a", ("image", "image"), (27, 27)), Multiply("m", ("a", "a"))],
            ["m"],
            "m: its values need 72 bits, more than 64",
        ),
        (
            [Add("a", ("image", "image"), (57, 57))],
            ["a"],
            "a: its values need 66 bits, more than 64",
        ),
    ],
)
def test_faults_of_a_program(added: list[Operation], outputs: list[str], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        IntegerGraph.build("g", [IMAGE, *added], outputs)


@pytest.mark.parametrize("power", [25, 29, 30, 31, 40, 60])
def test_accumulators_beyond_64_bits_are_refused_and_never_wrap(power: int) -> None:
    source = FixedPoint(32, 32)
    weights = np.full((1, 1, 4, 1), 2**power)
    conv = Conv2D("c", ("image",), weights, np.zeros(1, np.int64), FixedPoint(62, 62))
    program = [Input("image", (), (1, 1, 4), source), conv]
    if 31 + power + 2 < 63:
        graph = IntegerGraph.build("g", program, ["c"])
        assert graph.tensors["c"].format.width == 31 + power + 2 + 1
        return
    with pytest.raises(DesignError, match=r"c: its values need \d+ bits, more than 64"):
        IntegerGraph.build("g", program, ["c"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "input 'image' is missing"),
        ({"image": np.zeros((1, 4, 4, 2))}, "must be raw integers, not float64"),
        ({"image": np.zeros((4, 4, 2), int)}, r"must have shape \(N, 4, 4, 2\), not \(4, 4, 2\)"),
        ({"image": np.zeros((1, 4, 4, 3), int)}, "must have shape"),
        ({"image": np.full((1, 4, 4, 2), 128)}, "leaves its range of -128 to 127"),
        ({"image": np.full((1, 4, 4, 2), -129)}, "leaves its range of -128 to 127"),
    ],
)
def test_faults_of_an_input(given: dict[str, Any], message: str) -> None:
    graph = IntegerGraph.build("g", [IMAGE], ["image"])
    with pytest.raises(DesignError, match=message):
        graph.evaluate(given)


def test_operations_that_wrap_can_reach_their_whole_range() -> None:
    wraps = FixedPoint(3, 3, overflow=Overflow.WRAP)
    graph = IntegerGraph.build("g", [IMAGE, Requantize("r", ("image",), wraps, 6)], ["r"])
    interval = graph.tensors["r"].interval
    assert interval.low.tolist() == [-4, -4]
    assert interval.high.tolist() == [3, 3]
