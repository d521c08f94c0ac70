"""The C++ of processes, compared with files that `HWFLOW_UPDATE_GOLDEN=1` writes anew."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import jinja2
import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.hls import arrays, emit, loading, writer
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input, MaxPool2D, Requantize, SumPool2D
from hwflow.plan.folding import Fold
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.streams import Memory, Stream, StreamGraph
from hwflow.sections import LayerHardware

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def streams() -> StreamGraph:
    """A convolution whose constants are counted, a pool, and a mean of six."""
    weights = (np.arange(2 * 2 * 2 * 4) % 15 - 7).reshape(2, 2, 2, 4)
    program = [
        Input("image", (), (4, 5, 2), FixedPoint(4, 2)),
        Conv2D("conv", ("image",), weights, np.array([3, -2, 0, 100]), FixedPoint(4, 1)),
        Requantize("relu", ("conv",), FixedPoint(5, 2, False), 5),
        MaxPool2D("pool", ("relu",), (2, 2), (1, 1)),
        SumPool2D("sum", ("pool",), (2, 3), (2, 3)),
        Requantize("mean", ("sum",), FixedPoint(8, 2, False), 3, 6),
    ]
    graph = IntegerGraph.build("golden", program, ["mean"])
    chosen = {"conv": LayerHardware(8, "auto")}
    auto = LayerHardware(None, "auto")
    return map_graph(
        graph,
        Choices(lambda name: chosen.get(name, auto), explicit=lambda name: name in chosen),
    )


def same_as_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("HWFLOW_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs; see this module's first line"


@pytest.mark.parametrize("backend", ["vitis", "vivado"])
def test_layers_are_as_they_were(streams: StreamGraph, backend: str) -> None:
    texts = {p.name: emit.process_text(p, streams.streams, backend) for p in streams.processes}
    files = writer.layer_files(streams, {"conv": "conv: the one of the tests"}, texts)
    assert sorted(files) == [
        "firmware/layers/conv.cpp",
        "firmware/layers/pool.cpp",
        "firmware/layers/sum.cpp",
        "firmware/weights/conv.h",
    ]
    for path, text in files.items():
        same_as_golden(f"emit/{backend}/{Path(path).name}.txt", text)


def test_the_top_is_as_it_was(streams: StreamGraph) -> None:
    files = writer.shell_files(streams)
    for path in ("firmware/golden.h", "firmware/golden.cpp", "firmware/layers.h"):
        same_as_golden(f"emit/{Path(path).name}.txt", files[path])


def test_the_testbench_is_as_it_was(streams: StreamGraph) -> None:
    inputs = [np.arange(2 * 40).reshape(2, 4, 5, 2) % 16 - 8]
    outputs = [np.arange(2 * 4).reshape(2, 1, 1, 4)]
    files = writer.testbench_files(streams, inputs, outputs)
    assert set(files) == {"golden_test.cpp", "tb_data/input.dat", "tb_data/output.dat"}
    assert files["tb_data/output.dat"] == "".join(f"{value}\n" for value in range(8))
    assert [int(line) for line in files["tb_data/input.dat"].split()] == inputs[0].ravel().tolist()
    same_as_golden("emit/golden_test.cpp.txt", files["golden_test.cpp"])


@pytest.fixture(scope="module")
def loaded() -> StreamGraph:
    """Two convolutions whose weights, of 3 and 8 bits, are loaded."""
    narrow = (np.arange(3 * 6) % 7 - 3).reshape(1, 1, 3, 6)
    wide = (np.arange(2 * 2 * 6 * 4) * 37 % 256 - 128).reshape(2, 2, 6, 4)
    program = [
        Input("image", (), (4, 5, 3), FixedPoint(4, 2)),
        Conv2D("first", ("image",), narrow, np.arange(6), FixedPoint(3, 1)),
        Requantize("relu", ("first",), FixedPoint(5, 2, False), 4),
        Conv2D("second", ("relu",), wide, np.arange(4), FixedPoint(8, 1)),
        Requantize("out", ("second",), FixedPoint(8, 4), 10),
    ]
    layer = LayerHardware(None, "uram")
    folds = {"first": Fold(3, 6), "second": Fold(2, 4)}
    choices = Choices(lambda name: layer, uram_load_port=True, folds=folds)
    return map_graph(IntegerGraph.build("loaded", program, ["out"]), choices)


@pytest.mark.parametrize("backend", ["vitis", "vivado"])
def test_loaded_layers_are_as_they_were(loaded: StreamGraph, backend: str) -> None:
    texts = {p.name: emit.process_text(p, loaded.streams, backend) for p in loaded.processes}
    for path, text in writer.layer_files(loaded, {}, texts).items():
        same_as_golden(f"emit/loaded/{backend}/{Path(path).name}.txt", text)


def test_the_top_with_a_load_port_is_as_it_was(loaded: StreamGraph) -> None:
    files: dict[str, str | bytes] = dict(writer.shell_files(loaded))
    inputs = [np.zeros((2, 4, 5, 3), np.int64)]
    files |= writer.testbench_files(loaded, inputs, [np.zeros((2, 3, 4, 4), np.int64)])
    files |= loading.host_files(loaded)
    for path in (
        *("firmware/loaded.h", "firmware/loaded.cpp", "firmware/layers.h", "loaded_test.cpp"),
        *("simulation/simulate.cpp", "host/weights_file.h", "host/weights.json"),
    ):
        text = files[path]
        assert isinstance(text, str)
        same_as_golden(f"emit/loaded/{Path(path).name}.txt", text)
    content = files["host/weights.bin"]
    assert isinstance(content, bytes)
    words = np.frombuffer(content, "<u8")
    assert len(words) == 1 + 2 * 2 * 3  # a row of 54 bits, and twelve of 64


def test_without_a_load_there_is_no_port(streams: StreamGraph) -> None:
    files = {**writer.shell_files(streams), **loading.host_files(streams)}
    assert not any("load_word" in text or "weights_in" in text for text in files.values())
    assert not any(path.startswith("host/") for path in files)


def test_a_name_that_the_load_port_has_is_refused(loaded: StreamGraph) -> None:
    processes = [
        dataclasses.replace(process, name="weights_in") if process.name == "second" else process
        for process in loaded.processes
    ]
    with pytest.raises(DesignError, match="leads to the C\\+\\+ name weights_in, which the load"):
        writer.shell_files(dataclasses.replace(loaded, processes=tuple(processes)))


def test_a_row_that_is_gathered_in_too_many_registers_is_refused(loaded: StreamGraph) -> None:
    processes = tuple(
        dataclasses.replace(p, multipliers=4095, settings={**p.settings, "weight_width": 9})
        if p.name == "first"
        else p
        for p in loaded.processes
    )
    with pytest.raises(DesignError, match="first, a row that is loaded: an array split into reg"):
        writer.check(dataclasses.replace(loaded, processes=processes))


def test_the_emitted_constants_are_those_of_the_layer(streams: StreamGraph) -> None:
    (process,) = (p for p in streams.processes if p.weights is not None)
    assert process.multipliers == 32 // 8
    text = emit.process_text(process, streams.streams, "vitis").weights
    assert text is not None
    biases = text[text.index("conv_biases") :]
    for value in (3, -2, 0, 100):
        assert str(value) in biases


def test_a_channels_shift_stands_below_its_bias(streams: StreamGraph) -> None:
    (process,) = (p for p in streams.processes if p.weights is not None)
    settings = {**process.settings, "shift_bits": 3}
    shifts = np.array([0, 5, 1, 7])
    scaled = dataclasses.replace(process, settings=settings, channel_shifts=shifts)
    text = emit.process_text(scaled, streams.streams, "vitis")
    assert "static const int shift_bits = 3;" in text.config
    assert text.weights is not None
    rows = text.weights[text.weights.index("conv_biases") :]
    found = [int(number) for number in re.findall(r"-?\d+", rows[rows.index("=") :])]
    assert found == [3 * 8, -2 * 8 + 5, 1, 100 * 8 + 7]


def test_a_bias_and_its_shift_must_fit_in_64_bits() -> None:
    with pytest.raises(DesignError, match="a bias needs more than 60 bits beside its shift"):
        emit.packing.with_shifts(np.array([1 << 59, 0]), np.array([9, 0]), 4)


def test_both_tools_get_only_their_own_pragmas(streams: StreamGraph) -> None:
    for process in streams.processes:
        vitis = emit.process_text(process, streams.streams, "vitis").function
        vivado = emit.process_text(process, streams.streams, "vivado").function
        assert "RESOURCE" not in vitis
        assert "BIND_STORAGE" not in vivado
        assert vitis.count("BIND_STORAGE") == vivado.count("HLS RESOURCE")


@pytest.mark.parametrize("storage", ["bram", "lutram", "uram"])
@pytest.mark.parametrize("rom", [True, False])
def test_every_storage_is_bound(storage: str, rom: bool) -> None:
    memory = Memory("weights", 16, 8, storage)
    vitis = "\n".join(arrays._bound("w", memory, "vitis", rom=rom))
    assert f"impl={storage}" in vitis
    assert f"type={'rom_1p' if rom else 'ram_s2p'}" in vitis
    if (storage, rom) != ("uram", True):  # UltraRAM holds no constants in Vivado HLS
        assert "core=" in "\n".join(arrays._bound("w", memory, "vivado", rom=rom))


def test_templates_have_no_gaps() -> None:
    with pytest.raises(jinja2.UndefinedError, match="title"):
        emit.render("layer.cpp.j2", remarks=[], headers=[], weight_headers=[], processes=[])


def test_a_beat_holds_its_lanes() -> None:
    stream = Stream("s", "t", FixedPoint(7, 2, False), 4, 8, 10)
    assert emit.beat_type(stream) == "hwflow::beat<ap_uint<7>, 4>"
