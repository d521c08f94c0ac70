"""`hwflow ingest`: the vendor's results replace estimates, and show how good those were."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwflow.errors import DesignError, Fault
from hwflow.hls_folder import HlsFolder, read_project
from hwflow.project_estimate import of_metrics
from hwflow.recalibration import Factors, appended, factors_of, table_of
from hwflow.report.vendor_archive import extract_reports
from hwflow.report.vendor_files import VendorResult, find_reports, join_reports
from hwflow.report.vendor_report import RESOURCES
from hwflow.toolchain.synthesis import design_digest
from hwflow.workspace import MANIFEST, file_digest, json_bytes, write_atomically

METRICS = "metrics.json"

_FIGURES = (*RESOURCES, "latency_cycles", "initiation_interval_cycles")
_VENDOR_SOURCES = ("csynth", "cosim", "vivado")


@dataclass(frozen=True)
class Row:
    """An estimate beside what the tool found.

    Attributes:
        layer: name, or empty for the whole design.
        stage: of the result.
        figure: name.
        estimate: None where there was none.
        actual: of the tool.
    """

    layer: str
    stage: str
    figure: str
    estimate: float | None
    actual: float

    @property
    def ratio(self) -> float | None:
        """Actual over estimate; None without an estimate, or with one of zero."""
        return self.actual / self.estimate if self.estimate else None


@dataclass(frozen=True)
class Comparison:
    """Estimates beside results.

    Attributes:
        rows: whole design first, then layer by layer.
        factors: by stage and figure: median of actual over estimate in the local table, and of
            how many rows.
        metrics: what `metrics.json` now holds.
    """

    rows: tuple[Row, ...]
    factors: Mapping[str, Mapping[str, Mapping[str, float]]]
    metrics: Mapping[str, Any]


def ingest(project: Path, reports: Path) -> Comparison:
    """Takes in a folder or an archive (.zip, .tar, .tar.gz) of reports.

    Raises:
        DesignError: if the project or the reports cannot be used; the project is then unchanged.
        ToolError: if the disk refuses.
    """
    target = read_project(project)
    if reports.is_dir():
        return merge(target.folder, target.name, _joined(target, reports), reports)
    with tempfile.TemporaryDirectory(prefix="hwflow-ingest-") as name:
        folder = Path(name).resolve()
        extract_reports(reports, folder)
        return merge(target.folder, target.name, _joined(target, folder), folder)


def _joined(target: HlsFolder, folder: Path) -> VendorResult:
    return join_reports(
        find_reports(folder), target.name, target.functions, is_loaded=target.is_loaded
    )


# --- metrics -------------------------------------------------------------------------------------


def merge(project: Path, design: str, result: VendorResult, base: Path | None = None) -> Comparison:
    """Writes results into a project's `metrics.json` and the `recalibration.csv` beside it.

    What was estimated is kept under `estimates`. Both files are replaced as a whole, never left in
    part; doing it again with the same reports changes nothing.

    Args:
        project: its folder.
        design: its name.
        result: figures of the reports.
        base: folder to which the reports' paths are given; default: their names alone.

    Raises:
        DesignError: if `metrics.json` is damaged.
        ToolError: if the disk refuses.
    """
    metrics = _read_metrics(project)
    estimates = metrics.get("estimates")
    if not isinstance(estimates, dict):
        estimates = {
            key: metrics[key]
            for key in ("resources", "latency")
            if isinstance(metrics.get(key), dict)
            and metrics[key].get("source") not in _VENDOR_SOURCES
        }
    rows = tuple(_rows(estimates, result))
    table = appended(table_of(project), _entries(design, result, rows))
    factors = factors_of(table)
    updated = {
        **metrics,
        "resources": _resources(metrics, estimates, result),
        "latency": _latency(metrics, estimates, result),
        "estimates": estimates,
        "vendor": {
            "figures": {name: dict(figure) for name, figure in result.figures.items()},
            "reports": [_reported(report.to_json(), base) for report in result.reports],
            "per_layer": {
                stage: {layer: dict(row) for layer, row in layers.items()}
                for stage, layers in result.per_layer.items()
            },
            "sources": design_digest(project / "hls"),
        },
        "recalibration": factors,
    }
    if "estimate" in metrics:
        updated["estimate"] = _estimate(project, updated, factors)
    write_atomically(table_of(project), table.encode())
    write_atomically(project / METRICS, json_bytes(updated))
    _update_manifest(project)
    return Comparison(rows, factors, updated)


def carried_over(project: Path, hls: Path) -> dict[str, Any] | None:
    """What a new build of the same sources keeps of a project's results.

    Args:
        project: as it was published.
        hls: the sources of the new build.

    Returns:
        Keys of `metrics.json`; nothing if there are no results; none if they are of other sources.
    """
    try:
        metrics = _read_metrics(project)
    except DesignError:  # damaged: the new build replaces it
        return {}
    vendor = metrics.get("vendor")
    if not isinstance(vendor, dict):
        return {}
    if vendor.get("sources") != design_digest(hls):
        return None
    kept = ("resources", "latency", "estimates", "vendor", "recalibration")
    return {key: metrics[key] for key in kept if key in metrics}


def _estimate(project: Path, metrics: Mapping[str, Any], factors: Factors) -> Any:
    """The estimates with results in their place; as they were where there is no plan."""
    try:
        plan = json.loads((project / "plan.json").read_bytes())
        return of_metrics(metrics, plan, factors).to_json()
    except (OSError, ValueError, KeyError, TypeError):
        return metrics["estimate"]


def _entries(design: str, result: VendorResult, rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """The rows of the local table: those with an estimate."""
    tools = {report.stage: report for report in result.reports}
    for row in rows:
        if row.estimate is None:
            continue
        report = tools.get(row.stage.removesuffix("_per_layer"))
        yield {
            "design": design,
            "layer": row.layer,
            "stage": row.stage,
            "tool": report.tool if report else "",
            "part": report.part if report else "",
            "figure": row.figure,
            "estimate": f"{row.estimate:g}",
            "actual": f"{row.actual:g}",
        }


def _read_metrics(project: Path) -> dict[str, Any]:
    path = project / METRICS
    try:
        metrics = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DesignError(
            Fault(str(path), "", f"is damaged ({error}); run hwflow build --force")
        ) from error
    if not isinstance(metrics, dict):
        raise DesignError(Fault(str(path), "", "must hold an object; run hwflow build --force"))
    return metrics


def _value(figure: Any) -> float | None:
    if isinstance(figure, Mapping):
        figure = figure.get("value")
    return figure if isinstance(figure, int | float) and not isinstance(figure, bool) else None


def _per_layer(section: Any) -> dict[str, Mapping[str, Any]]:
    """The rows of layers, whether they stand in a list (with their `name`) or under their names."""
    rows = section.get("per_layer") if isinstance(section, Mapping) else None
    if isinstance(rows, Mapping):
        return {name: row for name, row in rows.items() if isinstance(row, Mapping)}
    if isinstance(rows, Sequence) and not isinstance(rows, str):
        named = [row for row in rows if isinstance(row, Mapping)]
        return {str(row.get("name", row.get("layer", ""))): row for row in named}
    return {}


def _rows(estimates: Mapping[str, Any], result: VendorResult) -> Iterator[Row]:
    resources, latency = estimates.get("resources", {}), estimates.get("latency", {})
    for figure in _FIGURES:
        if figure in result.figures:
            found = result.figures[figure]
            guess = _value(resources.get(figure, latency.get(figure)))
            yield Row("", str(found["stage"]), figure, guess, found["value"])
    guesses: dict[str, dict[str, Any]] = {}
    for section in (resources, latency):
        for layer, row in _per_layer(section).items():
            guesses.setdefault(layer, {}).update(row)
    for stage, layers in result.per_layer.items():
        for layer, actual in layers.items():
            for figure in _FIGURES:
                if figure in actual:
                    guess = _value(guesses.get(layer, {}).get(figure))
                    yield Row(layer, stage, figure, guess, actual[figure])


def _resources(
    metrics: Mapping[str, Any], estimates: Mapping[str, Any], result: VendorResult
) -> dict[str, Any]:
    if "lut" not in result.figures:
        return dict(metrics.get("resources", {}))
    used = {name: result.figures[name]["value"] for name in RESOURCES if name in result.figures}
    planned = estimates.get("resources", {}).get("available")
    known = (
        planned if isinstance(planned, Mapping) else metrics.get("resources", {}).get("available")
    )
    available = dict(known or result.available)
    stages = ("routed", "placed", "synthesized", "csynth")
    stage = next((stage for stage in stages if result.per_layer.get(stage)), "")
    rows: Any = {name: dict(row) for name, row in result.per_layer.get(stage, {}).items()}
    if isinstance(estimates.get("resources", {}).get("per_layer"), list):
        rows = [{"name": name, **row} for name, row in rows.items()]
    fits = all(used[name] <= available[name] for name in used if name in available)
    return {
        "source": result.figures["lut"]["source"],
        "stage": result.figures["lut"]["stage"],
        **used,
        "available": available,
        "fits": fits if available else None,
        "per_layer": rows,
    }


def _latency(
    metrics: Mapping[str, Any], estimates: Mapping[str, Any], result: VendorResult
) -> dict[str, Any]:
    figures = result.figures
    if "latency_cycles" not in figures and "initiation_interval_cycles" not in figures:
        return dict(metrics.get("latency", {}))
    first = figures.get("latency_cycles", figures.get("initiation_interval_cycles", {}))
    latency: dict[str, Any] = {"source": first["source"], "stage": first["stage"]}
    for name in ("latency_cycles_min", "latency_cycles", "initiation_interval_cycles"):
        if name in figures:
            latency[name] = figures[name]["value"]
    for name in ("clock_period_ns", "clock_estimate_ns", "worst_slack_ns"):
        if name in figures:
            latency[name] = figures[name]["value"]
    planned = _value(estimates.get("latency", {}).get("clock_period_ns"))
    period = max(
        latency.get("clock_period_ns") or planned or 0, latency.get("clock_estimate_ns", 0)
    )
    interval = latency.get("initiation_interval_cycles")
    if interval and period:
        latency["frames_per_second"] = round(1e9 / (interval * period), 3)
    slowest = {
        layer: row["initiation_interval_cycles"]
        for layer, row in result.per_layer.get("csynth", {}).items()
        if "initiation_interval_cycles" in row
    }
    if "load_cycles" in estimates.get("latency", {}):  # no report tells it apart
        latency["load_cycles"] = estimates["latency"]["load_cycles"]
    if slowest:
        latency["bottleneck"] = max(sorted(slowest), key=lambda layer: slowest[layer])
    return latency


def _reported(report: dict[str, Any], base: Path | None) -> dict[str, Any]:
    path = Path(report["path"])
    inside = base is not None and path.is_relative_to(base)
    return {**report, "path": path.relative_to(base).as_posix() if inside and base else path.name}


def _update_manifest(project: Path) -> None:
    path = project / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        entry = manifest["files"][METRICS]
    except (OSError, ValueError, KeyError, TypeError):
        return
    metrics = project / METRICS
    entry.update(sha256=file_digest(metrics), size=metrics.stat().st_size)
    write_atomically(path, json_bytes(manifest))
