"""A project whose weights are loaded into UltraRAM: built, verified, loaded anew, packed, run."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import hwflow
from hwflow.cli import app
from hwflow.errors import DesignError, MismatchError, ToolError
from hwflow.hls_folder import read_project
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.pack import pack
from hwflow.plan.loading import loads_of
from hwflow.project import Project
from hwflow.workspace import check_project, file_digest
from tests.flow.conftest import TINY, Built, built_tiny

HARDWARE = "  part: u250\n  uram_load_port: true\n  storage: uram\n"


@pytest.fixture(scope="session")
def loaded(shared: Path) -> Built:
    """The network of `tiny` for a U250, the weights of both its layers in UltraRAM."""
    return built_tiny(shared / "loaded", TINY.replace("  part: zcu102\n", HARDWARE))


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", folder, "CXXFLAGS=-std=c++14 -O0"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_exact_and_its_words_are_accounted_for(loaded: Built) -> None:
    metrics = loaded.metrics
    assert metrics["verification"]["status"] == "exact"
    assert metrics["resources"]["uram"] >= 2
    assert metrics["resources"]["per_layer"]["conv"]["uram"] >= 1
    assert check_project(loaded.project) == []
    file = loaded.project / "hls" / "host" / "weights.bin"
    manifest = json.loads((loaded.project / "manifest.json").read_text())
    entry = manifest["files"]["hls/host/weights.bin"]
    assert entry == {"sha256": file_digest(file), "size": file.stat().st_size}
    index = json.loads((file.parent / "weights.json").read_text())
    assert index["sha256"] == entry["sha256"]
    assert 8 * index["words"] == entry["size"]
    assert [layer["layer"] for layer in index["layers"]] == ["conv", "pointwise"]
    assert sum(layer["words"] for layer in index["layers"]) == index["words"]
    assert metrics["latency"]["load_cycles"] == index["words"]
    layer = (loaded.project / "hls/firmware/layers/conv.cpp").read_text()
    assert "impl=uram" in layer
    assert "conv_weights" not in (loaded.project / "hls/firmware/weights/conv.h").read_text()


def test_it_is_verified_and_predicts_like_the_integer_graph(loaded: Built) -> None:
    done = CliRunner().invoke(app, ["verify", str(loaded.project), "--count", "2", "--json"])
    assert done.exit_code == 0, done.output
    project = hwflow.open(loaded.project)
    images = np.random.default_rng(3).normal(0, 1, (5, 6, 7, 3))
    expected = project.predict(images).integers
    found = project.predict(images, witness="csim").integers
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def with_other_weights(graph: IntegerGraph) -> IntegerGraph:
    operations = [
        dataclasses.replace(op, weights=op.weights // 2) if isinstance(op, Conv2D) else op
        for op in graph.operations
    ]
    return IntegerGraph.build(graph.name, operations, graph.outputs)


def test_other_weights_are_loaded_into_the_same_hardware(loaded: Built) -> None:
    project = hwflow.open(loaded.project)
    other = with_other_weights(project.graph)
    words = project.weights_of(other)
    assert project.weights_of(project.graph) == (
        (loaded.project / "hls/host/weights.bin").read_bytes()
    )
    raw = np.load(loaded.project / "verification" / "inputs.npy").astype(np.int64)
    images = project.graph.tensors[project.graph.inputs[0]].format.to_float(raw)
    expected = other.evaluate({project.graph.inputs[0]: raw})
    found = project.predict(images, witness="csim", weights=words).integers
    own = project.predict(images).integers
    for name in project.graph.outputs:
        np.testing.assert_array_equal(found[name], expected[name])
        assert np.any(found[name] != own[name])


def test_weights_that_do_not_fit_the_port_are_refused(loaded: Built, tiny: Built) -> None:
    project = hwflow.open(loaded.project)
    images = np.zeros((1, 6, 7, 3))
    words = (loaded.project / "hls/host/weights.bin").read_bytes()
    for wrong in (words[:-8], words + bytes(8), words[:-1], b""):
        with pytest.raises(ToolError, match=r"must hold \d+ words of 8 bytes, not"):
            project.predict(images, witness="csim", weights=wrong)
    with pytest.raises(DesignError, match=r"weights are loaded by csim, .*, not by fast"):
        project.predict(images, witness="fast", weights=words)
    with pytest.raises(DesignError, match="of a project with a load port"):
        hwflow.open(tiny.project).predict(images, witness="csim", weights=words)
    with pytest.raises(DesignError, match="no weights that are loaded"):
        hwflow.open(tiny.project).weights_of(project.graph)


def test_the_testbench_loads_before_the_first_image(loaded: Built, tmp_path: Path) -> None:
    folder = tmp_path / "hls"
    shutil.copytree(loaded.project / "hls", folder)
    done = make(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 images, 0 mismatches" in done.stdout
    words = (folder / "host" / "weights.bin").read_bytes()
    (folder / "host" / "weights.bin").write_bytes(bytes(len(words)))
    done = make(folder)
    assert done.returncode != 0
    assert "expected" in done.stdout
    (folder / "host" / "weights.bin").write_bytes(words + bytes(3))
    done = make(folder)
    assert re.search(r"must hold \d+ words of 8 bytes, not \d+ and 3 bytes|be read", done.stdout)


def test_words_that_differ_are_found_named_and_reproduced(loaded: Built, tmp_path: Path) -> None:
    """The reproducer of the second layer loads that layer's own words."""
    made = loaded.copied(tmp_path)
    file = made.project / "hls" / "host" / "weights.bin"
    (load,) = (one for one in loads_of(Project(made.project).streams) if one.layer == "pointwise")
    content = bytearray(file.read_bytes())
    content[8 * load.first_word] ^= 7
    file.write_bytes(bytes(content))
    done = CliRunner().invoke(app, ["verify", str(made.project)])
    assert done.exit_code == MismatchError.exit_code == 3, done.output
    assert "pointwise" in done.output
    folder = made.workspace / "reproducer"
    own = (folder / "host" / "weights.bin").read_bytes()
    assert own == bytes(content)[8 * load.first_word :][: 8 * load.words]
    done_make = make(folder)
    assert done_make.returncode != 0
    assert "expected" in done_make.stdout
    sound = (loaded.project / "hls/host/weights.bin").read_bytes()
    own = sound[8 * load.first_word :][: 8 * load.words]
    (folder / "host" / "weights.bin").write_bytes(own)
    done_make = make(folder)
    assert done_make.returncode == 0, done_make.stdout + done_make.stderr


