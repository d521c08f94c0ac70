"""Reads the co-simulation report `<function>_cosim.rpt`."""

from __future__ import annotations

import re
from pathlib import Path

from hwflow.report.vendor_report import VendorReport, bad_report, cells, read_text, whole


def is_cosim(text: str) -> bool:
    """Whether a text begins as a co-simulation report does."""
    return bool(re.search(r"^Report time\s*:", text[:2000], re.MULTILINE))


def read_cosim_rpt(path: Path) -> VendorReport:
    """The measured latency and interval of the RTL.

    One image alone has no interval (the tool writes `NA`).

    Raises:
        DesignError: if the file is empty, truncated, foreign, or names no simulated RTL.

    Source: files of Vivado HLS 2019.1 to 2020.1 (eight columns) and Vitis HLS 2020.2 to 2025.2
    (nine, the last is the time of the whole run).
    """
    text = read_text(path)
    rows = [cells(line) for line in text.splitlines()]
    found = {row[0]: row for row in rows if row and row[0] in ("VHDL", "Verilog")}
    if not found:
        kind = "is truncated: no result for VHDL or Verilog"
        raise bad_report(path, kind if is_cosim(text) else "is not a co-simulation report")
    simulated = [row for row in found.values() if len(row) >= 2 and row[1] != "NA"]
    if not simulated:
        raise bad_report(path, "names no RTL that was simulated")
    row = simulated[-1]
    if len(row) not in (8, 9):
        raise bad_report(path, f"has {len(row)} columns where 8 or 9 must be")
    return VendorReport(
        source="cosim",
        stage="cosim",
        path=str(path),
        top=path.name.removesuffix("_cosim.rpt") if path.name.endswith("_cosim.rpt") else "",
        status=row[1],
        latency_cycles_min=whole(row[2]),
        latency_cycles_max=whole(row[4]),
        initiation_interval_min=whole(row[5]),
        initiation_interval_max=whole(row[7]),
    )
