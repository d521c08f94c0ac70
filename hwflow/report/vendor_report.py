"""What a vendor's report says, whichever tool and version wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwflow.errors import DesignError, Fault

RESOURCES = ("lut", "ff", "dsp", "bram_18k", "uram")
"""Names of the resource figures, in the order in which tables show them."""

MAX_REPORT_BYTES = 256 * 1024 * 1024
"""Larger reports are refused: the largest seen of a whole network is below 60 MB."""


@dataclass(frozen=True)
class ModuleRow:
    """One module (or instance) of a report; it includes what stands below it.

    Attributes:
        name: of the module; HLS gives functions suffixes (`conv1_s`), Vivado prefixes.
        instance: path or name of the instance, empty where the report lists modules alone.
        lut, ff, dsp, bram_18k, uram: None where the report does not say.
        latency_cycles_min, latency_cycles_max: None where unknown or unbounded.
        initiation_interval_cycles: the largest, None where unknown.
    """

    name: str
    instance: str = ""
    lut: int | None = None
    ff: int | None = None
    dsp: int | None = None
    bram_18k: int | None = None
    uram: int | None = None
    latency_cycles_min: int | None = None
    latency_cycles_max: int | None = None
    initiation_interval_cycles: int | None = None


@dataclass(frozen=True)
class VendorReport:
    """The figures of one report.

    Attributes:
        source: `csynth`, `cosim` or `vivado`.
        stage: `csynth`, `cosim`, `synthesized`, `placed` or `routed`.
        path: the file, as it was given.
        tool: `Vivado HLS`, `Vitis HLS` or `Vivado`, with the version where the report names it.
        top: function or design.
        part: device as the report writes it, empty where it does not.
        lut, ff, dsp, bram_18k, uram: used; block RAM always counted in halves of 18 Kbit.
        available: what the device has, by the same names.
        latency_cycles_min, latency_cycles_max: of one image; None where unknown or unbounded.
        initiation_interval_min, initiation_interval_max: cycles from image to image.
        clock_period_ns: asked for.
        clock_uncertainty_ns: kept in reserve by HLS.
        clock_estimate_ns: the period that the tool expects to reach, or reached.
        worst_slack_ns: setup slack of the timing report.
        status: of the co-simulation, `Pass` or `Fail`; else empty.
        modules: rows of the parts.
    """

    source: str
    stage: str
    path: str
    tool: str = ""
    top: str = ""
    part: str = ""
    lut: int | None = None
    ff: int | None = None
    dsp: int | None = None
    bram_18k: int | None = None
    uram: int | None = None
    available: Mapping[str, int] = field(default_factory=dict)
    latency_cycles_min: int | None = None
    latency_cycles_max: int | None = None
    initiation_interval_min: int | None = None
    initiation_interval_max: int | None = None
    clock_period_ns: float | None = None
    clock_uncertainty_ns: float | None = None
    clock_estimate_ns: float | None = None
    worst_slack_ns: float | None = None
    status: str = ""
    modules: tuple[ModuleRow, ...] = ()

    @property
    def resources(self) -> dict[str, int]:
        """The resource figures that the report gives."""
        values = {name: getattr(self, name) for name in RESOURCES}
        return {name: value for name, value in values.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Everything but the modules, without what is unknown."""
        names = [name for name in self.__dataclass_fields__ if name not in ("modules", "available")]
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value not in (None, "")}


def bad_report(path: Path | str, message: str) -> DesignError:
    """The error for a report that cannot be used."""
    return DesignError(Fault(str(path), "", message))


def read_text(path: Path) -> str:
    """The text of a report.

    Raises:
        DesignError: if it cannot be read, is empty, too large, or binary.
    """
    try:
        size = path.stat().st_size
        if size > MAX_REPORT_BYTES:
            raise bad_report(
                path,
                f"{size} bytes is no report (the limit is {MAX_REPORT_BYTES}); give the .rpt or "
                ".xml file itself",
            )
        data = path.read_bytes()
    except OSError as error:
        raise bad_report(path, f"cannot be read: {error.strerror}") from error
    if not data.strip():
        raise bad_report(path, "is empty; the run was interrupted or the disk is full")
    if b"\0" in data:
        raise bad_report(path, "is binary, not a report")
    return data.decode("utf-8", "replace")


_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")


def whole(text: str | None) -> int | None:
    """A count as the tools write it: `12`, `1,234`, `2 (~0%)`; None for `-`, `~0`, `undef`, `?`.

    Of a range `3 ~ 7` it is the greater.
    """
    if text is None:
        return None
    cleaned = text.split("(")[0].strip().rstrip("*")
    if "~" in cleaned:
        cleaned = cleaned.split("~")[-1].strip() if not cleaned.startswith("~") else ""
    if not cleaned or not _NUMBER.fullmatch(cleaned):
        return None
    return round(float(cleaned.replace(",", "")))


def decimal(text: str | None) -> float | None:
    """A number with or without its unit (`4.371 ns`); None for what is none."""
    if text is None:
        return None
    found = re.match(r"\s*(-?\d+(?:\.\d+)?)", text)
    return float(found.group(1)) if found else None


def cells(line: str) -> list[str]:
    """The cells of a table's line `|a|b|`, stripped; empty for any other line."""
    stripped = line.strip()
    if len(stripped) < 2 or stripped[0] != "|" or stripped[-1] != "|":
        return []
    return [cell.strip() for cell in stripped[1:-1].split("|")]
