"""Reads the C-synthesis reports in text: `<function>_csynth.rpt` and the summary `csynth.rpt`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwflow.report.vendor_report import (
    ModuleRow,
    VendorReport,
    bad_report,
    cells,
    decimal,
    read_text,
    whole,
)

_FUNCTION = re.compile(r"^== (Vivado|Vitis) HLS Report for '(.+)'", re.MULTILINE)
_SUMMARY = re.compile(r"^== Synthesis Summary Report of '(.+)'", re.MULTILINE)
_COLUMNS = {
    "BRAM_18K": "bram_18k",
    "BRAM": "bram_18k",
    "DSP48E": "dsp",
    "DSP": "dsp",
    "FF": "ff",
    "LUT": "lut",
    "URAM": "uram",
}


def read_csynth_rpt(path: Path) -> VendorReport:
    """The figures of a C-synthesis report in text, of one function or of the whole design.

    Raises:
        DesignError: if the file is empty, truncated, binary, too large, or not such a report.

    Source: files of Vivado HLS 2018.2 to 2020.1 and Vitis HLS 2020.2 to 2025.2.
    """
    text = read_text(path)
    function = _FUNCTION.search(text)
    if function:
        return _read_function(path, text, function.group(1), function.group(2))
    summary = _SUMMARY.search(text)
    if summary:
        return _read_summary(path, text, summary.group(1))
    raise bad_report(path, "is not a C-synthesis report of Vivado HLS or Vitis HLS")


def _field(text: str, name: str) -> str:
    found = re.search(rf"^\s*\* {name}:\s*(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _version(text: str) -> str:
    return (_field(text, "Version").split() or [""])[0]


def _tables(text: str) -> Iterator[list[list[str]]]:
    """Every table, as its lines of cells; tables end at a line without cells or rules."""
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        row = cells(line)
        if row:
            table.append(row)
        elif table and not line.strip().startswith("+-"):
            yield table
            table = []


def _section(text: str, start: str, end: str | None = None) -> str:
    begin = text.find(start)
    if begin < 0:
        return ""
    stop = text.find(end, begin + len(start)) if end else -1
    return text[begin : stop if stop >= 0 else len(text)]


def _read_function(path: Path, text: str, vendor: str, top: str) -> VendorReport:
    timing = _section(text, "+ Timing", "+ Latency")
    latency = _section(text, "+ Latency", "== Utilization Estimates")
    utilization = _section(text, "== Utilization Estimates", "== Interface")
    rows = [row for table in _tables(timing) for row in table if len(row) == 4]
    clocks = [row for row in rows if decimal(row[1]) is not None]
    span: Sequence[int | None] = (None,) * 4
    instances: dict[str, ModuleRow] = {}
    for table in _tables(_section(latency, "* Summary", "+ Detail")):
        for row in table:
            span = _span(row) or span
    for table in _tables(_section(latency, "* Instance", "* Loop")):
        for row in table:
            values = _span(row[2:])
            if values:
                instances[row[0]] = ModuleRow(
                    row[1],
                    row[0],
                    latency_cycles_min=values[0],
                    latency_cycles_max=values[1],
                    initiation_interval_cycles=values[3],
                )
    used, available = _totals(utilization)
    if not clocks or not {"lut", "ff"} <= used.keys():
        raise bad_report(
            path, "is truncated: timing or utilization is missing; the run was interrupted?"
        )
    for table in _tables(_section(utilization, "+ Detail")):
        header = table[0]
        if header[:2] != ["Instance", "Module"]:
            continue
        for row in table[1:]:
            if row[0] != "Total" and len(row) == len(header):
                known = instances.get(row[0], ModuleRow(row[1], row[0]))
                instances[row[0]] = replace(known, **_resources(header, row))
    return VendorReport(
        source="csynth",
        stage="csynth",
        path=str(path),
        tool=f"{vendor} HLS {_version(text)}".strip(),
        top=top,
        part=_field(text, "Target device"),
        available=available,
        latency_cycles_min=span[0],
        latency_cycles_max=span[1],
        initiation_interval_min=span[2],
        initiation_interval_max=span[3],
        clock_period_ns=decimal(clocks[0][1]),
        clock_estimate_ns=decimal(clocks[0][2]),
        clock_uncertainty_ns=decimal(clocks[0][3]),
        modules=tuple(instances.values()),
        **used,
    )


def _span(row: Sequence[str]) -> tuple[int | None, int | None, int | None, int | None] | None:
    """Latency and interval, least and greatest; reports since 2019.2 add two columns of time."""
    if len(row) not in (5, 7) or not re.fullmatch(r"\d+|\?|-|undef", row[0]):
        return None
    return whole(row[0]), whole(row[1]), whole(row[-3]), whole(row[-2])


def _resources(header: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in zip(header, row, strict=True):
        number = whole(value)
        if name in _COLUMNS and number is not None:
            found[_COLUMNS[name]] = number
    return found


def _totals(utilization: str) -> tuple[dict[str, Any], dict[str, Any]]:
    summary = _section(utilization, "* Summary", "+ Detail")
    for table in _tables(summary):
        header = table[0]
        rows = {row[0]: row for row in table[1:] if len(row) == len(header)}
        if "Total" in rows:
            available = _resources(header, rows["Available"]) if "Available" in rows else {}
            return _resources(header, rows["Total"]), available
    return {}, {}


def _read_summary(path: Path, text: str, top: str) -> VendorReport:
    section = _section(text, "+ Performance & Resource Estimates", "\n==")
    rows = [row for table in _tables(section) for row in table if len(row) == 14]
    rows = [row for row in rows if row[0].startswith("+ ")]
    if not rows:
        raise bad_report(path, "is truncated: the table of modules is missing")
    modules = [
        ModuleRow(
            name=row[0].removeprefix("+ ").rstrip("*"),
            latency_cycles_min=None,
            latency_cycles_max=whole(row[3]),
            initiation_interval_cycles=whole(row[6]),
            bram_18k=whole(row[9]) or 0,
            dsp=whole(row[10]) or 0,
            ff=whole(row[11]) or 0,
            lut=whole(row[12]) or 0,
            uram=whole(row[13]) or 0,
        )
        for row in rows
    ]
    head = modules[0]
    return VendorReport(
        source="csynth",
        stage="csynth",
        path=str(path),
        tool=f"Vitis HLS {_version(text)}".strip(),
        top=top,
        part=_field(text, "Target device"),
        lut=head.lut,
        ff=head.ff,
        dsp=head.dsp,
        bram_18k=head.bram_18k,
        uram=head.uram,
        latency_cycles_max=head.latency_cycles_max,
        initiation_interval_max=head.initiation_interval_cycles,
        modules=tuple(modules[1:]),
    )
