"""Faults put into a built project on purpose: verification finds each, names it, reproduces it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hwflow import keras_models
from hwflow.cli import app
from hwflow.errors import MismatchError
from hwflow.hls import emit
from hwflow.integer_graph import IntegerGraph
from tests.flow.conftest import Built

MESSAGE = re.compile(
    r"(?P<witness>\w+) differs first at layer '(?P<layer>\w+)', image (?P<image>\d+), pixel "
    r"\((?P<row>\d+), (?P<column>\d+)\), channel (?P<channel>\d+): (?P<got>-?[\d.]+), expected "
    r"(?P<expected>-?\d+); [\d,]+ of [\d,]+ values of the layer differ. "
    r"Probable cause: (?P<cause>[^\n]*?)(\. Reproduce it alone: make -C (?P<folder>\S+))?\n"
)


def replaced(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Replaces the first occurrence of a pattern in a file of the project."""

    def mutate(project: Path) -> None:
        text = (project / path).read_text()
        changed = re.sub(old, new, text, count=1)
        assert changed != text, f"{path} has no {old}"
        (project / path).write_text(changed)

    return mutate


def shifted(layer: str, array: str, difference: int) -> Callable[[Path], None]:
    """Changes the first number of an emitted array."""

    def mutate(project: Path) -> None:
        path = project / "hls" / "firmware" / "weights" / f"{layer}.h"
        text = path.read_text()
        start = text.index("{", text.index(f"{layer}_{array}[") + 1) + 1
        found = re.compile(r"-?\d+").search(text, start)
        assert found is not None
        value = int(found.group())
        value += -difference if value > 0 else difference
        path.write_text(f"{text[: found.start()]}{value}{text[found.end() :]}")

    return mutate


@dataclass(frozen=True)
class Mutation:
    """A fault, and what has to be said of it: the layer, the cause.

    Attributes:
        mutate: changes the project.
        layer: the first that differs, a pattern.
        cause: pattern of the probable cause.
        remade: the reproducer is run too.
    """

    mutate: Callable[[Path], None]
    layer: str
    cause: str
    remade: bool = False


