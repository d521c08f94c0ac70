"""Real results to calibrate and to validate on; they are read, never shipped.

The table's result columns are those of the tools' reports: `latency_max`, `ii_max` (else `ii`),
`lut ff dsp bram18 uram`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, Fault
from hwflow.estimate.registry import family_of
from hwflow.estimate.rows import Row, read_rows

RESULT_COLUMNS: dict[str, tuple[str, ...]] = {
    "lut": ("lut",),
    "ff": ("ff",),
    "dsp": ("dsp",),
    "bram_18k": ("bram18",),
    "uram": ("uram",),
    "latency_cycles": ("latency_max",),
    "initiation_interval_cycles": ("ii_max", "ii"),
}
"""Where the table holds each figure: the first column that is filled."""

FORCED_MULTIPLIERS = ("ArgyKokk/hls4ml_MLP_estimator",)
"""Repositories whose designs force how products are built: nothing that multiplies is fitted."""

HLS_TO_VIVADO = {"lut": 0.46, "ff": 0.79, "dsp": 1.00, "bram_18k": 0.78}
"""Medians of 39 pairs of high-level and logic synthesis results."""

HLS_TO_VIVADO_SPREAD = {"lut": 0.35, "ff": 0.25, "dsp": 0.05, "bram_18k": 0.30}
"""How far a single design may be from the median, relative."""


@dataclass(frozen=True)
class Measured:
    """A row with its real results.

    Attributes:
        row: the description.
        repository: who published it.
        results: figures by name.
    """

    row: Row
    repository: str
    results: Mapping[str, float]


def load(directory: Path) -> tuple[list[Row], list[Measured]]:
    """All rows of `calibration.csv` in a folder, and those with results.

    Raises:
        DesignError: if the file is missing or faulty.
    """
    path = directory / "calibration.csv"
    if not path.is_file():
        raise DesignError(
            Fault(str(path), "", "is missing; give the folder that holds calibration.csv.")
        )
    rows = read_rows(path)
    faults = [Fault(f"{path}:{row.line}", "", f"{text}.") for row in rows for text in row.faults]
    if faults:
        raise DesignError(faults)
    by_line: dict[int, dict[str, float]] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for record in reader:
            by_line[reader.line_num] = _results(record)
    measured = [
        Measured(row, row.group[0], by_line[row.line]) for row in rows if by_line.get(row.line)
    ]
    return rows, measured


def _results(record: Mapping[str, str]) -> dict[str, float]:
    results = {}
    for figure, columns in RESULT_COLUMNS.items():
        text = next((record[c] for c in columns if record.get(c)), "")
        if text:
            results[figure] = float(text)
    return results


def usable(measured: Measured, figure: str) -> bool:
    """Whether a result may be fitted or judged."""
    row = measured.row
    if figure not in measured.results:
        return False
    family = family_of(row)
    if family is None or family.missing(row):
        return False
    multiplies = family.uses_weights or family.name in ("table", "normalization")
    return not (measured.repository in FORCED_MULTIPLIERS and multiplies)


def distinct(samples: list[Measured], figure: str) -> list[Measured]:
    """The samples without those that repeat description and result."""
    seen: set[object] = set()
    kept = []
    for sample in samples:
        row = sample.row
        key = (
            sample.repository,
            row.function,
            row.tool,
            row.part,
            row.clock_ns,
            row.strategy,
            row.reuse_factor,
            tuple(sorted(row.counts.items())),
            tuple(sorted(row.types.items(), key=lambda item: item[0])),
            sample.results[figure],
        )
        if key not in seen:
            seen.add(key)
            kept.append(sample)
    return kept
