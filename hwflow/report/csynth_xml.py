"""Reads `csynth.xml` and `<function>_csynth.xml` of Vivado HLS and Vitis HLS."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from hwflow.report.vendor_report import (
    MAX_REPORT_BYTES,
    ModuleRow,
    VendorReport,
    bad_report,
    decimal,
    whole,
)

_RESOURCE_TAGS = {
    "LUT": "lut",
    "FF": "ff",
    "DSP": "dsp",
    "DSP48E": "dsp",
    "BRAM_18K": "bram_18k",
    "URAM": "uram",
}
_BULKY = {"RtlPorts", "BindNode", "Pragma", "AutoPragma", "column"}


def read_csynth_xml(path: Path) -> VendorReport:
    """The figures of a C-synthesis report in XML.

    Raises:
        DesignError: if the file is empty, truncated, too large, or not such a report.

    Source: files of Vivado HLS 2018.2 to 2020.1 and Vitis HLS 2020.2 to 2025.2.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise bad_report(path, f"cannot be read: {error.strerror}") from error
    if not head.strip():
        raise bad_report(path, "is empty; the run was interrupted or the disk is full")
    if size > MAX_REPORT_BYTES:
        raise bad_report(path, f"{size} bytes is no report (the limit is {MAX_REPORT_BYTES})")
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise bad_report(path, "declares a document type, which no report of the tools does")
    root: ET.Element | None = None
    rows: list[ModuleRow] = []
    try:
        for event, element in ET.iterparse(path, events=("start", "end")):
            if event == "start":
                if root is None:
                    root = element
                    if root.tag != "profile":
                        raise bad_report(
                            path, f"is not a C-synthesis report: its root is <{root.tag}>"
                        )
                continue
            if element.tag == "Module":
                rows.append(_module(element))
                element.clear()
            elif element.tag in _BULKY:
                element.clear()
    except ET.ParseError as error:
        raise bad_report(
            path, f"is not complete XML ({error}); the run was interrupted or the disk is full"
        ) from error
    assert root is not None
    performance = root.find("PerformanceEstimates")
    used = _resources(root.find("AreaEstimates/Resources"))
    if performance is None or not {"lut", "ff"} <= used.keys():
        raise bad_report(path, "lacks PerformanceEstimates or AreaEstimates; C synthesis failed?")
    overall = "SummaryOfOverallLatency/"
    version = (root.findtext("ReportVersion/Version") or "").strip()
    top = (root.findtext("UserAssignments/TopModelName") or "").strip()
    return VendorReport(
        source="csynth",
        stage="csynth",
        path=str(path),
        tool=f"{tool_name(version)} {version}".strip(),
        top=top,
        part=(root.findtext("UserAssignments/Part") or "").strip(),
        available=_resources(root.find("AreaEstimates/AvailableResources")),
        latency_cycles_min=whole(performance.findtext(overall + "Best-caseLatency")),
        latency_cycles_max=whole(performance.findtext(overall + "Worst-caseLatency")),
        initiation_interval_min=whole(performance.findtext(overall + "Interval-min")),
        initiation_interval_max=whole(performance.findtext(overall + "Interval-max")),
        clock_period_ns=decimal(root.findtext("UserAssignments/TargetClockPeriod")),
        clock_uncertainty_ns=decimal(root.findtext("UserAssignments/ClockUncertainty")),
        clock_estimate_ns=decimal(
            performance.findtext("SummaryOfTimingAnalysis/EstimatedClockPeriod")
        ),
        modules=tuple(row for row in rows if row.name != top),
        **used,
    )


def tool_name(version: str) -> str:
    """Which HLS tool bears a version: Vitis HLS began with 2020.2 (UG1399)."""
    year, _, minor = version.partition(".")
    if not year.isdigit():
        return "HLS"
    return "Vitis HLS" if (int(year), minor[:1]) >= (2020, "2") else "Vivado HLS"


def _resources(element: ET.Element | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in element if element is not None else ():
        value = whole(child.text)
        if child.tag in _RESOURCE_TAGS and value is not None:
            found[_RESOURCE_TAGS[child.tag]] = value
    return found


def _module(element: ET.Element) -> ModuleRow:
    overall = "PerformanceEstimates/SummaryOfOverallLatency/"
    interval = element.findtext(overall + "PipelineInitiationInterval") or element.findtext(
        overall + "Interval-max"
    )
    return ModuleRow(
        name=(element.findtext("Name") or "").strip(),
        latency_cycles_min=whole(element.findtext(overall + "Best-caseLatency")),
        latency_cycles_max=whole(element.findtext(overall + "Worst-caseLatency")),
        initiation_interval_cycles=whole(interval),
        **_resources(element.find("AreaEstimates/Resources")),
    )
