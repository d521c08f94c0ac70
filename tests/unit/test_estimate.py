"""Estimates: known layers, what is not known, and what a change of the layer does."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hwflow.cli import app
from hwflow.estimate.coefficients import Coefficients, shipped
from hwflow.estimate.estimator import estimate_rows
from hwflow.estimate.figures import FIGURES, Estimate, Source
from hwflow.estimate.registry import families
from hwflow.estimate.rows import KNOWN_COLUMNS, parse_rows

TYPES = '"array<fixed<16,6>,{channels}*1>","array<fixed<16,6>,{filters}*1>",'
COLUMNS = (
    "layer_or_model,tool,part,clock_ns,strategy_l,rf_l,in_h,in_w,out_h,out_w,n_chan,n_filt,kh,kw,"
    "n_in,n_out,in_t,out_t,w_t,acc_t"
)

NUMBERS = ["", "1", "3", "64", "1000", "100000", "99999999", "0", "-1", "0.5", "1e400", "nan"]
TYPE_CELLS = ["", "fixed<16,6>", "array<fixed<8,1>,4*1>", "fixed<1024,-2000>", "int<4>", "float"]
CELLS = {
    "layer_or_model": [f"x[{name}]" for family in families() for name in sorted(family.functions)],
    "kind": ["", "layer", "model_1layer", "model", "odd"],
    "strategy": ["", "latency", "resource", "unrolled"],
    "io_type": ["", "io_stream", "io_parallel", "odd"],
    "part": ["", "xc7z020-1"],
    "tool": ["", "Vitis HLS 2024.1", "Vivado HLS 2019.2", "odd"],
    "clock_ns": ["", "0.1", "10000", "soon"],
    **dict.fromkeys(("reuse_factor", "n_in", "n_out", "n_chan", "n_filt"), NUMBERS),
    **dict.fromkeys(("in_h", "in_w", "out_w", "kh", "kw", "n_nonzero_w"), NUMBERS),
    **dict.fromkeys(("in_t", "out_t", "w_t", "acc_t", "b_t"), TYPE_CELLS),
}
"""What rows of every kind of layer are made of, sense and nonsense."""


def estimate(line: str, header: str = COLUMNS) -> Estimate:
    (found,) = estimate_rows(parse_rows(f"{header}\n{line}\n", "t.csv"))
    return found


def convolution(
    reuse_factor: int = 144, filters: int = 64, channels: int = 32, strategy: str = "resource"
) -> Estimate:
    types = TYPES.format(channels=channels, filters=filters)
    return estimate(
        f"c[conv_2d_cl],Vitis HLS 2023.1,xcvu11p-flga2577-1-e,10,{strategy},{reuse_factor},127,31,"
        f'125,29,{channels},{filters},3,3,,,{types}"fixed<16,6>","fixed<16,6>"'
    )


def test_a_published_convolution_is_met() -> None:
    found = convolution()
    assert found.family == "convolution"
    assert found.value("dsp") == 128
    assert found.value("bram_18k") == 57
    assert found.value("uram") == 0
    assert found.value("latency_cycles") == 586614
    assert found.value("initiation_interval_cycles") == 586614
    assert found.value("ff") == 20654
    lut = found.figures["lut"]
    assert lut.source is Source.RULE
    assert lut.value is not None
    assert lut.uncertainty is not None
    assert abs(lut.value - 15057) <= 2 * lut.uncertainty * lut.value


def test_a_published_dense_layer_is_met() -> None:
    found = estimate(
        "d[dense],Vitis HLS 2023.1,xcvu11p-flga2577-1-e,10,resource,128,,,,,,,,,896,8,"
        '"array<fixed<16,6>,32*1>","array<fixed<16,6>,8*1>","fixed<16,6>","fixed<16,6>"'
    )
    values = [found.value(name) for name in ("dsp", "bram_18k", "ff", "latency_cycles")]
    assert values == [56, 25, 43433, 163]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([2, 4, 8, 16, 32, 96]), st.sampled_from([8, 16, 64, 256]))
def test_more_reuse_costs_cycles_and_saves_multipliers(reuse_factor: int, filters: int) -> None:
    fast, slow = convolution(reuse_factor, filters), convolution(reuse_factor * 3, filters)
    assert fast.value("latency_cycles") < slow.value("latency_cycles")  # type: ignore[operator]
    assert fast.value("dsp") >= slow.value("dsp")  # type: ignore[operator]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["resource", "latency"]), st.sampled_from([1, 4, 16]))
def test_a_larger_layer_never_costs_less(strategy: str, reuse_factor: int) -> None:
    small = convolution(reuse_factor, 16, 8, strategy)
    large = convolution(reuse_factor, 32, 16, strategy)
    for name in FIGURES:
        assert large.value(name) >= small.value(name)  # type: ignore[operator]


def test_what_lies_outside_the_data_is_told_and_trusted_less() -> None:
    inside, outside = convolution(), convolution(filters=4096)
    assert inside.figures["lut"].outside == ()
    assert "n_filt" in outside.figures["lut"].outside
    assert outside.to_json()["outside_calibration"] == ["n_filt"]
    assert outside.figures["lut"].uncertainty == pytest.approx(
        2 * inside.figures["lut"].uncertainty, abs=2e-3
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("lstm[lstm_stack]" + "," * 19, "no estimator knows the function 'lstm_stack'"),
        ("x[]" + "," * 19, "no estimator knows a row without a function"),
        ("d[dense]" + "," * 19, "the row gives no n_in and n_out"),
        ("c[conv_2d_cl]" + "," * 19, "only streamed convolutions"),
        ("whole" + "," * 19, "give one row a layer after it"),
    ],
)
def test_what_cannot_be_estimated_is_null_with_a_reason(line: str, reason: str) -> None:
    found = estimate(line).to_json()
    assert reason in found["reason"]
    for name in FIGURES:
        assert found[name] is None
        assert found[f"{name}_uncertainty"] is None
        assert reason in found[f"{name}_reason"]


def test_a_layer_without_calibrated_logic_still_gives_its_cycles() -> None:
    found = estimate(
        'a[add],Vitis HLS 2023.1,xcvu11p,5,,,14,14,14,14,64,64,,,,,"array<fixed<8,3>,64*1>",,,'
    )
    assert found.value("latency_cycles") == 198
    assert found.value("dsp") == 0
    assert found.figures["lut"].reason == "no calibration data for this kind of layer"


def test_a_1x1_convolution_keeps_its_weights_out_of_block_ram() -> None:
    header = COLUMNS + ",impl"
    line = (
        "c[conv_2d_cl],Vitis HLS 2023.1,xcvu11p,5,resource,64,14,14,14,14,64,128,1,1,,,"
        + TYPES.format(channels=64, filters=128)
        + '"fixed<8,1>","fixed<16,6>",conv_implementation::pointwise'
    )
    found = estimate(line, header)
    assert found.family == "pointwise"
    assert found.value("bram_18k") == 0
    assert found.value("latency_cycles") == 14 * 14 * (64 + 5) + 1  # its products are shared
    assert "regime" in found.figures["lut"].outside


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("n_in,n_out", "64,10"),
        ("input_shape,n_out", "4x16,10"),
        ("n_weights,n_out", "640,10"),
        ("n_in,out_t", '64,"array<fixed<16,6>,10*1>"'),
    ],
)
def test_sizes_are_taken_from_whichever_column_tells_them(header: str, cells: str) -> None:
    columns = "layer_or_model,io_type,strategy,reuse_factor,in_t,"
    types = 'd[dense],io_stream,resource,4,"array<fixed<16,6>,64*1>",'
    assert estimate(types + cells, columns + header).value("dsp") == 160


def test_a_design_is_the_sum_of_its_layers_and_as_slow_as_the_slowest() -> None:
    types = TYPES.format(channels=16, filters=16)
    layer = (
        "{name}[conv_2d_cl],Vitis HLS 2023.1,xcvu11p,10,resource,{rf},32,32,30,30,16,16,3,3,,,"
        + types
        + '"fixed<16,6>","fixed<16,6>",layer,{path}\n'
    )
    text = (
        f"{COLUMNS},kind,path\n"
        + f"net{',' * 20}model,a.rpt\n"
        + layer.format(name="one", rf=36, path="a.rpt")
        + layer.format(name="two", rf=72, path="a.rpt")
        + layer.format(name="other", rf=72, path="b.rpt")
    )
    design, one, two, _ = estimate_rows(parse_rows(text, "t.csv"))
    assert design.family == "design"
    for name in ("dsp", "uram"):
        assert design.value(name) == one.value(name) + two.value(name)  # type: ignore[operator]
    # 900 beats of 256 bits wait behind each layer.
    fifos = 2 * 15
    blocks = one.value("bram_18k") + two.value("bram_18k") + fifos  # type: ignore[operator]
    assert design.value("bram_18k") == blocks
    assert design.value("initiation_interval_cycles") == two.value("initiation_interval_cycles")


def test_two_columns_tell_synthesis_and_place_and_route_apart() -> None:
    found = convolution().to_json()
    assert found["stage"] == "csynth"
    assert found["lut_vivado"] == round(found["lut"] * 0.46)
    assert found["dsp_vivado"] == found["dsp"]
    assert found["lut_vivado_uncertainty"] > found["lut_uncertainty"]


def test_every_estimator_is_found_and_documented() -> None:
    found = families()
    assert {family.name for family in found} >= {"convolution", "dense", "pooling", "activation"}
    for family in found:
        assert family.functions
        assert "Source:" in (type(family).__doc__ or "")


def test_every_column_that_the_guide_names_is_known() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "estimates.md").read_text(encoding="utf-8")
    for column in KNOWN_COLUMNS:
        assert f"`{column}`" in guide


def test_shipped_coefficients_survive_the_file() -> None:
    text = shipped().dumps()
    assert Coefficients.from_json(json.loads(text)).dumps() == text


def test_the_command_prints_a_list_in_order(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    path.write_text("layer_or_model,n_in,n_out\nd[dense],16,5\nx[lstm],16,5\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["estimate", "--config", str(path), "--json"])
    assert result.exit_code == 0
    first, second = json.loads(result.stdout)
    assert first["family"] == "dense"
    assert first["notes"] == [
        "no strategy given: hls4ml's default latency is taken",
        "no weight type given: hls4ml's default fixed<16,6> is taken",
        "number of non-zero weights unknown: all are taken as non-zero",
    ]
    assert second["lut"] is None
    text = CliRunner().invoke(app, ["estimate", "--config", str(path)]).stdout
    assert "line 3: no estimator knows the function 'lstm'" in text


def test_a_faulty_row_is_null_and_the_others_are_estimated(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    path.write_text(
        "layer_or_model,n_in,n_out,strategy\n"
        "a[dense],many,5,\n"
        "b[dense],16,5,distributed_arithmetic\n"
        ",,,\n"
        "d[dense],16,5,latency\n",
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["estimate", "--config", str(path), "--json"])
    assert result.exit_code == 0
    faulty, unknown, empty, good = json.loads(result.stdout)
    assert faulty["lut"] is None
    assert faulty["reason"] == "n_in must be a whole number from 1 to 100000000, not 'many'"
    assert unknown["dsp"] is None
    assert "no results of the strategy 'distributed_arithmetic'" in unknown["reason"]
    assert empty["reason"] == "the row is empty"
    assert good["lut"] > 0


def test_the_command_refuses_a_file_that_is_no_table_of_layers(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    path.write_text("name,age\nd,4\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["estimate", "--config", str(path), "--json"])
    assert result.exit_code == 2
    assert "none that describes a layer" in result.stdout + result.stderr


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from(CELLS[column]) for column in CELLS]), min_size=1))
def test_no_row_of_odd_cells_is_a_crash(cells: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([list(CELLS), *cells])
    found = estimate_rows(parse_rows(text.getvalue(), "t.csv"))
    assert len(found) == len(cells)
    for item in found:
        json.dumps(item.to_json(), allow_nan=False)
        for figure in item.figures.values():
            assert figure.reason if figure.value is None else figure.value >= 0
