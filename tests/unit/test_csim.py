"""C-simulation: what is compiled, what is cached, and what is read back from streams."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError, ToolError
from hwflow.fixed_point import FixedPoint, Overflow
from hwflow.hls import emit, writer
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input, MaxPool2D, Requantize
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.streams import StreamGraph
from hwflow.sections import LayerHardware
from hwflow.simulate import csim


@dataclass(frozen=True)
class Emitted:
    """A project of two layers on the disk."""

    graph: IntegerGraph
    streams: StreamGraph
    folder: Path
    cache: Path

    def compiled(self, folder: Path | None = None, ap_types: str = "fast") -> csim.Simulator:
        project = folder or self.folder
        log = project / "log.txt"
        return csim.compile_project(project, self.streams, self.cache, log, ap_types=ap_types)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    """A signed input, a wide signed sum that leaves as it is, and a narrow pooled branch."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-(2**15), 2**15, (1, 1, 3, 2))
    weights[..., 0] = 2**15 - 1
    conv = Conv2D("wide", ("image",), weights, rng.integers(-9, 9, 2), FixedPoint(16, 4))
    program = [
        Input("image", (), (4, 3, 3), FixedPoint(20, 8)),
        conv,
        Requantize("kept", ("wide",), FixedPoint(36, 16, overflow=Overflow.SAT), 24),
        Requantize("narrow", ("image",), FixedPoint(3, 3), 12),
        MaxPool2D("pool", ("narrow",), (2, 2), (1, 1)),
    ]
    graph = IntegerGraph.build("toy", program, ["kept", "pool"])
    streams = map_graph(graph, Choices(for_layer=lambda name: LayerHardware(None, "auto")))
    texts = {p.name: emit.process_text(p, streams.streams, "vitis") for p in streams.processes}
    settings = writer.ProjectSettings("vitis", "xczu9eg-ffvb1156-2-e", 5.0)
    files = writer.project_files(streams, texts, {}, settings) | writer.ap_type_files()
    root = tmp_path_factory.mktemp("csim")
    for path, text in files.items():
        target = root / "hls" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return Emitted(graph, streams, root / "hls", root / "cache")


@pytest.fixture(scope="module")
def simulator(emitted: Emitted) -> csim.Simulator:
    return emitted.compiled()


def images(count: int) -> Any:
    values = np.random.default_rng(count).integers(-(2**19), 2**19, (count, 4, 3, 3))
    values[0], values[-1] = -(2**19), 2**19 - 1
    return values


@pytest.mark.parametrize("workers", [1, 2, 7, None])
@pytest.mark.parametrize("count", [1, 5])
def test_every_stream_returns_whole_and_in_order(
    emitted: Emitted, simulator: csim.Simulator, tmp_path: Path, workers: int | None, count: int
) -> None:
    inputs = {"image": images(count)}
    told: list[tuple[int, int]] = []
    found = csim.simulate(
        simulator,
        inputs,
        tmp_path / "run",
        tmp_path / "log.txt",
        workers=workers,
        progress=lambda done, total: told.append((done, total)),
    )
    expected = emitted.graph.evaluate(inputs)
    assert set(found) >= {"kept", "narrow", "pool"}
    for name, values in found.items():
        height, width, channels = emitted.graph.tensors[name].shape
        assert values.shape == (count, height * width, channels)
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, expected[name].reshape(values.shape), err_msg=name)
    assert np.abs(found["kept"]).max() > 2**31  # beyond a signed 32-bit word
    assert told[0] == (0, count)
    assert told[-1] == (count, count)
    assert not (tmp_path / "run").exists()


