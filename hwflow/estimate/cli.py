"""The command `hwflow estimate`: figures of layers that a table describes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwflow.errors import DesignError, Fault

if TYPE_CHECKING:
    from hwflow.estimate.figures import Estimate
    from hwflow.estimate.rows import Row

_HEADINGS = ("LUT", "FF", "DSP", "BRAM18", "URAM", "latency", "interval")


def estimate(
    config: Annotated[
        Path,
        typer.Option("--config", help="CSV file, one layer a row, columns as docs/estimates.md."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """Estimate resources and cycles of the layers in a table, each with its error.

    Raises:
        DesignError: if the file is no such table. A faulty row is null with a reason.
    """
    from hwflow.estimate.estimator import estimate_rows
    from hwflow.estimate.rows import read_rows

    rows = read_rows(config)
    estimates = estimate_rows(rows)
    typer.echo(to_json(estimates) if as_json else to_text(rows, estimates))


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
