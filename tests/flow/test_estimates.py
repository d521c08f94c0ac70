"""Estimates of a built project, the vendor's results in their place, and rebuilding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hwflow import flow
from hwflow.cli import app
from hwflow.estimate.figures import FIGURES
from hwflow.ingest import ingest
from hwflow.progress import SilentProgress
from tests.flow.conftest import Built

REPORTS = Path(__file__).parents[1] / "reports"


class Notes(SilentProgress):
    """Keeps what a build notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def estimated(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["estimate", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_project_is_estimated_layer_by_layer_with_two_columns(tiny: Built) -> None:
    found = estimated(tiny.project)
    assert (found["status"], found["design"]) == ("done", "tiny")
    planned = tiny.metrics["resources"]
    assert [layer["name"] for layer in found["layers"]] == list(planned["per_layer"])
    for item in (found["whole"], *found["layers"]):
        for name in FIGURES:
            assert item[f"{name}_source"] == "rule"
            assert item[f"{name}_uncertainty"] >= 0.1
        assert item["lut_vivado"] == round(item["lut"] * 0.46)
    for name in ("lut", "ff", "dsp", "bram_18k", "uram"):
        assert found["whole"][name] == planned[name]
        assert sum(layer[name] for layer in found["layers"]) == planned[name]
    assert found["whole"]["latency_cycles"] == tiny.metrics["latency"]["latency_cycles"]
    assert tiny.metrics["estimate"]["whole"] == found["whole"]  # the build says the same
    cycles = {layer["name"]: layer["latency_cycles"] for layer in found["layers"]}
    said = tiny.metrics["latency"]["per_layer"]
    assert cycles == {name: row["latency_cycles"] for name, row in said.items()}
    text = CliRunner().invoke(app, ["estimate", str(tiny.project)]).stdout
    assert "what csynth will say" in text
    assert "what place and route will leave" in text
    assert "no synthesis of them is known here" in text


def test_a_design_is_estimated_without_building_it(tiny: Built, tmp_path: Path) -> None:
    found = estimated(tiny.design, "--output", tmp_path / "projects")
    assert found == estimated(tiny.project)
    assert not (tmp_path / "projects" / "tiny").exists()


def test_results_outlive_an_unchanged_build_and_no_other(tiny: Built, tmp_path: Path) -> None:
    made = tiny.copied(tmp_path)
    before = estimated(made.project)["whole"]
    ingest(made.project, REPORTS / "vitis_hls-2023.2")
    metrics = json.loads((made.project / "metrics.json").read_text())
    assert metrics["estimate"]["whole"]["lut_source"] == "csynth"
    found = estimated(made.project)
    assert (found["whole"]["lut"], found["whole"]["lut_uncertainty"]) == (10234, 0)

    told = Notes()
    again = flow.build(made.design, made.root, progress=told)
    assert again.metrics["resources"] == metrics["resources"]
    assert again.metrics["estimate"] == metrics["estimate"]
    assert json.loads((made.project / "metrics.json").read_text())["vendor"] == metrics["vendor"]
    assert not any("dropped" in note for note in told.notes)
    text = CliRunner().invoke(app, ["build", str(made.design), "-o", str(made.root)]).stdout
    assert "LUT 10,234 (csynth ±0%)" in text
    assert "speed (cosim)" in text

    text = made.design.read_text()
    made.design.write_text(text.replace("interval_cycles: 400", "interval_cycles: 900"))
    told = Notes()
    changed = flow.build(made.design, made.root, progress=told)
    assert "vendor" not in changed.metrics
    assert changed.metrics["resources"]["source"] == "estimate"
    assert any("vendor's figures are dropped" in note for note in told.notes)

    # What was learnt stays: the table beside the projects recalibrates, and says so.
    factor = metrics["recalibration"]["csynth"]["lut"]["factor"]
    assert factor == pytest.approx(10234 / before["lut"], abs=1e-4)
    whole = changed.metrics["estimate"]["whole"]
    assert whole["lut_source"] == "fitted"
    assert whole["lut"] == round(changed.metrics["resources"]["lut"] * factor)
    assert any(f"x {factor:g}" in note for note in changed.metrics["estimate"]["notes"])


@pytest.mark.parametrize("words", [[], ["some.yaml", "--config", "x.csv"]])
def test_one_thing_must_be_given(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["estimate", *words])
    assert done.exit_code == 2
    assert "give either a project or a design, or a table" in done.stdout + done.stderr
