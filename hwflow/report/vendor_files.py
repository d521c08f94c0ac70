"""Finds the vendor's reports in a folder, tells them apart by their content, and joins them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwflow.errors import DesignError, Fault
from hwflow.report.cosim import is_cosim, read_cosim_rpt
from hwflow.report.csynth_rpt import read_csynth_rpt
from hwflow.report.csynth_xml import read_csynth_xml
from hwflow.report.vendor_report import RESOURCES, ModuleRow, VendorReport, bad_report
from hwflow.report.vivado_reports import is_timing, is_utilization, read_timing, read_utilization

_HEAD_BYTES = 16384
_NAMED = re.compile(r"csynth\.(xml|rpt)$|cosim\.rpt$|^vivado_(synth|impl)")
_ORDER = ("csynth", "synthesized", "placed", "routed")
"""Stages, each closer to the chip than the one before."""

_LAYER_FIGURES = (*RESOURCES, "latency_cycles", "initiation_interval_cycles")


def kind_of(path: Path) -> str:
    """What a file is, by its first bytes: `csynth_xml`, `csynth_rpt`, `cosim`, `utilization`,
    `timing`, or empty when it is none of these.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    if re.match(r"\s*(<\?xml[^>]*>\s*)?<profile>", head):
        return "csynth_xml"
    if re.search(r"^== (Vivado|Vitis) HLS Report for '|^== Synthesis Summary Report", head, re.M):
        return "csynth_rpt"
    if is_cosim(head):
        return "cosim"
    if is_utilization(head):
        return "utilization"
    return "timing" if is_timing(head) else ""


def read_report(path: Path) -> VendorReport:
    """Reads a report of any kind.

    Raises:
        DesignError: if the file is no report, or a damaged one.
    """
    readers = {
        "csynth_xml": read_csynth_xml,
        "csynth_rpt": read_csynth_rpt,
        "cosim": read_cosim_rpt,
        "utilization": read_utilization,
        "timing": read_timing,
    }
    kind = kind_of(path)
    if not kind:
        raise bad_report(
            path,
            "is no report that is known here: C synthesis (.xml, .rpt), co-simulation, or Vivado's "
            "utilization and timing summary",
        )
    return readers[kind](path)


def find_reports(folder: Path) -> tuple[VendorReport, ...]:
    """Every report below a folder, in the order of their paths.

    Files that are no reports are passed over. Of a C-synthesis report that is there as XML and as
    text, the XML is read.

    Raises:
        DesignError: listing every damaged report, or that there is none.
    """
    found: list[VendorReport] = []
    faults: list[Fault] = []
    candidates = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".rpt", ".xml")
        and path.is_file()
        and ".autopilot" not in path.parts  # the compiler's notes to itself
    ]
    stems = {path.with_suffix("") for path in candidates if path.suffix.lower() == ".xml"}
    empty = [p for p in candidates if _NAMED.search(p.name) and p.stat().st_size == 0]
    faults += [
        Fault(str(path), "", "is empty; the run was interrupted or the disk is full")
        for path in empty
    ]
    for path in candidates:
        kind = kind_of(path)
        if not kind or (kind == "csynth_rpt" and path.with_suffix("") in stems):
            continue
        try:
            found.append(read_report(path))
        except DesignError as error:
            faults.extend(error.faults)
    if faults:
        raise DesignError(faults)
    if not found:
        raise DesignError(
            Fault(
                str(folder),
                "",
                "holds no report of Vivado HLS, Vitis HLS or Vivado (*_csynth.xml, *_csynth.rpt, "
                "*_cosim.rpt, vivado_*.rpt)",
            )
        )
    return tuple(found)


def function_of(name: str, top: str, functions: Iterable[str]) -> str:
    """The function whose module or instance this is, or empty.

    HLS prefixes modules with the top's name and adds `_s`, `_1`, `_U0`, `grp_` and `_fu_12`.
    """
    known = set(functions)
    rest = name.rsplit("/", 1)[-1]
    for prefix in ("grp_", f"{top}_"):
        if rest not in known:
            rest = rest.removeprefix(prefix)
    while rest not in known:
        shorter = re.sub(r"_(s|U\d+|fu_\d+|\d+)$", "", rest)
        if shorter == rest:
            return ""
        rest = shorter
    return rest


@dataclass(frozen=True)
class VendorResult:
    """What all reports of one design say together.

    Attributes:
        figures: by name (`lut`, `latency_cycles`, `clock_estimate_ns`, ...): value, source, stage.
        per_layer: by stage and layer: the figures of that layer.
        reports: what was read.
        available: what the device has.
    """

    figures: Mapping[str, Mapping[str, Any]]
    per_layer: Mapping[str, Mapping[str, Mapping[str, int]]]
    reports: tuple[VendorReport, ...]
    available: Mapping[str, int] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """The stage closest to the chip that gives resources, or empty."""
        return str(self.figures.get("lut", {}).get("stage", ""))


