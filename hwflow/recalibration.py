"""The local table of results: every figure that a vendor's report gave beside its estimate.

It stands in the folder of the projects, so that all designs there profit by it and no build removes
it.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from hwflow.errors import DesignError, Fault
from hwflow.workspace import disk_errors

TABLE = "recalibration.csv"
COLUMNS = ("design", "layer", "stage", "tool", "part", "figure", "estimate", "actual")

Factors = dict[str, dict[str, dict[str, float]]]
"""By stage and figure: `factor`, the quartiles `low` and `high`, and the number of `rows`."""


def table_of(project: Path) -> Path:
    """The table that a project's results go to: beside the project."""
    return project.parent / TABLE


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none if there is no file.

    Raises:
        DesignError: if it has other columns, or figures that are no numbers.
        ToolError: if the disk refuses.
    """
    if not path.exists():
        return []
    with disk_errors(f"reading {path.name}"):
        text = path.read_text(errors="replace")
    return _parse(text, str(path))


def local_factors(project: Path) -> Factors:
    """What earlier results say of estimates in the folder of a project; see `factors`.

    Raises:
        DesignError: if the table there is damaged.
        ToolError: if the disk refuses.
    """
    return factors(read_table(table_of(project)))


def appended(path: Path, entries: Iterable[Mapping[str, str]]) -> str:
    """The text of a table with further rows; those that it holds already are not doubled.

    Raises:
        DesignError: if the table is damaged.
        ToolError: if the disk refuses.
    """
    known = read_table(path)
    for entry in entries:
        if entry not in known:
            known.append(dict(entry))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(known)
    return text.getvalue()


def factors_of(text: str) -> Factors:
    """`factors` of a table's text.

    Raises:
        DesignError: if it is damaged.
    """
    return factors(_parse(text, TABLE))


def factors(table: Iterable[Mapping[str, str]]) -> Factors:
    """By stage and figure: what estimates of this table's designs have to be multiplied by.

    The median of actual over estimate, over layers where there are any, else over whole designs;
    with the quartiles between which half of the ratios lie, and their number.
    """
    ratios: dict[tuple[str, str, bool], list[float]] = {}
    for row in table:
        estimate, actual = float(row["estimate"]), float(row["actual"])
        if estimate > 0:
            key = (row["stage"], row["figure"], bool(row["layer"]))
            ratios.setdefault(key, []).append(actual / estimate)
    found: Factors = {}
    for stage, figure, by_layer in sorted(ratios):  # of layers last: they replace whole designs
        values = ratios[stage, figure, by_layer]
        low, middle, high = (
            statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        )
        found.setdefault(stage, {})[figure] = {
            "factor": round(middle, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "rows": len(values),
        }
    return found


def _parse(text: str, where: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise DesignError(
            Fault(where, "", f"must have the columns {','.join(COLUMNS)}; delete it to begin anew")
        )
    rows, faults = [], []
    for row in reader:
        try:
            float(row["estimate"]), float(row["actual"])
        except (TypeError, ValueError):
            faults.append(
                Fault(f"{where}:{reader.line_num}", "", "estimate and actual must be numbers")
            )
        rows.append({name: row[name] or "" for name in COLUMNS})
    if faults:
        raise DesignError(faults)
    return rows
