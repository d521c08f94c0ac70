"""A build from the design to the published project: its contract, resumption and determinism."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hwflow
from hwflow import flow
from hwflow.cli import app
from hwflow.errors import DesignError, ToolError
from hwflow.integer_graph import IntegerGraph
from hwflow.progress import SilentProgress
from hwflow.project import Project
from hwflow.simulate import csim
from hwflow.simulate.verify import quantized_input
from hwflow.workspace import check_project, file_digest
from tests.flow.conftest import Built

STEPS = list(flow.STEPS)


class Recorder(SilentProgress):
    """Notes which steps ran and which were reused."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reused: list[str] = []
        self.advanced: list[tuple[int, int, str]] = []

    @contextmanager
    def step(self, name: str, reused: bool = False) -> Iterator[None]:
        (self.reused if reused else self.ran).append(name)
        yield

    def advance(self, done: int, total: int, what: str) -> None:
        self.advanced.append((done, total, what))


def rebuilt(made: Built, **options: Any) -> Recorder:
    recorder = Recorder()
    flow.build(made.design, made.root, progress=recorder, **options)
    return recorder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- the contract for machines ------------------------------------------------------------------


def test_the_small_squeezenet_is_exact(small: Built) -> None:
    metrics = json.loads((small.project / "metrics.json").read_text())
    assert metrics == small.metrics
    required = ["design", "network", "parameters", "macs", "weight_bits", "verification"]
    assert set(required) <= set(metrics)
    assert metrics["design"] == "squeezenet_small"
    assert metrics["parameters"] == 23962
    assert metrics["weight_bits"] > 8 * 23000
    verification = metrics["verification"]
    assert verification["status"] == "exact"
    assert verification["images"] == 4
    assert set(verification["witnesses"]) >= {"integer", "keras", "csim"}
    assert verification["mismatches"] == 0
    assert all(set(layer) == {"name", "values", "mismatches"} for layer in verification["layers"])
    assert verification["values_compared"] == sum(e["values"] for e in verification["layers"])
    assert all(entry["mismatches"] == 0 for entry in verification["layers"])
    assert list(metrics["timings_s"]) == STEPS
    assert all(seconds >= 0 for seconds in metrics["timings_s"].values())


def test_every_tensor_is_compared_by_every_witness_that_has_it(small: Built) -> None:
    verification = small.metrics["verification"]
    graph = IntegerGraph.load(small.project)
    images = verification["images"]
    compared = {entry["name"]: entry["values"] for entry in verification["layers"]}
    assert list(compared) == list(graph.tensors)
    for name, tensor in graph.tensors.items():
        size = images * int(np.prod(tensor.shape))
        assert compared[name] >= size, name
        assert compared[name] % size == 0, name
    everything = images * sum(int(np.prod(t.shape)) for t in graph.tensors.values())
    counted = verification["values_by_witness"]
    keras = counted["keras"] + counted.get("keras_float64", 0)
    assert keras == everything
    # in the hardware sums live inside of a layer; all that leaves one is compared
    streamed = [op.name for op in graph.operations if op.kind in ("requantize", "max_pool2d")]
    assert counted["csim"] >= images * sum(
        int(np.prod(graph.tensors[name].shape)) for name in streamed
    )


def test_the_project_is_whole_and_its_manifest_true(small: Built) -> None:
    assert check_project(small.project) == []
    manifest = json.loads((small.project / "manifest.json").read_text())
    files = contents(small.project)
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    for path, entry in manifest["files"].items():
        assert entry == {"sha256": file_digest(small.project / path), "size": len(files[path])}
    wanted = [
        "metrics.json", "design.json", "plan.json", "model/float.h5", "model/quantized.h5",
        "calibration.json",
        "integer_graph.json", "integer_graph.npz", "verification/inputs.npy",
        "verification/results.json", "verification/tensors.json", "hls/Makefile",
        "hls/build_prj.tcl", "hls/project.tcl", "hls/vivado_synth.tcl", "hls/build_opt.tcl",
        "hls/squeezenet_small_test.cpp", "hls/firmware/squeezenet_small.cpp",
        "hls/firmware/layers/conv1.cpp", "hls/firmware/weights/conv1.h",
        "hls/firmware/kernels/requantize.h", "hls/tb_data/input.dat", "hls/tb_data/output.dat",
        "hls/simulation/ap_types/ap_int.h",
    ]  # fmt: skip
    assert set(wanted) <= set(files)
    assert any(path.startswith("logs/") for path in files)


