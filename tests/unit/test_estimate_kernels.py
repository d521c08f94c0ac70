"""Estimates of our own kernels: errors, results in their place, recalibration."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwflow.errors import DesignError
from hwflow.estimate.coefficients import Coefficients
from hwflow.estimate.figures import FIGURES, Source
from hwflow.estimate.kernels import (
    KernelEstimates,
    KernelLayer,
    Results,
    estimate_kernels,
)
from hwflow.project_estimate import of_project
from hwflow.recalibration import appended, factors, read_table

KNOWN = Coefficients(
    errors={
        "convolution/vitis_resource/lut": 0.4,
        "convolution/lut": 0.9,
        "convolution/ff": 0.1,
        "pooling/ff": 7.0,
        "convolution/dsp": 0.02,
        "convolution/bram_18k": 0.3,
    },
    after_route={"lut": (0.5, 0.3), "ff": (0.8, 0.2), "dsp": (1.0, 0.0), "bram_18k": (0.75, 0.4)},
)


def figures(*values: int) -> dict[str, int]:
    return dict(zip(FIGURES, values, strict=True))


CONV = KernelLayer("conv", ("sliding_window", "matrix_vector"), figures(1000, 800, 4, 6, 0, 90, 80))
POOL = KernelLayer("pool", ("max_pool",), figures(200, 100, 0, 0, 0, 40, 40))
WHOLE = figures(1300, 1000, 4, 7, 0, 120, 80)


def made(results: Results | None = None, table: tuple[str, ...] = ()) -> KernelEstimates:
    names = ("design", "layer", "stage", "tool", "part", "figure", "estimate", "actual")
    rows = [dict(zip(names, row.split(","), strict=True)) for row in table]
    return estimate_kernels(
        [CONV, POOL], WHOLE, True, results=results, factors=factors(rows), coefficients=KNOWN
    )


def test_errors_are_those_of_layers_of_the_same_rules_doubled_within_bounds() -> None:
    conv = made().layers["conv"].figures
    assert conv["lut"].uncertainty == 0.8  # of the regime, not the whole family, doubled
    assert conv["ff"].uncertainty == 0.6  # never less than where another layer stands in
    assert conv["dsp"].uncertainty == 0.1  # never less than what is counted
    assert conv["bram_18k"].uncertainty == 0.6
    assert made().layers["pool"].figures["ff"].uncertainty == 1.0  # more would say nothing
    assert {figure.source for figure in conv.values()} == {Source.RULE}
    assert made().whole.to_json()["outside_calibration"] == ["own kernels"]


def test_errors_of_layers_add_up_and_cycles_are_of_the_slowest() -> None:
    found = made()
    lut = found.whole.figures["lut"]
    parts = [found.layers[name].figures["lut"].uncertainty for name in ("conv", "pool")]
    assert lut.value == 1300
    assert lut.uncertainty == pytest.approx((1000 * parts[0] + 200 * parts[1]) / 1200, abs=1e-3)
    slowest = found.layers["conv"].figures["latency_cycles"].uncertainty
    assert found.whole.figures["latency_cycles"].uncertainty == slowest


def test_two_columns_and_a_flat_object_for_each_layer() -> None:
    found = made().to_json()
    assert [layer["name"] for layer in found["layers"]] == ["conv", "pool"]
    whole = found["whole"]
    assert (whole["lut"], whole["lut_vivado"], whole["dsp_vivado"]) == (1300, 650, 4)
    assert whole["lut_vivado_uncertainty"] > whole["lut_uncertainty"]
    assert whole["uram_vivado"] == 0
    assert "latency_cycles_vivado" not in whole


def test_results_take_the_place_of_estimates() -> None:
    metrics = {
        "vendor": {
            "figures": {
                "lut": {"value": 700, "source": "vivado", "stage": "routed"},
                "latency_cycles": {"value": 130, "source": "cosim", "stage": "cosim"},
            },
            "reports": [
                {
                    "top": "net",
                    "stage": "csynth",
                    "lut": 1500,
                    "ff": 900,
                    "latency_cycles_max": 140,
                },
                {"top": "conv", "stage": "csynth", "lut": 1, "dsp": 9},
            ],
            "per_layer": {"csynth": {"conv": {"lut": 1111}}, "routed": {"conv": {"lut": 333}}},
        }
    }
    found = made(Results.of_metrics(metrics, "net"))
    lut, after = found.whole.figures["lut"], found.whole.after_route["lut"]
    assert (lut.value, lut.source, lut.uncertainty) == (1500, Source.CSYNTH, 0)
    assert (after.value, after.source, after.uncertainty) == (700, Source.VIVADO, 0)
    ff = found.whole.after_route["ff"]  # from the report, so only the ratio's spread is left
    assert (ff.value, ff.source, ff.uncertainty) == (720, Source.CSYNTH, 0.2)
    assert found.whole.figures["latency_cycles"].value == 130  # measured comes before said
    assert found.whole.figures["dsp"].source is Source.RULE  # of the design there is none
    conv = found.layers["conv"]
    assert (conv.figures["lut"].value, conv.after_route["lut"].value) == (1111, 333)
    assert found.layers["pool"].figures["lut"].source is Source.RULE


def test_earlier_results_recalibrate_and_say_so() -> None:
    rows = [f"a,l{i},csynth,t,p,lut,100,{actual}" for i, actual in enumerate((140, 150, 150, 160))]
    found = made(table=(*rows, "a,,routed,t,p,ff,100,40"))
    lut = found.layers["conv"].figures["lut"]
    assert (lut.value, lut.source, lut.outside) == (1500, Source.FITTED, ())
    assert lut.uncertainty == 0.1  # the quartiles are close
    ff = found.layers["conv"].after_route["ff"]
    assert ff.value == 320
    assert ff.uncertainty == 0.3  # one result says little: half of what it was
    assert found.notes == (
        "lut (csynth) recalibrated: x 1.5, from 4 results of earlier syntheses",
        "ff (vivado) recalibrated: x 0.4, from 1 results of earlier syntheses",
    )
    given = made(Results(csynth={"lut": 1200}), rows and tuple(rows))
    assert given.whole.figures["lut"].value == 1200  # a result is not recalibrated


def test_layers_one_after_the_other_only_bound_the_latency() -> None:
    stage = "csynth_per_layer"
    figures = {
        name: {"value": value, "source": "csynth", "stage": stage}
        for name, value in (("latency_cycles", 999), ("lut", 1500))
    }
    rows = (f"a,,{stage},t,p,latency_cycles,100,999", f"a,,{stage},t,p,lut,100,110")
    found = made(Results.of_metrics({"vendor": {"figures": figures}}, "net"), rows)
    assert found.whole.value("lut") == 1500
    latency = found.whole.figures["latency_cycles"]
    assert (latency.value, latency.source) == (120, Source.RULE)
    assert [note.split()[0] for note in found.notes] == ["lut"]


def test_a_table_grows_by_what_it_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "recalibration.csv"
    names = ("design", "layer", "stage", "tool", "part", "figure", "estimate", "actual")
    entry = dict(zip(names, ("a", "", "csynth", "t", "p", "lut", "1", "2"), strict=True))
    path.write_text(appended(path, [entry]))
    assert appended(path, [entry]) == path.read_text()
    assert read_table(path) == [entry]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no metrics.json: give a design file or a built project"),
        ({"metrics.json": "{"}, "metrics.json: cannot be read"),
        ({"metrics.json": "{}"}, "holds no plan.json"),
        ({"metrics.json": "{}", "plan.json": "{}"}, "is no whole project"),
        ({"metrics.json": "[]", "plan.json": "[]"}, "is no whole project"),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(DesignError, match=message):
        of_project(folder)