LAYERS = "hls/firmware/layers"
KERNELS = "hls/firmware/kernels"
MUTATIONS = {
    "a weight": Mutation(
        shifted("conv", "weights", 9),
        "conv_relu",
        r"only channels \d differ: a wrong weights or",
        remade=True,
    ),
    "a bias": Mutation(
        shifted("pointwise", "biases", 60), "pointwise_quantized", r"only channels 0 differ: a wron"
    ),
    "the rounding": Mutation(
        replaced(f"{LAYERS}/conv.cpp", "hwflow::RND_CONV", "hwflow::TRN"),
        "conv_relu",
        "rounding: TRN instead of RND_CONV",
        remade=True,
    ),
    "the overflow": Mutation(
        replaced(f"{LAYERS}/conv.cpp", "hwflow::SAT;", "hwflow::WRAP;"),
        "conv_relu",
        "overflow: WRAP instead of SAT",
    ),
    "the width": Mutation(
        replaced(
            f"{LAYERS}/conv.cpp", r"typedef ap_uint<6> output_t;", "typedef ap_uint<5> output_t;"
        ),
        "conv_relu",
        "wrong width: 5 bits instead of 6",
    ),
    "the shift of a mean": Mutation(
        replaced(f"{LAYERS}/mean.cpp", r"int shift = (-?\d+);", r"int shift = \1 + 1;"),
        "mean_quantized",
        r"wrong shift: 1 bit\(s\) too far",
    ),
    "the rounding of every layer": Mutation(
        replaced(
            f"{KERNELS}/requantize.h", r"up = above \|\| \(tie && \(quotient.*?;", "up = above;"
        ),
        "conv_relu|pointwise_quantized",  # the first that meets a tie
        r"rounding: RND_\w+ instead of RND_CONV",  # those that part on ties alone
    ),
    "the padding": Mutation(
        replaced(f"{KERNELS}/sliding_window.h", r"value_t\(CONFIG::pad_value\)", "value_t(9)"),
        "conv_relu",
        "only the border differs: wrong padding",
        remade=True,
    ),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Pictures that saturate, and pictures that do not."""
    values = np.random.default_rng(4).normal(0.7, 0.7, (8, 6, 7, 3))
    values[1] *= 20
    np.save(tmp_path / "images.npy", values.astype(np.float32))
    return tmp_path / "images.npy"


def divergence(project: Path, images: Path) -> re.Match[str]:
    """What `hwflow verify` says of a project that is wrong."""
    done = CliRunner().invoke(app, ["verify", str(project), "--images", str(images)])
    assert done.exit_code == MismatchError.exit_code == 3, done.output
    assert "Traceback" not in done.output
    found = MESSAGE.search(done.output)
    assert found is not None, done.output
    return found


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_fault_in_the_emitted_code_is_found_named_and_reproduced(
    tiny: Built, tmp_path: Path, images: Path, what: str
) -> None:
    mutation = MUTATIONS[what]
    made = tiny.copied(tmp_path / "spoiled")
    mutation.mutate(made.project)
    found = divergence(made.project, images)
    assert found["witness"] == "csim"
    assert re.fullmatch(mutation.layer, found["layer"])
    assert re.search(mutation.cause, found["cause"]), found["cause"]
    assert found["got"] != found["expected"]
    graph = IntegerGraph.load(made.project)
    _, width, channels = graph.tensors[found["layer"]].shape
    place = (int(found["row"]) * width + int(found["column"])) * channels + int(found["channel"])
    expected = expected_value(graph, images, int(found["image"]), found["layer"], place)
    assert int(found["expected"]) == expected
    if not mutation.remade:
        return
    done = subprocess.run(
        ["make", "-C", found["folder"], "CXXFLAGS=-std=c++14 -O0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    told = f"value {place}: {found['got']}, expected {found['expected']}"
    assert told in done.stdout, done.stdout + done.stderr


def expected_value(graph: IntegerGraph, images: Path, image: int, layer: str, place: int) -> int:
    """What the integer graph has there."""
    values = np.load(images)[image : image + 1]
    raw = graph.tensors[graph.inputs[0]].format.quantize(values)
    return int(graph.evaluate({graph.inputs[0]: raw})[layer].ravel()[place])


def test_a_changed_weight_of_the_model_is_found(tiny: Built, tmp_path: Path, images: Path) -> None:
    made = tiny.copied(tmp_path / "spoiled", workspace=False)
    path = made.project / "model" / "quantized.h5"
    model = keras_models.load_keras(path)
    layer = model.get_layer("pointwise")
    kernel, bias = layer.get_weights()
    kernel[0, 0, 2, 1] += 0.5
    layer.set_weights([kernel, bias])
    keras_models.save_keras(model, path)
    found = divergence(made.project, images)
    assert found["witness"] == "keras"
    assert found["layer"] == "pointwise"
    assert "only channels 1 differ: a wrong weights or bias" in found["cause"]
    assert found["folder"] is None  # the hardware is right: there is nothing to reproduce


def test_a_fault_while_building_publishes_nothing(
    tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny.copied(tmp_path)
    before = (made.project / "manifest.json").read_bytes()
    real = emit.packing.bias_rows

    def wrong(biases: Any, pe: int) -> Any:
        return real(biases + (len(biases) == 4) * 40, pe)

    monkeypatch.setattr(emit.packing, "bias_rows", wrong)
    words = ["build", str(made.design), "--output", str(made.root), "--from", "hls", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    report = json.loads(done.stdout)
    assert (report["status"], report["kind"]) == ("error", "MismatchError")
    assert "csim differs first at layer 'conv_relu'" in report["faults"][0]["message"]
    assert (made.project / "manifest.json").read_bytes() == before
    results = json.loads((made.workspace / "06-verify" / "outputs" / "results.json").read_text())
    assert results["status"] == "mismatch"
    (first,) = results["divergences"]
    assert (first["witness"], first["layer"]) == ("csim", "conv_relu")
    wrong_layers = [entry["name"] for entry in results["layers"] if entry["mismatches"]]
    assert wrong_layers[0] == "conv_relu"
    assert results["mismatches"] == sum(entry["mismatches"] for entry in results["layers"])
    assert (made.workspace / "06-verify" / "reproducer" / "Makefile").exists()