def test_the_verification_holds_inputs_and_results_of_every_tensor(small: Built) -> None:
    graph = IntegerGraph.load(small.project)
    inputs = np.load(small.project / "verification" / "inputs.npy")
    assert inputs.shape == (4, 32, 32, 3)
    values = graph.evaluate({graph.inputs[0]: inputs})
    told = json.loads((small.project / "verification" / "tensors.json").read_text())
    assert list(told) == list(graph.tensors)
    for name, entry in told.items():
        assert entry["format"] == str(graph.tensors[name].format)
        assert entry["minimum"] == values[name].min()
        assert entry["maximum"] == values[name].max()
        assert len(entry["sha256"]) == 4


@pytest.mark.parametrize("which", ["small", "tiny"])
def test_a_project_names_no_place(which: str, request: pytest.FixtureRequest) -> None:
    made: Built = request.getfixturevalue(which)
    home = Path(hwflow.__file__).parents[1]
    places = [
        str(p).encode()
        for p in (made.root, made.design.parent, home, Path.home(), Path(sys.prefix))
    ]
    places = [place for place in places if len(place) > 5]
    for path, content in contents(made.project).items():
        for place in places:
            assert place not in content, f"{path} names {place.decode()}"


def test_two_builds_in_two_places_give_the_same_bytes(tiny: Built, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for path in tiny.design.parent.glob("tiny.*"):
        if path.is_file():
            shutil.copy2(path, folder)
    other = tmp_path / "other projects"
    shutil.copytree(tiny.workspace / "objects", other / ".tiny" / "objects")  # saves compiling
    result = flow.build(folder / "tiny.yaml", other)
    first, second = contents(tiny.project), contents(result.project)
    assert list(first) == list(second)
    may_differ = {"metrics.json", "manifest.json"}  # they hold the times
    differing = {path for path in first if first[path] != second[path]}
    assert {path for path in differing if not path.startswith("logs/")} <= may_differ
    for name in may_differ:
        documents = [json.loads(files[name]) for files in (first, second)]
        for document in documents:
            document.pop("timings_s", None)
            if "files" in document:
                document["files"] = {
                    path: entry
                    for path, entry in document["files"].items()
                    if path not in may_differ and not path.startswith("logs/")
                }
        assert documents[0] == documents[1]


# --- the emitted project alone ------------------------------------------------------------------


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", folder, "CXXFLAGS=-std=c++14 -O0"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_project_compiles_elsewhere_and_its_testbench_judges(
    tiny: Built, tmp_path: Path
) -> None:
    folder = tmp_path / "carried away"
    shutil.copytree(tiny.project / "hls", folder / "hls")
    hls = folder / "hls"
    done = make(hls)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 images, 0 mismatches" in done.stdout
    golden = hls / "tb_data" / "output.dat"
    values = golden.read_text().splitlines()
    right = values[5]
    values[5] = str(int(right) + 1)
    golden.write_text("\n".join(values) + "\n")
    testbench = hls / "build" / "testbench"
    judged = subprocess.run([testbench], cwd=hls, capture_output=True, text=True, check=False)
    assert judged.returncode == 1
    assert f"output, image 1, value 1: {right}, expected {int(right) + 1}" in judged.stdout
    assert "2 images, 1 mismatches" in judged.stdout
    golden.write_text("\n".join(values[:5]) + "\n")
    judged = subprocess.run([testbench], cwd=hls, capture_output=True, text=True, check=False)
    assert judged.returncode == 1
    assert "end early" in judged.stdout
    golden.unlink()
    judged = subprocess.run([testbench], cwd=hls, capture_output=True, text=True, check=False)
    assert judged.returncode == 1
    assert "output.dat is missing" in judged.stdout


# --- opening ------------------------------------------------------------------------------------