def test_only_the_tensors_that_are_asked_for_return(
    simulator: csim.Simulator, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    found = csim.simulate(simulator, {"image": images(2)}, folder, log, tensors=["pool"])
    assert set(found) == {"pool"}


def test_every_tensor_that_passes_a_stream_has_a_tap(emitted: Emitted) -> None:
    taps = csim.taps(emitted.streams)
    assert set(taps) >= {"kept", "narrow", "pool"}
    assert all(stream.tensor == name for name, stream in taps.items())


def test_only_what_changed_is_compiled(
    emitted: Emitted, simulator: csim.Simulator, tmp_path: Path
) -> None:
    assert simulator.units == len(emitted.streams.layers) + 2
    again = emitted.compiled()
    assert (again.compiled, again.program) == (0, simulator.program)
    copy = shutil.copytree(emitted.folder, tmp_path / "copy")
    assert emitted.compiled(copy).compiled == 0
    unused = copy / "simulation" / "ap_types" / "ap_int.h"
    unused.write_text(unused.read_text() + "// changed\n")
    assert emitted.compiled(copy).compiled == 0
    layer = copy / "firmware" / "layers" / "pool.cpp"
    layer.write_text(layer.read_text() + "// changed\n")
    changed = emitted.compiled(copy)
    assert changed.compiled == 1
    assert changed.program != simulator.program
    header = copy / "firmware" / "weights" / "wide.h"
    header.write_text(header.read_text() + "// changed\n")
    assert emitted.compiled(copy).compiled == 1


def test_code_that_does_not_compile_is_told_with_the_compilers_words(
    emitted: Emitted, tmp_path: Path
) -> None:
    copy = shutil.copytree(emitted.folder, tmp_path / "copy")
    (copy / "firmware" / "layers" / "pool.cpp").write_text("int pool = nothing;\n")
    with pytest.raises(ToolError, match=r"compiling layer pool \(pool\.cpp\)(.|\n)*nothing"):
        emitted.compiled(copy)
    assert not list(emitted.cache.glob("*.partial*"))
    told = (copy / "log.txt").read_text()
    assert "log-pool.txt: 1 error, the first: firmware/layers/pool.cpp:1:12: error:" in told
    assert "nothing" in (copy / "log-pool.txt").read_text()


def test_what_the_compiler_warns_of_is_kept_and_counted(
    emitted: Emitted, simulator: csim.Simulator, tmp_path: Path
) -> None:
    copy = shutil.copytree(emitted.folder, tmp_path / "copy")
    layer = copy / "firmware" / "layers" / "pool.cpp"
    layer.write_text(layer.read_text() + "#warning look here\n#warning and here\n")
    emitted.compiled(copy)
    told = (copy / "log.txt").read_text().splitlines()
    assert told[0].endswith("fast ap_types: 1 of 6 units")
    (line,) = told[1:]
    assert simulator.units == 6
    assert line.startswith("log-pool.txt: 2 warnings, the first: firmware/layers/pool.cpp:")
    assert (copy / "log-pool.txt").read_text().count("#warning") == 4  # each with its line


def test_the_reference_types_simulate_the_same(
    emitted: Emitted, simulator: csim.Simulator, tmp_path: Path
) -> None:
    reference = emitted.compiled(ap_types="reference")
    assert reference.compiled == reference.units
    assert reference.program != simulator.program
    inputs = {"image": images(3)}
    found, expected = (
        csim.simulate(chosen, inputs, tmp_path / "run", tmp_path / "log.txt")
        for chosen in (simulator, reference)
    )
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_a_project_without_the_types_is_told(emitted: Emitted, tmp_path: Path) -> None:
    copy = shutil.copytree(emitted.folder, tmp_path / "copy")
    shutil.rmtree(copy / "simulation" / "fast_types")
    with pytest.raises(DesignError, match=r"must have the fast headers(.|\n)*Build it again"):
        emitted.compiled(copy)


def test_a_stream_read_while_empty_is_an_error(emitted: Emitted, tmp_path: Path) -> None:
    copy = shutil.copytree(emitted.folder, tmp_path / "copy")
    layer = copy / "firmware" / "layers" / "pool.cpp"
    text = layer.read_text()
    assert text.count("taps = 4;") == 1
    layer.write_text(text.replace("taps = 4;", "taps = 5;"))
    simulator = emitted.compiled(copy)
    with pytest.raises(ToolError, match="empty"):
        csim.simulate(simulator, {"image": images(1)}, tmp_path / "run", tmp_path / "log.txt")


def test_elements_that_are_left_are_an_error(emitted: Emitted, tmp_path: Path) -> None:
    copy = shutil.copytree(emitted.folder, tmp_path / "copy")
    layer = copy / "firmware" / "layers" / "pool.cpp"
    text = layer.read_text()
    layer.write_text(text.replace("taps = 4;", "taps = 3;"))
    simulator = emitted.compiled(copy)
    with pytest.raises(ToolError, match="left"):
        csim.simulate(simulator, {"image": images(1)}, tmp_path / "run", tmp_path / "log.txt")
