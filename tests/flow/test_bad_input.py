"""Bad input through the command line: a clear text, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hwflow import keras_models
from hwflow.cli import app
from hwflow.errors import DesignError, ToolError
from hwflow.project import Project
from tests.flow.conftest import TINY, Built, tiny_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a float network, and one of another network's weights."""
    folder = tmp_path_factory.mktemp("network")
    model = tiny_network()
    keras_models.save_keras(model, folder / "tiny.h5")
    np.savez(folder / "weights.npz", **{v.name.split(":")[0]: v.numpy() for v in model.weights})
    return folder


@pytest.fixture
def design(network: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny design with replacements, and files beside it."""
    folder = tmp_path / "design"
    folder.mkdir()
    for path in network.iterdir():
        shutil.copy2(path, folder)

    def write(*changes: tuple[str, str], **files: bytes) -> Path:
        text = TINY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_bytes(content)
        (folder / "tiny.yaml").write_text(text)
        return folder / "tiny.yaml"

    return write


def refused(*words: Any, code: int, texts: tuple[str, ...], published: Path | None = None) -> str:
    """Runs a command that must fail with a code and texts, and no traceback."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    assert "Traceback" not in done.output
    for text in texts:
        assert text in done.output, done.output
    if published is not None:
        assert not published.exists()
    return done.output


WEIGHTS = "network: {file: tiny.h5}\nweights: "
NETWORK = "network: {file: tiny.h5}"
BAD_DESIGNS: dict[str, tuple[list[tuple[str, str]], tuple[str, ...]]] = {
    "a word for a number": (
        [("weights: {width: 5}", "weights: {width: int8}")],
        ("tiny.yaml:6:20", "quantization.weights.width", "'int8'", "Did you mean 8?"),
    ),
    "a list for a section": (
        [("{mean: 0, scale: 0.00784313725490196}", "[1, 2]")],
        ("tiny.yaml:4", "preprocessing"),
    ),
    "an unknown key": (
        [("activations: {width: 6}", "activaitons: {width: 6}")],
        ("tiny.yaml:7:3", "activaitons", "activations"),
    ),
    "an unknown section": ([("verification:", "verifcation:")], ("verifcation", "verification")),
    "several faults": (
        [
            ("weights: {width: 5}", "weights: {width: 0}"),
            ("count: 4", "count: none"),
            ("part: zcu102", "part: 7"),
        ],
        ("quantization.weights.width", "calibration.count", "hardware.part"),
    ),
    "a width of 0": (
        [("weights: {width: 5}", "weights: {width: 0}")],
        ("quantization.weights.width", "from 1 to 32", "0"),
    ),
    "a width of 100": (
        [("activations: {width: 6}", "activations: {width: 100}")],
        ("quantization.activations.width", "100"),
    ),
    "a width that float32 lacks": (
        [("activations: {width: 6}", "activations: {width: 30}")],
        (
            "tiny.yaml:7:24",
            "quantization.activations.width",
            "must be from",
            "'conv_relu'",
            "not 30",
        ),
    ),
    "a weight of one bit": (
        [("weights: {width: 5}", "weights: {width: 1}")],
        ("tiny.yaml:6:20", "must be from 2 to 24 for layer 'conv'"),
    ),
    "an unknown part": (
        [("part: zcu102", "part: xc99zz")],
        ("tiny.yaml:11:9", "hardware.part", "xc99zz"),
    ),
    "a layer that is not there": (
        [("pointwise:", "pointless:")],
        ("tiny.yaml:8", "pointless", "pointwise"),
    ),
    "a reuse factor that no fold has": (
        [("target: {interval_cycles: 400}", "layers: {conv: {reuse_factor: 7}}")],
        (
            "tiny.yaml:12:33 hardware.layers.conv.reuse_factor: 7 is not legal for layer 'conv'",
            "nearest are",
        ),
    ),
    "products that no slice pairs": (
        [
            ("weights: {width: 5}", "weights: {width: 12}"),
            ("target: {interval_cycles: 400}", "multiplier: dsp_pair"),
        ],
        ("tiny.yaml:12:15 hardware.multiplier: must not be 'dsp_pair' for layer 'conv'",),
    ),
    "integer bits that QKeras cannot count": (
        [("activations: {width: 6}", "activations: {width: 6, integer_bits: 31}")],
        ("tiny.yaml:7:41", "quantization.activations.integer_bits", "from 0 to 30"),
    ),
    "integer bits that leave none for the sign": (
        [("weights: {width: 4}", "activations: {integer_bits: 0}")],
        (
            "tiny.yaml:8:52 quantization.layers.pointwise.activations.integer_bits",
            "must be at least 1 for layer 'pointwise'",
        ),
    ),
    "no network": ([(NETWORK, "network: {file: nothing.h5}")], ("tiny.yaml:3:17", "nothing.h5")),
    "no weights": ([(NETWORK, WEIGHTS + "{file: nothing.npz}")], ("nothing.npz",)),
    "no images": (
        [("verification: {source: noise, ", "verification: {images: nowhere, ")],
        ("tiny.yaml:13", "nowhere"),
    ),
    "weights of another network": (
        [
            (
                NETWORK,
                "network: {family: squeezenet, input_shape: [32, 32, 3], classes: 3}\n"
                "weights: {file: weights.npz}",
            )
        ],
        ("weights.npz",),
    ),
    "an input that does not fit": (
        [(NETWORK, "network: {family: squeezenet, input_shape: [8, 8, 3], classes: 3}")],
        ("network",),
    ),
}


@pytest.mark.parametrize("what", BAD_DESIGNS)
def test_a_bad_design(what: str, design: Callable[..., Path], tmp_path: Path) -> None:
    changes, texts = BAD_DESIGNS[what]
    path = design(*changes)
    out = tmp_path / "out"
    refused(
        "build", path, "-o", out, code=DesignError.exit_code, texts=texts, published=out / "tiny"
    )
    found_by_a_build = ("reuse factor", "pairs", "float32", "one bit", "the sign")
    if not any(text in what for text in found_by_a_build):
        refused("check", path, code=DesignError.exit_code, texts=texts)


def truncated(path: Path, size: int) -> bytes:
    content = path.read_bytes()
    assert len(content) > size
    return content[:size]


@pytest.mark.parametrize("size", [0, 100, 5000])
@pytest.mark.parametrize("name", ["tiny.h5", "weights.npz"])
def test_a_truncated_file(
    name: str, size: int, network: Path, design: Callable[..., Path], tmp_path: Path
) -> None:
    changes = [(NETWORK, WEIGHTS + "{file: weights.npz}")] if name.endswith("npz") else []
    content = truncated(network / name, min(size, (network / name).stat().st_size * 2 // 3))
    path = design(*changes, **{name.replace(".", "__"): content})
    out = tmp_path / "out"
    refused("build", path, "-o", out, code=2, texts=(name,), published=out / "tiny")
    refused("check", path, code=2, texts=(name,))


def array(*shape: int, **options: Any) -> Any:
    return np.zeros(shape, **options)


BAD_IMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "another shape": (lambda p: np.save(p, array(2, 5, 7, 3)), "(2, 5, 7, 3)"),
    "one picture alone": (lambda p: np.save(p, array(6, 7, 3)), "(6, 7, 3)"),
    "no pictures": (lambda p: np.save(p, array(0, 6, 7, 3)), "images.npy"),
    "not finite": (lambda p: np.save(p, np.full((1, 6, 7, 3), np.nan)), "images.npy"),
    "words": (lambda p: np.save(p, np.full((1, 6, 7, 3), "x")), "images.npy"),
    "truncated": (lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), "images.npy"),  # type: ignore[arg-type,return-value]
    "nothing at all": (lambda p: None, "images.npy"),
    "an empty folder": (lambda p: p.mkdir(), "images.npy"),
}


@pytest.mark.parametrize("what", BAD_IMAGES)
def test_bad_images(what: str, tiny: Built, tmp_path: Path) -> None:
    write, text = BAD_IMAGES[what]
    path = tmp_path / "images.npy"
    write(path)
    refused("verify", tiny.project, "--images", path, code=2, texts=(text,))


BAD_PROJECTS: dict[str, tuple[str, int | None, str]] = {
    "no metrics": ("metrics.json", None, "metrics.json"),
    "half a design": ("design.json", 20, "design.json"),
    "half a graph": ("integer_graph.json", 200, "integer_graph.json"),
    "half the arrays": ("integer_graph.npz", 200, "integer_graph"),
    "half a plan": ("plan.json", 200, "plan.json"),
    "an empty plan": ("plan.json", 0, "plan.json"),
    "half a model": ("model/quantized.h5", 3000, "quantized.h5"),
    "no model": ("model/quantized.h5", None, "quantized.h5"),
}


@pytest.mark.parametrize("what", BAD_PROJECTS)
def test_a_spoiled_project(what: str, tiny: Built, tmp_path: Path) -> None:
    name, size, text = BAD_PROJECTS[what]
    project = tiny.copied(tmp_path, workspace=False).project
    content = (project / name).read_bytes()
    (project / name).unlink()
    if size is not None:
        (project / name).write_bytes(content[:size])
    refused("verify", project, code=2, texts=(text,))


def test_code_that_does_not_compile(tiny: Built, tmp_path: Path) -> None:
    project = tiny.copied(tmp_path, workspace=False).project
    layer = project / "hls" / "firmware" / "layers" / "pool.cpp"
    layer.write_text("#error this layer is spoiled\n")
    texts = ("compiling layer pool (pool.cpp)", "this layer is spoiled")
    told = refused("verify", project, code=ToolError.exit_code, texts=texts)
    log = Path(told.rpartition("Log: ")[2].strip())
    assert "this layer is spoiled" in log.read_text()
    with pytest.raises(ToolError) as caught:
        Project(project).predict(np.zeros((1, 6, 7, 3)), "csim")
    log = Path(str(caught.value).rpartition("Log: ")[2])
    assert "this layer is spoiled" in log.read_text()


def test_a_program_that_reads_too_much(tiny: Built, tmp_path: Path) -> None:
    project = tiny.copied(tmp_path).project
    layer = project / "hls" / "firmware" / "layers" / "pool.cpp"
    text = layer.read_text()
    assert "int pixels = 6;" in text
    layer.write_text(text.replace("int pixels = 6;", "int pixels = 7;"))
    refused("verify", project, code=ToolError.exit_code, texts=("the C-simulation", "empty"))


# --- the machine --------------------------------------------------------------------------------


def test_no_project_and_no_design(tmp_path: Path) -> None:
    refused("build", tmp_path / "no.yaml", "-o", tmp_path / "out", code=2, texts=("no.yaml",))
    refused("check", tmp_path, code=2, texts=(tmp_path.name,))
    refused("verify", tmp_path / "none", code=2, texts=("must be a project",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compiler", ["", "no-such-compiler", "fails"])
def test_no_compiler(
    compiler: str, tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny.copied(tmp_path / "made")
    before = (made.project / "manifest.json").read_bytes()
    shutil.rmtree(made.workspace / "objects")
    tools = tmp_path / "tools"
    tools.mkdir()
    script = tools / "fails"
    script.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'g++ (GCC) 12.2.0' && exit 0\n"
        "echo 'internal compiler error: out of paint' >&2\nexit 4\n"
    )
    script.chmod(0o755)
    if compiler:
        monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/bin")
        monkeypatch.setenv("CXX", compiler)
    else:
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", str(tools))
    texts = {
        "": ("a C++ compiler, g++ or clang++, must be installed",),
        "no-such-compiler": ("$CXX is 'no-such-compiler', which is not on PATH",),
        "fails": ("compiling", "out of paint"),
    }[compiler]
    words = ("build", made.design, "-o", made.root, "--from", "compile")
    refused(*words, code=ToolError.exit_code, texts=texts)
    refused("verify", made.project, code=ToolError.exit_code, texts=texts)
    assert (made.project / "manifest.json").read_bytes() == before
    assert not list(made.workspace.rglob("*.partial*"))


@pytest.mark.parametrize("victim", ["float.h5", "integer_graph.npz", "plan.json", "done.json"])
def test_a_full_disk(
    victim: str, tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    made = tiny.copied(tmp_path / "made")
    before = (made.project / "manifest.json").read_bytes()
    write_bytes, create = Path.write_bytes, h5py.File.__init__
    full = OSError(28, "No space left on device")

    def write(self: Path, content: bytes) -> int:
        if victim in self.name:
            write_bytes(self, content[:10])
            raise full
        return write_bytes(self, content)

    def make(self: Any, name: Any, *arguments: Any, **options: Any) -> None:
        if str(name).endswith(victim):
            raise full
        create(self, name, *arguments, **options)

    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(h5py.File, "__init__", make)
    words = ("build", made.design, "-o", made.root, "--force")
    texts = ("no space left on the disk while", victim)
    refused(*words, code=ToolError.exit_code, texts=texts)
    assert (made.project / "manifest.json").read_bytes() == before


def test_an_output_that_is_a_file(tiny: Built, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    refused("build", tiny.design, "-o", taken, code=ToolError.exit_code, texts=("taken",))
    assert taken.read_text() == "a file"