def test_all_witnesses_predict_the_same_integers(small: Built) -> None:
    project = hwflow.open(small.project)
    images = np.random.default_rng(7).random((3, 32, 32, 3)).astype(np.float32)
    expected = project.predict(images)
    assert list(expected.integers) == list(project.graph.outputs)
    for witness in ("keras", "csim"):
        found = project.predict(images, witness=witness)
        for name, values in expected.integers.items():
            assert found.integers[name].dtype == np.int64
            np.testing.assert_array_equal(found.integers[name], values)
            np.testing.assert_array_equal(found.floats[name], expected.floats[name])
    (name,) = project.graph.outputs
    lsb = project.graph.tensors[name].format.lsb
    np.testing.assert_array_equal(expected.floats[name], expected.integers[name] * lsb)


def test_heads_are_built_and_predicted_by_all_witnesses(tiny: Built, tmp_path: Path) -> None:
    shutil.copy2(tiny.design.parent / "tiny.h5", tmp_path)
    shutil.copytree(tiny.workspace / "objects", tmp_path / "out" / ".headed" / "objects")
    design = tmp_path / "headed.yaml"
    text = tiny.design.read_text().replace("name: tiny", "name: headed")
    design.write_text(f"{text}outputs: {{head: top_k, k: 2}}\n")
    result = flow.build(design, tmp_path / "out")
    assert result.metrics["verification"]["status"] == "exact"
    project = hwflow.open(result.project)
    names = ("mean_quantized_top2_indices", "mean_quantized_top2_values")
    assert project.graph.outputs == names
    assert [output["name"] for output in result.metrics["outputs"]] == list(names)
    compared = {layer["name"] for layer in result.metrics["verification"]["layers"]}
    assert {*names, "mean_quantized"} <= compared
    images = np.random.default_rng(3).random((4, 6, 7, 3)).astype(np.float32)
    expected = project.predict(images).integers
    for witness in ("keras", "fast", "csim"):
        for name, values in project.predict(images, witness=witness).integers.items():
            np.testing.assert_array_equal(values, expected[name], err_msg=f"{witness} {name}")
    logits = project.graph.evaluate(
        {project.graph.inputs[0]: quantized_input(project.graph, images)}
    )["mean_quantized"]
    for pixel, indices, values in zip(logits, *expected.values(), strict=True):
        order = sorted(range(4), key=lambda c: (-pixel[0, 0, c], c))[:2]
        assert indices.ravel().tolist() == order
        assert values.ravel().tolist() == [pixel[0, 0, c] for c in order]


def test_an_opened_project_refuses_what_it_cannot_do(small: Built, tmp_path: Path) -> None:
    project = hwflow.open(small.project)
    with pytest.raises(DesignError, match=r"witness must be one of .*, not 'x'"):
        project.predict(np.zeros((1, 32, 32, 3)), witness="x")
    with pytest.raises(DesignError, match=r"shape \(N, 32, 32, 3\), not \(1, 8, 8, 3\)"):
        project.predict(np.zeros((1, 8, 8, 3)))
    with pytest.raises(DesignError, match="finite"):
        project.predict(np.full((1, 32, 32, 3), np.nan))
    with pytest.raises(DesignError, match="must be a project that `hwflow build` made"):
        hwflow.open(tmp_path)


def test_the_small_squeezenet_is_the_same_with_either_types(small: Built, tmp_path: Path) -> None:
    assert small.metrics["simulation"]["ap_types"] == "fast"
    assert "fast ap_types" in (small.project / "logs" / "compile.txt").read_text()
    project = Project(small.project)
    raw = np.load(small.project / "verification" / "inputs.npy")[:2].astype(np.int64)
    found = []
    for ap_types, together in (("fast", False), ("reference", True)):
        simulator = csim.compile_project(
            small.project / "hls",
            project.streams,
            small.workspace / "objects" if ap_types == "fast" else tmp_path / "objects",
            tmp_path / "compile.txt",
            ap_types=ap_types,
            together=together,
        )
        assert (simulator.compiled == 0) == (ap_types == "fast")
        log = tmp_path / "run.txt"
        found.append(
            csim.simulate(simulator, {project.graph.inputs[0]: raw}, tmp_path / "run", log)
        )
    fast, reference = found
    assert len(fast) > 30
    assert fast.keys() == reference.keys()
    for name, values in fast.items():
        np.testing.assert_array_equal(values, reference[name], err_msg=name)


