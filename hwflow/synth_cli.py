"""The commands `synth`, `pack` and `ingest`; mounted by the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hwflow.ingest import Comparison
    from hwflow.synth import SynthResult

_Project = Annotated[Path, typer.Argument(help="Folder of a built project.")]
_Projects = Annotated[list[Path], typer.Argument(help="Folders of built projects.")]


def synth(
    projects: _Projects,
    stage: Annotated[
        str, typer.Option(help="csim, csynth, cosim or vivado; what it needs is run before.")
    ] = "csynth",
    timeout: Annotated[float | None, typer.Option(help="Seconds that a stage may take.")] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Each layer alone, side by side, added up.")
    ] = False,
    implement: Annotated[
        bool, typer.Option("--implement", help="With vivado: place and route too.")
    ] = False,
    executor: Annotated[str, typer.Option(help="local, dask or slurm.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Jobs at once.")] = None,
    address: Annotated[
        str, typer.Option(help="Dask scheduler (tcp://host:8786) or Slurm partition.")
    ] = "",
    log: Annotated[bool, typer.Option("--log", help="Show every line of the tool's log.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Run the vendor's tools on built projects and put their figures into metrics.json."""
    from hwflow.progress import RichProgress
    from hwflow.synth import synthesize_all

    results = synthesize_all(
        projects,
        RichProgress(),
        stage=stage,
        per_layer=per_layer,
        implement=implement,
        executor=executor,
        workers=workers,
        address=address,
        timeout_seconds=timeout,
        on_line=_echo if log else lambda line: None,
    )
    if as_json:
        _print_json([_result_json(result) for result in results])
        return
    for result in results:
        _show(result, stage)


def pack(
    project: _Project,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The zip; default beside the project.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Zip a project so that another machine synthesizes it with one command."""
    from hwflow.pack import pack as write

    target = write(project, output)
    if as_json:
        _print_json({"status": "done", "archive": str(target), "bytes": target.stat().st_size})
        return
    print(f"{target}: {target.stat().st_size} bytes")
    print("there: unzip it, sh run_synthesis.sh; back here: hwflow ingest PROJECT reports.tar.gz")


def ingest(
    project: _Project,
    reports: Annotated[Path, typer.Argument(help="Folder, .zip or .tar.gz of reports.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Take in the vendor's reports: they replace estimates, which are shown beside them."""
    from hwflow.ingest import ingest as take_in

    comparison = take_in(project, reports)
    if as_json:
        _print_json({"status": "done", **_comparison_json(comparison)})
        return
    _show_comparison(comparison)


def _echo(line: str) -> None:
    print(line, file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "rows": [
            {
                "layer": row.layer,
                "stage": row.stage,
                "figure": row.figure,
                "estimate": row.estimate,
                "actual": row.actual,
                "ratio": row.ratio,
            }
            for row in comparison.rows
        ],
        "recalibration": comparison.factors,
        "resources": comparison.metrics["resources"],
        "latency": comparison.metrics["latency"],
    }


def _result_json(result: SynthResult) -> dict[str, Any]:
    return {
        "status": "done",
        "project": str(result.project.folder),
        "jobs": [
            {
                "name": outcome.name,
                "folder": outcome.folder,
                "seconds": outcome.seconds,
                "resumed": list(outcome.resumed),
            }
            for outcome in result.outcomes
        ],
        "remarks": [{"meaning": note.meaning, "change": note.change} for note in result.remarks],
        **(_comparison_json(result.comparison) if result.comparison else {}),
    }


def _show(result: SynthResult, stage: str) -> None:
    for outcome in result.outcomes:
        times = ", ".join(
            f"{name} {seconds:g} s{' (reused)' if name in outcome.resumed else ''}"
            for name, seconds in outcome.seconds.items()
        )
        print(f"{outcome.name}: {times}; {outcome.folder}")
    if result.comparison:
        _show_comparison(result.comparison)
    else:
        print(f"{stage}: passed")
    for note in result.remarks:
        print(f"note: {note}")


def _show_comparison(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "stage", "figure", "estimate", "actual", "actual / estimate")
    for column in table.columns[3:]:
        column.justify = "right"
    for row in comparison.rows:
        table.add_row(
            row.layer or "whole",
            row.stage,
            row.figure,
            "" if row.estimate is None else f"{row.estimate:,g}",
            f"{row.actual:,.10g}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
        )
    Console(highlight=False).print(table)
    for stage, factors in comparison.factors.items():
        for figure, factor in factors.items():
            print(
                f"recalibration: {figure} at {stage}: x {factor['factor']:g} "
                f"({factor['low']:g} to {factor['high']:g}, {factor['rows']:g} rows)"
            )
