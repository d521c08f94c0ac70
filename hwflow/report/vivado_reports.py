"""Reads Vivado's utilization (flat and hierarchical) and timing-summary reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
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

# Row labels of 7-series ("Slice"), UltraScale and Versal ("CLB") devices.
_LABELS = {
    re.compile(r"(Slice|CLB) LUTs"): "lut",
    re.compile(r"((Slice|CLB) )?Registers"): "ff",
    re.compile(r"DSPs|DSP Slices"): "dsp",
    re.compile(r"URAM"): "uram",
}
_HIERARCHY = {
    "Total LUTs": "lut",
    "FFs": "ff",
    "URAM": "uram",
    "DSP Blocks": "dsp",
    "DSP48 Blocks": "dsp",
    "DSP Slices": "dsp",
}


def _header(text: str, name: str) -> str:
    found = re.search(rf"^\| {name}\s*: (.*)$", text[:8000], re.MULTILINE)
    return found.group(1).strip() if found else ""


def _origin(path: Path, text: str) -> dict[str, Any]:
    """What a report says of itself: tool, stage and part."""
    return {
        "source": "vivado",
        "stage": _stage(text),
        "path": str(path),
        "tool": _tool(text),
        "part": _header(text, "Device"),
    }


def _stage(text: str) -> str:
    state = _header(text, "Design State").lower()
    for stage in ("routed", "placed", "synthesized"):
        if stage in state:
            return stage
    return "placed" if "physopt" in state or "optimized" in state else "synthesized"


def _tool(text: str) -> str:
    found = re.search(r"Vivado v\.(\d{4}\.\d)", text[:8000])
    return f"Vivado {found.group(1)}" if found else "Vivado"


def is_utilization(text: str) -> bool:
    """Whether a text is a utilization report."""
    return "Utilization Design Information" in text[:8000]


def is_timing(text: str) -> bool:
    """Whether a text is a timing summary."""
    return "Timing Summary Report" in text[:8000]


def read_utilization(path: Path) -> VendorReport:
    """Used and available resources; of a hierarchical report the instances too.

    Vivado counts block RAM in tiles of 36 Kbit (half a tile for a lone RAMB18): here it is always
    halves of 18 Kbit, `2 * tiles`.

    Raises:
        DesignError: if the file is empty, truncated, binary, too large, or foreign.

    Source: files of Vivado 2018.2 to 2025.2; UG907.
    """
    text = read_text(path)
    if not is_utilization(text):
        raise bad_report(path, "is not a utilization report of Vivado")
    if "Utilization by Hierarchy" in text:
        return _read_hierarchy(path, text)
    used: dict[str, Any] = {}
    available: dict[str, int] = {}
    for label, count, most in _sites(text):
        name, unit = _resource(label)
        if name and count is not None:
            used.setdefault(name, round(unit * count))
        if name and most is not None:
            available.setdefault(name, unit * most)
    missing = {"lut", "ff", "dsp", "bram_18k"} - used.keys()
    if missing:
        raise bad_report(path, f"is truncated: it does not say {', '.join(sorted(missing))}")
    used.setdefault("uram", 0)
    return VendorReport(
        **_origin(path, text),
        top=_header(text, "Design"),
        available=available,
        **used,
    )


def _sites(text: str) -> Iterator[tuple[str, float | None, int | None]]:
    """Label, used and available of every row of the tables of sites."""
    header: list[str] = []
    for line in text.splitlines():
        row = cells(line)
        if row and row[0] == "Site Type":
            header = row
        elif row and len(row) == len(header):
            named = dict(zip(header, row, strict=True))
            label = row[0].rstrip("*").strip()
            yield label, decimal(named.get("Used")), whole(named.get("Available"))


def _resource(label: str) -> tuple[str, int]:
    """The resource that a row counts, and how many of it one site is."""
    if label == "Block RAM Tile":
        return "bram_18k", 2
    for pattern, name in _LABELS.items():
        if pattern.fullmatch(label):
            return name, 1
    return "", 1


def _read_hierarchy(path: Path, text: str) -> VendorReport:
    header: list[str] = []
    rows: list[ModuleRow] = []
    parents: list[str] = []
    for line in text.splitlines():
        row = cells(line)
        if row[:2] == ["Instance", "Module"]:
            header = row
            continue
        if not header or len(row) != len(header):
            continue
        named = dict(zip(header, row, strict=True))
        depth = (len(line[1:]) - len(line[1:].lstrip()) - 1) // 2
        if row[0].startswith("("):  # what a module holds beside its parts: counted in its own row
            continue
        parents = [*parents[:depth], row[0]]
        used = {
            name: value
            for label, name in _HIERARCHY.items()
            if (value := whole(named.get(label))) is not None
        }
        blocks, halves = whole(named.get("RAMB36")), whole(named.get("RAMB18"))
        if blocks is not None and halves is not None:
            used["bram_18k"] = 2 * blocks + halves
        rows.append(ModuleRow(name=row[1], instance="/".join(parents), **used))
    if not rows or rows[0].lut is None:
        raise bad_report(path, "is truncated: the table of instances is missing")
    top = rows[0]
    return VendorReport(
        **_origin(path, text),
        top=top.instance,
        lut=top.lut,
        ff=top.ff,
        dsp=top.dsp,
        bram_18k=top.bram_18k,
        uram=top.uram if top.uram is not None else 0,
        modules=tuple(rows[1:]),
    )


def read_timing(path: Path) -> VendorReport:
    """Worst slack and the period that is reached (`period - slack`).

    Raises:
        DesignError: if the file is empty, truncated, binary, too large, foreign, or its design has
            no clock.

    Source: files of Vivado 2018.2 to 2025.2; UG906.
    """
    text = read_text(path)
    if not is_timing(text):
        raise bad_report(path, "is not a timing summary of Vivado")
    slack = _below(text, "WNS(ns)")
    if slack is None:
        raise bad_report(path, "is truncated: the design timing summary is missing")
    clocks = _below(text, "Waveform(ns)")
    if slack[0] == "NA" or clocks is None:
        raise bad_report(path, "constrains no clock; the run lacked its create_clock")
    found = re.search(r"\{[^}]*\}\s+(\d+\.\d+)", " ".join(clocks))
    if found is None:
        raise bad_report(path, "is truncated: the clock summary has no period")
    if not re.fullmatch(r"-?\d+(\.\d+)?", slack[0]):
        raise bad_report(path, f"is damaged: {slack[0]!r} stands where the worst slack must be")
    period, worst = float(found.group(1)), float(slack[0])
    return VendorReport(
        **_origin(path, text),
        top=_header(text, "Design"),
        clock_period_ns=period,
        clock_estimate_ns=round(period - worst, 3),
        worst_slack_ns=worst,
    )


def _below(text: str, heading: str) -> list[str] | None:
    """The words two lines below the first line that has a heading (a rule stands between)."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if heading in line and number + 2 < len(lines):
            return lines[number + 2].split() or None
    return None