def test_either_types_are_chosen_by_an_option_or_by_the_design(tiny: Built, tmp_path: Path) -> None:
    words = ["verify", str(tiny.project), "--count", "1", "--ap-types"]
    done = CliRunner().invoke(app, [*words, "reference"])
    assert done.exit_code == 0, done.stderr
    done = CliRunner().invoke(app, [*words, "quick"])
    assert done.exit_code == 2
    assert "--ap-types must be one of reference, fast, not 'quick'" in done.stderr
    made = tiny.copied(tmp_path)
    made.design.write_text(made.design.read_text() + "simulation: {ap_types: reference}\n")
    recorder = rebuilt(made)
    assert recorder.ran == ["compile", "verify"]
    metrics = json.loads((made.project / "metrics.json").read_text())
    assert metrics["simulation"]["ap_types"] == "reference"
    assert metrics["verification"]["status"] == "exact"
    assert rebuilt(made, ap_types="fast").ran == ["compile", "verify"]
    assert rebuilt(made, ap_types="fast").ran == []


def test_verify_takes_other_images(tiny: Built, tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(0.5, 0.8, (5, 6, 7, 3)).astype(np.float32)
    images[0], images[1] = -1e4, 1e4  # saturation
    np.save(tmp_path / "images.npy", images)
    for words, count in ((["--images", str(tmp_path / "images.npy")], 5), (["--count", "2"], 2)):
        done = CliRunner().invoke(app, ["verify", str(tiny.project), "--json", *words])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)["verification"]
        assert (found["status"], found["images"], found["mismatches"]) == ("exact", count, 0)
        assert "csim" in found["witnesses"]


# --- resumption ---------------------------------------------------------------------------------

UNCHANGED = """
import sys
from pathlib import Path
from hwflow import flow
flow.build(Path(sys.argv[1]), Path(sys.argv[2]))
print([name for name in ("tensorflow", "keras", "hls4ml") if name in sys.modules])
"""


def test_an_unchanged_design_reuses_every_step_without_tensorflow(
    small: Built, tmp_path: Path
) -> None:
    metrics = contents(small.project)
    done = subprocess.run(
        [sys.executable, "-c", UNCHANGED, small.design, small.root],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert contents(small.project) == metrics
    recorder = rebuilt(small)
    assert recorder.reused == STEPS
    assert recorder.ran == []


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("interval_cycles: 400", "interval_cycles: 6000", "plan"),
        ("{source: noise, seed: 2, count: 3}", "{source: noise, seed: 3, count: 3}", "hls"),
        ("mean: 0", "mean: 1", "quantize"),
    ],
)
def test_a_change_reruns_what_depends_on_it(
    tiny: Built, tmp_path: Path, old: str, new: str, first: str
) -> None:
    made = tiny.copied(tmp_path)
    text = made.design.read_text()
    assert old in text
    made.design.write_text(text.replace(old, new))
    recorder = rebuilt(made)
    index = STEPS.index(first)
    assert recorder.reused == STEPS[:index]
    assert recorder.ran == STEPS[index:]
    assert check_project(made.project) == []


def test_steps_can_be_chosen(tiny: Built, tmp_path: Path) -> None:
    made = tiny.copied(tmp_path)
    published = contents(made.project)
    recorder = rebuilt(made, start="compile", stop="compile")
    assert (recorder.reused, recorder.ran) == (STEPS[:5], ["compile"])
    assert contents(made.project) == published
    recorder = rebuilt(made, start="verify")
    assert (recorder.reused, recorder.ran) == (STEPS[:6], ["verify"])
    assert (3, 3, "images") in recorder.advanced
    recorder = rebuilt(made, force=True, stop="lower")
    assert (recorder.reused, recorder.ran) == ([], STEPS[:3])
    result = flow.build(made.design, made.root, stop="network")
    assert result.metrics["verification"] == {"status": "skipped"}
    assert list(result.metrics["timings_s"]) == ["network"]


def test_what_a_step_made_and_somebody_changed_is_made_again(tiny: Built, tmp_path: Path) -> None:
    made = tiny.copied(tmp_path)
    step = made.workspace / "04-hls" / "outputs" / "hls" / "firmware" / "tiny.cpp"
    step.write_text(step.read_text() + "// spoiled\n")
    recorder = rebuilt(made)
    assert recorder.ran[0] == "hls"
    assert "spoiled" not in (made.project / "hls" / "firmware" / "tiny.cpp").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["lower", "hls", "verify"])