def test_the_packed_project_holds_the_words(loaded: Built, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(loaded.project, tmp_path / "tiny.zip")) as archive:
        names = archive.namelist()
        packed = archive.read("tiny/hls/host/weights.bin")
    assert packed == (loaded.project / "hls/host/weights.bin").read_bytes()
    assert {"tiny/hls/host/weights.json", "tiny/hls/host/weights_file.h"} <= set(names)
    assert "conv" in read_project(loaded.project).functions


def test_the_streams_are_simulated_as_ever(loaded: Built, tiny: Built) -> None:
    done = CliRunner().invoke(app, ["dataflow", str(loaded.project), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["deadlock"] == []


def test_the_port_is_a_matter_of_the_design(loaded: Built, tmp_path: Path) -> None:
    shutil.copy2(loaded.design.parent / "tiny.h5", tmp_path)
    design = tmp_path / "tiny.yaml"
    design.write_text(loaded.design.read_text().replace("  uram_load_port: true\n", ""))
    done = CliRunner().invoke(app, ["build", str(design), "-o", str(tmp_path / "projects")])
    assert done.exit_code == 2
    assert "tiny.yaml:" in done.stderr
    assert "hardware.storage: must be 'auto', 'lut' or 'bram', or come with" in done.stderr
    assert "hardware.uram_load_port: true" in done.stderr


def test_the_planner_tells_of_the_load(loaded: Built) -> None:
    words = ["plan", str(loaded.design), "-o", str(loaded.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert re.search(r"load port: 2 layers, \d+ cycles \(\d+\.\d ms\) at start-up", done.stdout)
    done = CliRunner().invoke(app, [*words, "--no-uram-load-port"])
    assert done.exit_code == 2
    assert "hardware.uram_load_port: true" in done.stderr