def join_reports(
    reports: Sequence[VendorReport],
    top: str,
    functions: Mapping[str, str],
    *,
    is_loaded: bool = False,
) -> VendorResult:
    """Joins reports: each figure from the stage closest to the chip, time from co-simulation first.

    A layer's row is the sum of its functions' (they run at the same time: of cycles the most).
    Reports of functions synthesized as tops of their own serve for these rows too, and are added up
    where no report of the whole design is there (stage `csynth_per_layer`: what joins them is not
    in it, and the latency is that of one function after the other, so an upper bound).

    Args:
        reports: as read.
        top: name of the design.
        functions: by function that is a module of its own: the layer that it is a part of.
        is_loaded: whether a call may begin with a load of weights. The greatest cycles are then
            those of such a call, and the least are taken, which are those of an image alone; where
            a layer's least interval is not told, it has none.

    Raises:
        DesignError: if a report is of another design, or a co-simulation failed.
    """
    faults = []
    whole_design: list[VendorReport] = []
    alone: dict[str, VendorReport] = {}
    for report in _mains(reports):
        function = function_of(report.top, top, functions)
        if report.status not in ("", "Pass"):
            message = f"says that the co-simulation ended with {report.status!r}"
            faults.append(Fault(report.path, "", message))
        elif report.top in (top, "") or report.top.startswith("bd_0_"):  # of export_design
            whole_design.append(report)
        elif function and report.source == "csynth":
            alone[function] = report
        elif not function:
            message = f"is of {report.top!r}, neither {top!r} nor a function of its layers"
            faults.append(Fault(report.path, "", message))
    if faults:
        raise DesignError(faults)
    figures: dict[str, dict[str, Any]] = {}
    available: dict[str, int] = {}
    rows: dict[str, dict[str, dict[str, int]]] = {}
    for report in sorted(whole_design, key=_closeness):
        available.update(report.available)
        figures.update(_figures(report, is_loaded))
        for module in report.modules:
            function = function_of(module.name, top, functions)
            function = function or function_of(module.instance, top, functions)
            if function:
                row = rows.setdefault(report.stage, {}).setdefault(function, {})
                for name, value in _row(module, is_loaded).items():
                    row.setdefault(name, value)
    for function, report in alone.items():
        row = rows.setdefault("csynth", {}).setdefault(function, {})
        for name, figure in _figures(report, is_loaded).items():
            if name in _LAYER_FIGURES:
                row.setdefault(name, figure["value"])
    if alone and "lut" not in figures:
        figures.update(_added(alone.values(), is_loaded))
        available.update(next(iter(alone.values())).available)
    per_layer = {stage: _by_layer(found, functions) for stage, found in rows.items()}
    return VendorResult(figures, per_layer, tuple(reports), available)


def _by_layer(
    rows: Mapping[str, Mapping[str, int]], functions: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    """Rows of functions joined to rows of layers; a figure that a function lacks is left out."""
    parts: dict[str, list[Mapping[str, int]]] = {}
    for function, layer in functions.items():
        if function in rows:
            parts.setdefault(layer, []).append(rows[function])
    return {
        layer: {
            name: (sum if name in RESOURCES else max)(row[name] for row in found)
            for name in _LAYER_FIGURES
            if all(name in row for row in found)
        }
        for layer, found in parts.items()
    }


def _mains(reports: Sequence[VendorReport]) -> list[VendorReport]:
    """The reports of tops; those of functions within them are left out.

    HLS writes one report a function into one folder, the top's twice (`csynth.xml` lists modules).
    """
    mains: dict[tuple[Path, str], VendorReport] = {}
    modules: dict[Path, set[str]] = {}
    for report in reports:
        modules.setdefault(Path(report.path).parent, set()).update(
            row.name for row in report.modules if report.source == "csynth"
        )
    for report in reports:
        folder = Path(report.path).parent
        if report.source == "csynth" and report.top in modules[folder]:
            continue
        key = (folder, report.top) if report.source == "csynth" else (Path(report.path), "")
        known = mains.get(key)
        if known is None or len(known.modules) < len(report.modules):
            mains[key] = report
    return list(mains.values())


def _closeness(report: VendorReport) -> int:
    return _ORDER.index(report.stage) if report.stage in _ORDER else len(_ORDER)


def _figures(report: VendorReport, is_loaded: bool) -> dict[str, dict[str, Any]]:
    values: dict[str, Any] = dict(report.resources)
    values["latency_cycles_min"] = report.latency_cycles_min
    least, most = report.latency_cycles_min, report.latency_cycles_max
    values["latency_cycles"] = least if is_loaded else most
    least, most = report.initiation_interval_min, report.initiation_interval_max
    values["initiation_interval_cycles"] = least if is_loaded else most
    values["clock_period_ns"] = report.clock_period_ns
    values["clock_estimate_ns"] = report.clock_estimate_ns
    values["worst_slack_ns"] = report.worst_slack_ns
    return {
        name: {"value": value, "source": report.source, "stage": report.stage}
        for name, value in values.items()
        if value is not None
    }


def _row(row: ModuleRow, is_loaded: bool) -> dict[str, int]:
    values = {name: getattr(row, name) for name in RESOURCES}
    values["latency_cycles"] = row.latency_cycles_min if is_loaded else row.latency_cycles_max
    if not is_loaded or row.latency_cycles_min == row.latency_cycles_max:
        values["initiation_interval_cycles"] = row.initiation_interval_cycles
    return {name: value for name, value in values.items() if value is not None}


def _added(
    reports: Iterable[VendorReport], is_loaded: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = [{k: v["value"] for k, v in _figures(report, is_loaded).items()} for report in reports]
    joins = dict.fromkeys((*RESOURCES, "latency_cycles"), sum)
    for name in (*joins, "initiation_interval_cycles", "clock_period_ns", "clock_estimate_ns"):
        values = [row[name] for row in rows if name in row]
        if len(values) == len(rows):
            value = joins.get(name, max)(values)
            yield name, {"value": value, "source": "csynth", "stage": "csynth_per_layer"}