def test_an_interrupted_build_leaves_the_previous_project(
    tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Any
) -> None:
    made = tiny.copied(tmp_path)
    published = contents(made.project)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        raise error

    name = {
        "lower": "hwflow.flow.write",
        "hls": "hwflow.simulate.verify.quantized_input",
        "verify": "hwflow.simulate.verify.require_exact",
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(name, interrupted)
        with pytest.raises((KeyboardInterrupt, OSError)):
            flow.build(made.design, made.root, start=step)
    assert contents(made.project) == published
    recorder = rebuilt(made)  # what comes after is made again only if the step made another thing
    assert recorder.ran == [step]
    assert recorder.reused == [name for name in STEPS if name != step]
    assert check_project(made.project) == []


def test_an_interrupted_comparison_leaves_no_tensors(
    tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand on the disk while witnesses are compared, in the step's folder or beside it."""
    made = tiny.copied(tmp_path)
    seen: list[int] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        seen.append(len(list(made.workspace.rglob("integer/*.npy"))))
        raise KeyboardInterrupt

    before = {path.name for path in made.workspace.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("hwflow.simulate.verify.recorded", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flow.build(made.design, made.root, start="verify")
        with pytest.raises(KeyboardInterrupt):
            flow.verify(made.project)
    assert seen == [len(Project(made.project).graph.tensors)] * 2
    assert not list(made.workspace.rglob("integer/*.npy"))
    assert {path.name for path in made.workspace.iterdir()} == before
    assert rebuilt(made).ran == ["verify"]
    assert flow.verify(made.project)["status"] == "exact"


def test_a_full_disk_leaves_the_previous_project(
    tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny.copied(tmp_path)
    published = contents(made.project)
    text = made.design.read_text().replace("seed: 2, count: 3", "seed: 3, count: 1")
    made.design.write_text(text)
    real = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.name in ("metrics.json", "tensors.json"):
            real(self, content[: len(content) // 2])
            raise OSError(28, "No space left on device", str(self))
        return real(self, content)

    for _ in range(2):  # while a step writes, then while the project is assembled
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            with pytest.raises(ToolError, match="no space left on the disk while"):
                flow.build(made.design, made.root)
        assert contents(made.project) == published
    rebuilt(made)
    assert json.loads((made.project / "metrics.json").read_text())["verification"]["images"] == 1
    assert not list(made.root.glob("*.tmp"))
    assert sorted(path.name for path in made.root.iterdir()) == [".tiny", "tiny"]


def test_only_one_build_of_a_design_runs_at_a_time(tiny: Built, tmp_path: Path) -> None:
    from hwflow.workspace import Workspace

    made = tiny.copied(tmp_path)
    with (
        Workspace(made.root, made.name),
        pytest.raises(ToolError, match=rf"being built by another process \(pid {os.getpid()}\)"),
    ):
        flow.build(made.design, made.root)
    assert rebuilt(made).ran == []


def test_two_designs_of_the_hardware_differ_where_they_say_so(tiny: Built) -> None:
    text = (tiny.project / "hls" / "project.tcl").read_text()
    assert re.search(r'set part "xczu9eg-\S+"', text)
    assert 'set project_name "tiny"' in text


def test_the_calibration_is_told_on_the_hardware_s_own_numbers(tiny: Built) -> None:
    """Ranges and overflows of the calibration's images on every tensor, as NumPy counts them."""
    from hwflow.pictures import noise

    opened = Project(tiny.project)
    shape = opened.graph.tensors[opened.graph.inputs[0]].shape
    images = noise(shape, 4, 1, opened.preprocessing)
    values = opened.graph.evaluate({opened.graph.inputs[0]: quantized_input(opened.graph, images)})
    found = json.loads((tiny.project / "calibration.json").read_text())
    assert set(found["tensors"]) == set(values)
    for name, tensor in values.items():
        seen = found["tensors"][name]
        assert seen["format"] == str(opened.graph.tensors[name].format)
        assert (seen["count"], seen["minimum"], seen["maximum"]) == (
            tensor.size,
            tensor.min(),
            tensor.max(),
        )
    told = tiny.metrics["calibration"]
    assert told == found["summary"]
    assert told["images"] == 4
    assert set(told["clipped"]) | set(told["unused_bits"]) <= set(values)
    shares = list(told["clipped"].values())
    assert shares == sorted(shares, reverse=True)
    assert all(0 < share <= 1 for share in shares)
