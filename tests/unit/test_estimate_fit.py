"""The fit: it finds what made the data, and the shipped file is what the data gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwflow.errors import ToolError
from hwflow.estimate import calibration, fit, validate
from hwflow.estimate.coefficients import Coefficients, shipped
from hwflow.estimate.fitting import fit_terms
from tests.support.data import data_path


def test_the_fit_finds_the_weights_that_made_the_data() -> None:
    terms = [{"a": float(i), "b": float((i * 7) % 5), "unused": 0.0} for i in range(1, 30)]
    values = [100 * sample["a"] + 30 * sample["b"] for sample in terms]
    assert fit_terms(terms, values, [1.0] * len(terms)) == {"a": 100.0, "b": 30.0}


def test_the_fit_bears_a_wild_sample_and_no_weight_is_negative() -> None:
    terms = [{"a": float(i), "b": float(30 - i)} for i in range(1, 30)]
    values = [100 * sample["a"] for sample in terms]
    values[3] *= 50
    weights = fit_terms(terms, values, [1.0] * len(terms))
    assert weights["a"] == pytest.approx(100, rel=0.02)
    assert all(weight > 0 for weight in weights.values())


def test_symmetric_error_of_equal_and_opposite_figures() -> None:
    assert validate.smape(0, 0) == 0
    assert validate.smape(0, 7) == 200
    assert validate.smape(3, 1) == validate.smape(1, 3) == 100


def test_the_shipped_coefficients_are_what_the_data_gives() -> None:
    _, measured = calibration.load(data_path("synthesis"))
    assert fit.fit(measured).dumps() == shipped().dumps()


def test_the_tables_name_every_repository_with_convolutions(tmp_path: Path) -> None:
    _, measured = calibration.load(data_path("synthesis"))
    known = [m for m in measured if m.row.function == "conv_2d_cl" and m.row.count("in_w")]
    plain = shipped()
    judged = [
        item
        for item in validate.judge(known, Coefficients(plain.weights, plain.errors, plain.ranges))
        if item.family == "convolution"
    ]
    assert {item.repository for item in judged} == {m.repository for m in known}
    cycles = [
        validate.smape(item.held_out, item.actual)
        for item in judged
        if item.figure == "latency_cycles" and item.repository != "pominiq/DNNonSilicon"
    ]
    assert sum(cycles) / len(cycles) < 10
    lines = validate.table("repository", judged, lambda item: item.repository)
    assert len(lines) == 2 + len({item.repository for item in judged})


def test_missing_data_and_a_foreign_python_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main(["--data", str(tmp_path)]) == 2
    assert "is missing; give the folder" in capsys.readouterr().err
    assert validate.main(["--data", str(tmp_path)]) == 2
    with pytest.raises(ToolError, match="rule4ml could not be run"):
        validate.rule4ml_table([], [], str(tmp_path / "python"))
    with pytest.raises(ToolError, match="No module named"):
        validate.rule4ml_table([], [], sys.executable)


def test_forced_multipliers_are_never_fitted() -> None:
    _, measured = calibration.load(data_path("synthesis"))
    forced = [m for m in measured if m.repository in calibration.FORCED_MULTIPLIERS]
    assert forced
    assert not any(calibration.usable(m, "dsp") for m in forced if "dense" in m.row.function)
