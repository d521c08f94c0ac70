"""Error tables on real results: `python -m hwflow.estimate.validate --data DIR`.

A repository is judged by coefficients fitted without it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import HwflowError, ToolError
from hwflow.estimate import calibration
from hwflow.estimate.calibration import Measured, distinct, usable
from hwflow.estimate.coefficients import Coefficients
from hwflow.estimate.estimator import estimate_layer, estimate_rows
from hwflow.estimate.figures import FIGURES
from hwflow.estimate.fit import by_layer, by_repository, fit, held_out
from hwflow.estimate.registry import family_of
from hwflow.estimate.rows import Row
from hwflow.estimate.whole import is_whole

SHOWN = tuple(name for name in FIGURES if name != "uram")
HEADINGS = ("BRAM18", "DSP", "FF", "LUT", "latency", "interval")
ORDER = ("bram_18k", "dsp", "ff", "lut", "latency_cycles", "initiation_interval_cycles")
BRIDGE_SECONDS = 1800
BRIDGE_ROWS = 24
"""Rows of a repository that are put beside rule4ml, spread evenly over the table."""


def smape(predicted: float, actual: float) -> float:
    """Symmetric absolute percentage error of one figure: from 0 to 200; two zeros agree."""
    if predicted == actual:
        return 0.0
    return 200.0 * abs(predicted - actual) / (abs(predicted) + abs(actual))


@dataclass(frozen=True)
class Judged:
    """One prediction beside its result.

    Attributes:
        family: estimator.
        repository: whose result it is.
        figure: which figure.
        held_out: predicted without the repository.
        shipped: predicted with all repositories.
        actual: the result.
        within: whether the result lies within two standard deviations of the shipped figure.
        row: the layer.
    """

    family: str
    repository: str
    figure: str
    held_out: float
    shipped: float
    actual: float
    within: bool
    row: Row


def judge(
    measured: Sequence[Measured],
    coefficients: Coefficients,
    group: Callable[[Measured], str] = by_repository,
) -> list[Judged]:
    """Every usable result, judged with and without its group, by default its repository."""
    judged = []
    for figure, results in held_out(measured, coefficients, group).items():
        if figure not in SHOWN:
            continue
        for sample, key, predicted, actual in results:
            own = estimate_layer(sample.row, coefficients).figures[figure]
            value, error = float(own.value or 0), own.uncertainty or 0.0
            within = abs(actual - value) <= max(2 * error * max(value, 1.0), 0.5)
            judged.append(
                Judged(
                    key.split("/")[0],
                    sample.repository,
                    figure,
                    predicted,
                    value,
                    actual,
                    within,
                    sample.row,
                )
            )
    return judged


def table(
    title: str, judged: Sequence[Judged], group: Callable[[Judged], str], held: bool = True
) -> list[str]:
    """A Markdown table of mean SMAPE, a group a line."""
    lines = [f"| {title} | rows | {' | '.join(HEADINGS)} |", "|" + "---|" * (len(HEADINGS) + 2)]
    groups: dict[str, list[Judged]] = defaultdict(list)
    for item in judged:
        groups[group(item)].append(item)
    for name, items in sorted(groups.items()):
        cells = []
        for figure in ORDER:
            errors = [
                smape(item.held_out if held else item.shipped, item.actual)
                for item in items
                if item.figure == figure
            ]
            cells.append(f"{sum(errors) / len(errors):.1f}" if errors else "-")
        count = max(sum(item.figure == figure for item in items) for figure in ORDER)
        lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    return lines


def design_table(rows: Sequence[Row], measured: Sequence[Measured]) -> list[str]:
    """Designs whose layers are all known: their sums beside the results, by repository."""
    results = {sample.row.line: sample for sample in measured}
    judged = []
    for row, item in zip(rows, estimate_rows(rows), strict=True):
        sample = results.get(row.line)
        if sample is None or not is_whole(row):
            continue
        if sample.repository in calibration.FORCED_MULTIPLIERS:
            continue
        for figure in SHOWN:
            value = item.value(figure)
            if value is not None and figure in sample.results:
                actual = sample.results[figure]
                judged.append(
                    Judged("design", sample.repository, figure, value, value, actual, True, row)
                )
    return table("designs of", judged, lambda item: item.repository)


def rule4ml_table(measured: Sequence[Measured], judged: Sequence[Judged], python: str) -> list[str]:
    """Dense layers: rule4ml beside this estimator on the same rows.

    Raises:
        ToolError: if the other Python has no rule4ml or fails.
    """
    samples = [
        sample
        for sample in distinct(list(measured), "lut")
        if (family := family_of(sample.row)) is not None
        and family.name == "dense"
        and usable(sample, "lut")
        and not sample.row.stream
    ]
    samples = _spread(samples)
    layers = [_layer(sample.row) for sample in samples]
    bridge = Path(__file__).with_name("rule4ml_bridge.py")
    try:
        run = subprocess.run(
            [python, "-I", str(bridge)],
            input=json.dumps(layers),
            capture_output=True,
            text=True,
            timeout=BRIDGE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{python}: rule4ml could not be run: {error}.") from error
    if run.returncode != 0:
        last = (run.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise ToolError(f"{python}: rule4ml could not be run: {last}.")
    predictions = json.loads(run.stdout)
    theirs = [
        Judged(
            "rule4ml",
            sample.repository,
            figure,
            predicted[figure],
            predicted[figure],
            sample.results[figure],
            True,
            sample.row,
        )
        for sample, predicted in zip(samples, predictions, strict=True)
        for figure in SHOWN
        if figure in predicted and figure in sample.results
    ]
    lines = {sample.row.line for sample in samples}
    ours = [item for item in judged if item.row.line in lines]
    return [
        *table("rule4ml, dense layers of", theirs, lambda item: item.repository),
        "",
        *table("hwflow, without it", ours, lambda item: item.repository),
        "",
        *table("hwflow, as shipped", ours, lambda item: item.repository, held=False),
    ]


def _spread(samples: Sequence[Measured]) -> list[Measured]:
    """At most `BRIDGE_ROWS` samples of each repository, evenly spread."""
    groups: dict[str, list[Measured]] = defaultdict(list)
    for sample in samples:
        groups[sample.repository].append(sample)
    kept = []
    for group in groups.values():
        step = max(len(group) / BRIDGE_ROWS, 1.0)
        kept += [group[int(i * step)] for i in range(min(len(group), BRIDGE_ROWS))]
    return kept


def _layer(row: Row) -> dict[str, object]:
    weight = row.types.get("w") or row.types["in"]
    return {
        "n_in": row.counts["n_in"],
        "n_out": row.counts["n_out"],
        "width": weight.width,
        "integer_bits": weight.integer_bits,
        "strategy": row.strategy or "latency",
        "reuse_factor": row.reuse_factor or 1,
        "part": row.part,
        "version": (re.findall(r"20\d\d\.\d", row.tool) or [""])[0],
        "activation": bool(row.fused),
    }


def report(data: Path, rule4ml_python: str | None) -> str:
    """All tables as Markdown.

    Raises:
        DesignError: if the data is missing or faulty.
        ToolError: if rule4ml was asked for and could not be run.
    """
    rows, measured = calibration.load(data)
    coefficients = fit(measured)
    judged = judge(measured, coefficients)
    layers = [s for s in measured if (f := family_of(s.row)) and f.uses_weights]
    one_layer_out = judge(layers, coefficients, by_layer)
    convolutions = [item for item in judged if item.family == "convolution"]
    dense = [item for item in judged if item.family == "dense"]
    others = [item for item in judged if item.family not in ("convolution", "dense")]

    def detail(item: Judged) -> str:
        strategy = "Resource" if item.row.strategy == "resource" else "Latency"
        return f"{item.repository}, {item.row.tool_family}, {strategy}"

    parts = [
        "### Convolutions, leave one repository out",
        *table("repository", convolutions, detail),
        "",
        "### Convolutions, leave one layer out",
        *table("repository", [i for i in one_layer_out if i.family == "convolution"], detail),
        "",
        "### Convolutions, as shipped",
        *table("repository", convolutions, detail, held=False),
        "",
        "### Dense layers, leave one repository out",
        *table("repository", dense, detail),
        "",
        "### Dense layers, leave one layer out",
        *table("repository", [i for i in one_layer_out if i.family == "dense"], detail),
        "",
        "### Dense layers, as shipped",
        *table("repository", dense, detail, held=False),
        "",
        "### Other layers, leave one repository out",
        *table("family", others, lambda item: item.family),
        "",
        "### Other layers, as shipped",
        *table("family", others, lambda item: item.family, held=False),
        "",
        "### Whole designs, as shipped",
        *design_table(rows, measured),
        "",
        "### How often the result lies within twice the stated error",
        *_coverage(judged),
    ]
    if rule4ml_python is not None:
        parts += [
            "",
            "### rule4ml beside it",
            *rule4ml_table(measured, judged, rule4ml_python),
        ]
    return "\n".join(parts) + "\n"


def _coverage(judged: Sequence[Judged]) -> list[str]:
    lines = [f"| family | {' | '.join(HEADINGS)} |", "|" + "---|" * (len(HEADINGS) + 1)]
    for family in sorted({item.family for item in judged}):
        cells = []
        for figure in ORDER:
            hits = [i.within for i in judged if i.family == family and i.figure == figure]
            cells.append(f"{sum(hits) / len(hits):.0%}" if hits else "-")
        lines.append(f"| {family} | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the error tables."""
    parser = argparse.ArgumentParser(prog="hwflow.estimate.validate", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with calibration.csv")
    parser.add_argument(
        "--rule4ml-python",
        help="a Python that has rule4ml installed, to put its errors beside these",
    )
    options = parser.parse_args(arguments)
    try:
        print(report(options.data, options.rule4ml_python), end="")
    except HwflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
