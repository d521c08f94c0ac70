"""The vendors' reports, in the formats of several versions, and what is no report."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from hwflow.errors import DesignError
from hwflow.report import vendor_report
from hwflow.report.csynth_xml import tool_name
from hwflow.report.vendor_files import (
    find_reports,
    function_of,
    join_reports,
    kind_of,
    read_report,
)
from hwflow.report.vendor_report import ModuleRow, VendorReport, cells, decimal, whole

REPORTS = Path(__file__).parents[1] / "reports"
LAYERS = ("conv1", "fire2", "pool3")
FUNCTIONS = {layer: layer for layer in LAYERS}
CSYNTH = {"lut": 10234, "ff": 7012, "dsp": 9, "bram_18k": 8, "uram": 0}
EVERY = sorted(path for path in REPORTS.rglob("*.*") if path.suffix in (".rpt", ".xml"))


def _read(name: str) -> VendorReport:
    return read_report(REPORTS / name)


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("vivado_hls-2019.1/csynth.xml", "Vivado HLS 2019.1"),
        ("vivado_hls-2019.1/tiny_csynth.rpt", "Vivado HLS 2019.1"),
        ("vivado_hls-2020.1/tiny_csynth.rpt", "Vivado HLS 2020.1"),
        ("vitis_hls-2020.2/csynth.xml", "Vitis HLS 2020.2"),
        ("vitis_hls-2020.2/tiny_csynth.rpt", "Vitis HLS 2020.2"),
        ("vitis_hls-2023.2/csynth.xml", "Vitis HLS 2023.2"),
        ("vitis_hls-2025.2/csynth.xml", "Vitis HLS 2025.2"),
    ],
)
def test_csynth_of_every_version_gives_the_same_figures(name: str, tool: str) -> None:
    report = _read(name)
    assert (report.source, report.stage, report.tool) == ("csynth", "csynth", tool)
    assert (report.top, report.part) == ("tiny", "xczu9eg-ffvb1156-2-e")
    assert report.resources == CSYNTH
    assert (report.latency_cycles_min, report.latency_cycles_max) == (3360, 3380)
    assert (report.initiation_interval_min, report.initiation_interval_max) == (2051, 2059)
    assert report.clock_period_ns == 5.0
    assert report.clock_uncertainty_ns == 0.62
    assert report.clock_estimate_ns == 4.311
    assert report.available["lut"] == 274080
    rows = {function_of(row.name, "tiny", FUNCTIONS): row for row in report.modules}
    assert (rows["fire2"].lut, rows["fire2"].dsp, rows["fire2"].bram_18k) == (5890, 9, 5)
    assert (rows["conv1"].latency_cycles_max, rows["conv1"].uram) == (1040, 0)
    assert rows["pool3"].initiation_interval_cycles == 256


def test_unbounded_latency_is_unknown() -> None:
    report = _read("vitis_hls-2024.2/tiny_csynth.rpt")
    assert report.latency_cycles_min is report.latency_cycles_max is None
    assert report.initiation_interval_max is None
    assert report.resources == CSYNTH


def test_summary_report_lists_modules_without_loops() -> None:
    report = _read("vitis_hls-2023.2/csynth.rpt")
    assert report.resources == CSYNTH
    assert [row.name for row in report.modules] == [
        "conv1_s",
        "fire2",
        "fire2_Pipeline_Row",
        "pool3",
    ]
    assert report.modules[0].dsp == 0


@pytest.mark.parametrize(
    ("name", "latency", "interval"),
    [
        ("vivado_hls-2019.1/tiny_cosim.rpt", (3365, 3376), (2055, 2055)),
        ("vitis_hls-2023.2/tiny_cosim.rpt", (3369, 3369), (None, None)),
        ("vitis_hls-2025.2/tiny_cosim.rpt", (3369, 3369), (2057, 2058)),
    ],
)
def test_cosim(
    name: str, latency: tuple[int, int], interval: tuple[int | None, int | None]
) -> None:
    report = _read(name)
    assert (report.latency_cycles_min, report.latency_cycles_max) == latency
    assert (report.initiation_interval_min, report.initiation_interval_max) == interval
    assert report.status == ("Fail" if "2025" in name else "Pass")


@pytest.mark.parametrize(
    ("name", "stage", "figures"),
    [
        ("vivado-2019.1/vivado_synth.rpt", "synthesized", (5290, 5777, 9, 7, 0)),
        ("vivado-2019.1/vivado_synth_hier.rpt", "synthesized", (5290, 5777, 9, 7, 0)),
        ("vivado-2023.2/vivado_synth.rpt", "synthesized", (5290, 5777, 9, 7, 0)),
        ("vivado-2023.2/vivado_synth_hier.rpt", "synthesized", (5290, 5777, 9, 7, 0)),
        ("vivado-2025.2/vivado_impl.rpt", "routed", (5011, 5760, 9, 6, 0)),
    ],
)
def test_utilization_counts_block_ram_in_halves(
    name: str, stage: str, figures: tuple[int, ...]
) -> None:
    report = _read(name)
    assert report.stage == stage
    assert tuple(report.resources.values()) == figures  # 3.5 tiles are 7 halves


def test_hierarchy_gives_rows_with_their_paths() -> None:
    rows = {row.instance: row for row in _read("vivado-2023.2/vivado_synth_hier.rpt").modules}
    assert list(rows)[:2] == ["tiny/conv1_U0", "tiny/conv1_U0/line_buffer_U"]
    assert (rows["tiny/fire2_U0"].bram_18k, rows["tiny/fire2_U0"].dsp) == (4, 9)
    assert "tiny/(tiny)" not in rows


@pytest.mark.parametrize(
    ("name", "slack", "reached"),
    [
        ("vivado-2019.1/vivado_synth_timing.rpt", -0.412, 5.412),
        ("vivado-2023.2/vivado_synth_timing.rpt", 0.731, 4.269),
        ("vivado-2025.2/vivado_impl_timing.rpt", 0.118, 4.882),
    ],
)
def test_timing(name: str, slack: float, reached: float) -> None:
    report = _read(name)
    assert (report.worst_slack_ns, report.clock_estimate_ns) == (slack, reached)
    assert report.clock_period_ns == 5.0


# --- bad reports ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_truncation_is_refused_or_harmless(path: Path, tmp_path: Path) -> None:
    """A report cut anywhere is an error, or says exactly what the whole one says of its totals."""
    whole_report = read_report(path)
    data = path.read_bytes()
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 40)):
        cut = tmp_path / path.name
        cut.write_bytes(data[:length])
        try:
            report = read_report(cut)
        except DesignError as error:
            refused += error.faults[0].where == str(cut)
        else:
            assert report.resources == whole_report.resources
            assert report.latency_cycles_max == whole_report.latency_cycles_max
            assert report.worst_slack_ns == whole_report.worst_slack_ns
    assert refused >= 10


def _mutated(data: bytes, random: Random) -> bytes:
    content = bytearray(data)
    for _ in range(random.randint(1, 5)):
        begin = random.randrange(len(content))
        end = min(len(content), begin + random.randint(1, 200))
        kind = random.randrange(4)
        if kind == 0:
            content[begin] = random.randrange(256)
        elif kind == 1 and end - begin < len(content):
            del content[begin:end]
        elif kind == 2:
            content[begin:begin] = content[begin:end]
        else:
            lines = content.split(b"\n")
            lines.pop(random.randrange(len(lines)))
            content = bytearray(b"\n".join(lines)) or bytearray(b"\n")
    return bytes(content)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_damage_is_refused_with_the_path_or_read(path: Path, tmp_path: Path) -> None:
    random = Random(0)
    outcomes = set()
    for _ in range(60):
        damaged = tmp_path / path.name
        damaged.write_bytes(_mutated(path.read_bytes(), random))
        try:
            outcomes.add(read_report(damaged).path == str(damaged))
        except DesignError as error:
            outcomes.add(error.faults[0].where == str(damaged))
    assert outcomes == {True}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.rpt", b"", "is no report that is known here"),
        ("a.rpt", b"\x7fELF\0\0\0", "is no report that is known here"),
        ("a.rpt", b"Lorem ipsum\n" * 10, "is no report that is known here"),
        ("a.xml", b"<testsuite/>", "is no report that is known here"),
        ("a.xml", b"<profile><a></profile>", "is not complete XML"),
        ("a.xml", b"<profile></profile>", "lacks PerformanceEstimates"),
        ("a.rpt", b"== Vitis HLS Report for 'x'\n\0", "is binary"),
        ("a.rpt", b"== Vitis HLS Report for 'x'\n", "is truncated"),
        ("a.rpt", b"== Synthesis Summary Report of 'x'\n", "table of modules is missing"),
        ("a.rpt", b"Report time : now\n", "no result for VHDL or Verilog"),
        ("a.rpt", b"Report time : now\n|  Verilog| NA|\n", "names no RTL that was simulated"),
        ("a.rpt", b"Report time : now\n|  Verilog| Pass| 3|\n", "has 3 columns"),
        ("a.rpt", b"Utilization Design Information\n", "does not say bram_18k, dsp, ff, lut"),
        ("a.rpt", b"Timing Summary Report\n", "the design timing summary is missing"),
    ],
)
def test_bad_reports(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DesignError, match=message) as caught:
        read_report(path)
    assert caught.value.faults[0].where == str(path)


def test_xml_with_a_document_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "csynth.xml"
    path.write_text('<profile><!-- --></profile><!DOCTYPE x [<!ENTITY a "aaaa">]>')
    with pytest.raises(DesignError, match="declares a document type"):
        read_report(path)


@pytest.mark.parametrize("name", ["vitis_hls-2023.2/csynth.xml", "vivado-2023.2/vivado_synth.rpt"])
def test_huge_reports_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / Path(name).name
    shutil.copy(REPORTS / name, path)
    with path.open("ab") as stream:
        stream.truncate(vendor_report.MAX_REPORT_BYTES + 1)  # sparse: takes no room
    with pytest.raises(DesignError, match="is no report"):
        read_report(path)


def test_timing_without_a_clock(tmp_path: Path) -> None:
    path = tmp_path / "timing.rpt"
    path.write_text(
        "Timing Summary Report\n  WNS(ns)   TNS(ns)\n  -------   ------\n      NA     NA\n"
    )
    with pytest.raises(DesignError, match="constrains no clock"):
        read_report(path)


# --- numbers and names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("1,234", 1234),
        ("2 (~0%)", 2),
        ("3 ~ 7", 7),
        ("52.0", 52),
        ("-", None),
        ("~0", None),
        ("undef", None),
        ("?", None),
        ("NA", None),
        ("", None),
        (None, None),
    ],
)
def test_whole(text: str | None, value: int | None) -> None:
    assert whole(text) == value


def test_small_helpers() -> None:
    assert decimal("4.371 ns") == 4.371
    assert decimal("-0.4") == -0.4
    assert decimal("NA") is None
    assert decimal(None) is None
    assert cells("  | a |b|") == ["a", "b"]
    assert cells("+--+--+") == []
    assert tool_name("2020.1") == "Vivado HLS"
    assert tool_name("2020.2.1") == "Vitis HLS"
    assert tool_name("") == "HLS"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv1", "conv1"),
        ("conv1_s", "conv1"),
        ("tiny_conv1", "conv1"),
        ("tiny/conv1_U0", "conv1"),
        ("grp_conv1_fu_97", "conv1"),
        ("conv_1_2", "conv_1"),
        ("conv1_Pipeline_Row", ""),
        ("conv11", ""),
        ("tiny", ""),
    ],
)
def test_function_of(name: str, layer: str) -> None:
    assert function_of(name, "tiny", ("conv1", "conv_1", "fire2")) == layer


# --- joining -------------------------------------------------------------------------------------


def _copy(target: Path, **names: str) -> None:
    for stem, source in names.items():
        name = Path(source).name if stem.startswith("_") else f"{stem}{Path(source).suffix}"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPORTS / source, target / name)


def test_join_takes_each_figure_from_the_stage_nearest_to_the_chip(tmp_path: Path) -> None:
    _copy(
        tmp_path,
        _1="vitis_hls-2023.2/csynth.xml",
        _2="vivado_hls-2019.1/tiny_cosim.rpt",
        _3="vivado-2023.2/vivado_synth_hier.rpt",
        _4="vivado-2025.2/vivado_impl.rpt",
        _5="vivado-2025.2/vivado_impl_timing.rpt",
    )
    (tmp_path / "notes.txt").write_text("not a report")
    (tmp_path / "settings.xml").write_text("<project/>")
    (tmp_path / "empty.xml").write_text("")
    result = join_reports(find_reports(tmp_path), "tiny", FUNCTIONS)
    assert len(result.reports) == 5
    assert result.stage == "routed"
    assert result.figures["lut"] == {"value": 5011, "source": "vivado", "stage": "routed"}
    assert result.figures["latency_cycles"] == {"value": 3376, "source": "cosim", "stage": "cosim"}
    assert result.figures["clock_estimate_ns"]["value"] == 4.882
    assert result.per_layer["csynth"]["fire2"] == {
        "lut": 5890,
        "ff": 4102,
        "dsp": 9,
        "bram_18k": 5,
        "uram": 0,
        "latency_cycles": 2058,
        "initiation_interval_cycles": 1024,
    }
    assert result.per_layer["synthesized"]["conv1"]["bram_18k"] == 2
    assert result.available["bram_18k"] == 1824


def test_reports_of_functions_within_the_design_are_parts_of_it(tmp_path: Path) -> None:
    _copy(
        tmp_path,
        csynth="vitis_hls-2023.2/csynth.xml",
        tiny_csynth="vitis_hls-2020.2/tiny_csynth.rpt",
    )
    part = (REPORTS / "vitis_hls-2020.2/tiny_csynth.rpt").read_text()
    part = part.replace("Report for 'tiny'", "Report for 'fire2_Pipeline_Row'")
    (tmp_path / "fire2_Pipeline_Row_csynth.rpt").write_text(part)
    result = join_reports(find_reports(tmp_path), "tiny", FUNCTIONS)
    assert set(result.per_layer["csynth"]) == set(LAYERS)
    assert result.stage == "csynth"


def test_functions_of_one_layer_share_its_row() -> None:
    reports = [_read("vitis_hls-2023.2/csynth.xml")]
    functions = {"conv1": "stem/conv", "fire2": "stem/conv", "pool3": "pool"}
    result = join_reports(reports, "tiny", functions)
    assert result.per_layer["csynth"]["stem/conv"] == {
        "lut": 3410 + 5890,
        "ff": 2101 + 4102,
        "dsp": 9,
        "bram_18k": 7,
        "uram": 0,
        "latency_cycles": 2058,
        "initiation_interval_cycles": 1024,
    }
    assert list(result.per_layer["csynth"]) == ["stem/conv", "pool"]


def test_layers_synthesized_alone_are_added_up(tmp_path: Path) -> None:
    for layer in LAYERS:
        folder = tmp_path / layer
        _copy(folder, csynth="vitis_hls-2023.2/csynth.xml")
        text = (folder / "csynth.xml").read_text()
        (folder / "csynth.xml").write_text(
            text.replace("<TopModelName>tiny<", f"<TopModelName>{layer}<")
        )
    result = join_reports(find_reports(tmp_path), "tiny", FUNCTIONS)
    assert result.stage == "csynth_per_layer"
    assert result.figures["lut"]["value"] == 3 * 10234
    assert result.figures["latency_cycles"]["value"] == 3 * 3380
    assert result.figures["initiation_interval_cycles"]["value"] == 2059
    assert result.per_layer["csynth"]["pool3"]["lut"] == 10234


def test_join_refuses_other_designs_and_failed_cosimulation(tmp_path: Path) -> None:
    _copy(tmp_path, _1="vitis_hls-2023.2/csynth.xml", _2="vitis_hls-2025.2/tiny_cosim.rpt")
    with pytest.raises(DesignError, match="co-simulation ended with 'Fail'"):
        join_reports(find_reports(tmp_path), "tiny", FUNCTIONS)
    with pytest.raises(
        DesignError, match="is of 'tiny', neither 'other' nor a function of its layers"
    ):
        join_reports(find_reports(tmp_path)[:1], "other", FUNCTIONS)


def test_find_reports_lists_every_damaged_report(tmp_path: Path) -> None:
    (tmp_path / "a_csynth.rpt").write_text("")
    (tmp_path / "b_csynth.xml").write_text("<profile>")
    (tmp_path / "c_cosim.rpt").write_text("Report time : now\n")
    with pytest.raises(DesignError) as caught:
        find_reports(tmp_path)
    assert [Path(fault.where).name for fault in caught.value.faults] == [
        "a_csynth.rpt",
        "b_csynth.xml",
        "c_cosim.rpt",
    ]


def test_a_folder_without_reports(tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="holds no report"):
        find_reports(tmp_path)
    assert kind_of(tmp_path / "missing.rpt") == ""


def test_of_a_design_that_loads_weights_the_cycles_of_an_image_are_taken() -> None:
    rows = (
        ModuleRow(
            "conv1", latency_cycles_min=90, latency_cycles_max=190, initiation_interval_cycles=191
        ),
        ModuleRow(
            "pool1", latency_cycles_min=60, latency_cycles_max=60, initiation_interval_cycles=61
        ),
    )
    report = VendorReport(
        source="csynth", stage="csynth", path="r.xml", tool="", top="tiny", part="",
        latency_cycles_min=100, latency_cycles_max=300, initiation_interval_min=95,
        initiation_interval_max=200, modules=rows,
    )  # fmt: skip
    functions = {"conv1": "conv1", "pool1": "pool1"}
    found = join_reports([report], "tiny", functions, is_loaded=True)
    told = {name: figure["value"] for name, figure in found.figures.items()}
    assert (told["latency_cycles"], told["initiation_interval_cycles"]) == (100, 95)
    assert found.per_layer["csynth"]["conv1"] == {"latency_cycles": 90}
    assert found.per_layer["csynth"]["pool1"] == {
        "latency_cycles": 60,
        "initiation_interval_cycles": 61,
    }
    plain = join_reports([report], "tiny", functions)
    told = {name: figure["value"] for name, figure in plain.figures.items()}
    assert (told["latency_cycles"], told["initiation_interval_cycles"]) == (300, 200)
    assert plain.per_layer["csynth"]["conv1"]["latency_cycles"] == 190
