"""Rows in, estimates out."""

from __future__ import annotations

from collections.abc import Sequence

from hwflow.estimate import whole
from hwflow.estimate.coefficients import Coefficients, shipped
from hwflow.estimate.figures import CYCLES, FIGURES, Estimate, Figure, Source, unknown
from hwflow.estimate.registry import Family, family_of
from hwflow.estimate.rows import Row

EXACT_ERROR = 0.02
"""Least relative error claimed for any figure."""

BORROWED_ERROR = 0.6
"""Least relative error claimed where another regime's weights stand in."""

STRATEGIES = frozenset({"", "latency", "resource"})
"""Strategies of layers with weights; an empty one is hls4ml's default."""

OUTSIDE_FACTOR = 2.0
"""By how much the error grows outside the range of the data."""


def estimate_rows(rows: Sequence[Row], coefficients: Coefficients | None = None) -> list[Estimate]:
    """Estimates of all rows, in order.

    A design's row (`kind` model) is estimated from the layer rows with the same repository and
    path.

    Args:
        rows: layers and designs.
        coefficients: what to weigh terms with; those shipped by default.
    """
    known = shipped() if coefficients is None else coefficients
    members = whole.members(rows)
    layers = [None if whole.is_whole(row) else estimate_layer(row, known) for row in rows]
    return [
        with_route(
            whole.estimate_whole(rows, layers, index, members[index]) if layer is None else layer,
            known,
        )
        for index, layer in enumerate(layers)
    ]


def estimate_layer(row: Row, coefficients: Coefficients) -> Estimate:
    """The figures of one layer after high-level synthesis."""
    if row.faults:
        return Estimate.none("; ".join(row.faults))
    family = family_of(row)
    if family is None:
        what = f"the function {row.function!r}" if row.function else "a row without a function"
        return Estimate.none(f"no estimator knows {what}")
    reason = family.missing(row)
    if reason:
        return Estimate.none(reason, family.name)
    if family.uses_weights and row.strategy not in STRATEGIES:
        known_names = ", ".join(sorted(STRATEGIES - {""}))
        return Estimate.none(
            f"no results of the strategy {row.strategy[:40]!r}: {known_names} are known",
            family.name,
        )
    outside = outside_ranges(family, row, coefficients)
    notes = list(row.remarks)
    if family.uses_weights and not row.strategy:
        notes.append("no strategy given: hls4ml's default latency is taken")
    if row.types.get("w") is None and family.uses_weights:
        notes.append("no weight type given: hls4ml's default fixed<16,6> is taken")
    if family.uses_weights and row.strategy != "resource" and "n_nonzero_w" not in row.counts:
        notes.append("number of non-zero weights unknown: all are taken as non-zero")
    figures = {name: _figure(family, row, name, coefficients, outside) for name in FIGURES}
    return Estimate(family.name, figures, notes=tuple(notes))


def outside_ranges(family: Family, row: Row, coefficients: Coefficients) -> tuple[str, ...]:
    """Names of the inputs that lie outside what the calibration data holds."""
    ranges = coefficients.ranges.get(family.name)
    if ranges is None:
        return ("family",)
    return tuple(
        sorted(
            name
            for name, value in family.ranges(row).items()
            if name not in ranges or not ranges[name][0] <= value <= ranges[name][1]
        )
    )


def _figure(
    family: Family, row: Row, name: str, coefficients: Coefficients, outside: tuple[str, ...]
) -> Figure:
    regime = family.regime(row, name)
    key = f"{family.name}/{regime}/{name}"
    error = coefficients.errors.get(key)
    ruled = family.rule(row, name)
    if ruled is not None:
        value, source, borrowed = ruled, Source.RULE, False
    else:
        own = f"{family.pool(row, name)}/{name}"
        used = own if own in coefficients.weights else _nearest(family, row, name, coefficients)
        if used is not None:
            terms = family.terms(row, name)
            weights = coefficients.weights[used]
            value = sum(weight * terms.get(term, 0.0) for term, weight in weights.items())
            source, borrowed = Source.FITTED, used != own
        else:
            rough = family.fallback(row, name)
            if rough is None:
                return unknown("no calibration data for this kind of layer")
            value, source, borrowed = rough, Source.RULE, True
    if name == "uram":
        return Figure(round(value), 0.0, source)
    if error is None or borrowed:
        error = coefficients.errors.get(f"{family.name}/{name}", BORROWED_ERROR)
        outside = tuple(sorted({*outside, "regime"}))
    if borrowed:
        error = max(error, BORROWED_ERROR)
    error = max(error, EXACT_ERROR)
    if outside and (name not in CYCLES or source is Source.FITTED):
        error *= OUTSIDE_FACTOR
    return Figure(max(round(value), 0), round(error, 3), source, None, outside)


def _nearest(family: Family, row: Row, name: str, coefficients: Coefficients) -> str | None:
    """The weights that stand in for a pool without its own: most words in common first."""
    words = set(family.pool(row, name).split("_"))
    candidates = []
    for key in sorted(coefficients.weights):
        pool, figure = key.split("/")
        common = len(words & set(pool.split("_")))
        if figure == name and pool.split("_")[0] == family.pool(row, name).split("_")[0]:
            candidates.append((-common, key))
    return min(candidates)[1] if candidates else None


def with_route(estimate: Estimate, coefficients: Coefficients) -> Estimate:
    """The same with the column of what logic synthesis will leave."""
    after: dict[str, Figure] = {}
    for name, (ratio, spread) in coefficients.after_route.items():
        figure = estimate.figures[name]
        if figure.value is None or figure.uncertainty is None:
            after[name] = figure
            continue
        error = (figure.uncertainty**2 + spread**2) ** 0.5
        value = round(figure.value * ratio)
        after[name] = Figure(value, round(error, 3), figure.source, None, figure.outside)
    return Estimate(estimate.family, estimate.figures, after, estimate.notes)
