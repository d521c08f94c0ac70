"""The command `hwflow estimate`: of a project or design, and of layers that a table describes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwflow.errors import DesignError, Fault

if TYPE_CHECKING:
    from hwflow.estimate.figures import Estimate, Figure
    from hwflow.estimate.kernels import KernelEstimates
    from hwflow.estimate.rows import Row

_HEADINGS = ("LUT", "FF", "DSP", "BRAM18", "URAM", "latency", "interval")


def estimate(
    target: Annotated[
        Path | None, typer.Argument(help="A built project, or a design file (YAML).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Layers of hls4ml instead: a CSV file, one a row, columns as docs/estimates.md.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the projects.")] = Path(
        "hls_projects"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Estimate resources and cycles, each figure with its source and its error."""
    if (target is None) == (config is None):
        raise DesignError(
            Fault("", "", "give either a project or a design, or a table of layers by --config.")
        )
    if config is not None:
        _estimate_table(config, as_json)
        return
    from hwflow import project_estimate
    from hwflow.progress import RichProgress

    assert target is not None
    if target.is_dir():
        found = project_estimate.of_project(target)
    else:
        found = project_estimate.of_design(target, output, RichProgress())
    if as_json:
        typer.echo(json.dumps({"status": "done", **found.to_json()}, indent=1))
        return
    typer.echo(f"{found.design} on {found.part}, {found.clock_period_ns:g} ns")
    typer.echo(kernels_to_text(found.estimates))


def _estimate_table(config: Path, as_json: bool) -> None:
    from hwflow.estimate.estimator import estimate_rows
    from hwflow.estimate.rows import read_rows

    rows = read_rows(config)
    estimates = estimate_rows(rows)
    typer.echo(to_json(estimates) if as_json else to_text(rows, estimates))


def kernels_to_text(estimates: KernelEstimates) -> str:
    """Two tables for people, layer by layer: after synthesis, and after place and route."""
    from hwflow.estimate.figures import FIGURES

    rows = {**estimates.layers, "whole": estimates.whole}
    width = max(len(name) for name in rows) + 1
    parts = []
    titles = ("what csynth will say, or has said", "what place and route will leave, or has left")
    for title, after in zip(titles, (False, True), strict=True):
        names = [n for n in FIGURES if not after or n in estimates.whole.after_route]
        headings = [heading for n, heading in zip(FIGURES, _HEADINGS, strict=True) if n in names]
        parts += [title, " " * width + "".join(f"{heading:>18}" for heading in headings)]
        for name, item in rows.items():
            figures = item.after_route if after else item.figures
            cells = [_cell(figures.get(n)) for n in names]
            parts.append(f"{name:<{width}}" + "".join(f"{cell:>18}" for cell in cells))
        parts.append("")
    sources = sorted({f.source.value for i in rows.values() for f in i.all_figures() if f.source})
    parts.append(f"sources: {', '.join(sources)}; +- one standard deviation")
    if "rule" in sources:
        parts.append(
            "rule: counted from the kernels; no synthesis of them is known here, so the error is "
            "that of hls4ml's layers of the same rules, doubled"
        )
    return "\n".join([*parts, *estimates.notes])


def _cell(figure: Figure | None) -> str:
    if figure is None or figure.value is None or figure.uncertainty is None:
        return "-"
    if figure.source in ("csynth", "vivado") and not figure.uncertainty:
        return f"{figure.value:,} {figure.source.value}"
    return f"{figure.value:,} ±{figure.uncertainty:.0%}"


def to_json(estimates: Sequence[Estimate]) -> str:
    """A JSON list, one object an estimate, in order."""
    return json.dumps([item.to_json() for item in estimates], indent=1)


def to_text(rows: Sequence[Row], estimates: Sequence[Estimate]) -> str:
    """A table for people: value and relative error; a mark where the data does not reach.

    Raises:
        DesignError: if rows and estimates differ in number.
    """
    from hwflow.estimate.figures import FIGURES

    if len(rows) != len(estimates):
        raise DesignError(Fault("", "", f"{len(rows)} rows came with {len(estimates)} estimates."))
    lines = [f"{'layer':<28}" + "".join(f"{heading:>16}" for heading in _HEADINGS)]
    remarks = []
    for row, item in zip(rows, estimates, strict=True):
        cells = []
        for name in FIGURES:
            figure = item.figures[name]
            if figure.value is None or figure.uncertainty is None:
                cells.append("-")
                continue
            mark = "*" if figure.outside else ""
            cells.append(f"{figure.value} ±{figure.uncertainty:.0%}{mark}")
        lines.append(f"{row.name[:27]:<28}" + "".join(f"{cell:>16}" for cell in cells))
        reason = item.to_json()["reason"]
        if reason:
            remarks.append(f"line {row.line}: {reason}")
    if any(figure.outside for item in estimates for figure in item.figures.values()):
        remarks.append("* outside the range of the calibration data")
    return "\n".join([*lines, *remarks])
