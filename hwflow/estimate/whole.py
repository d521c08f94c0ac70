"""Whole designs: the sum of the layers that a table gives for them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from hwflow.estimate import rules
from hwflow.estimate.figures import FIGURES, Estimate, Figure, Source, unknown
from hwflow.estimate.rows import Row

SUMMED = ("lut", "ff", "dsp", "bram_18k", "uram")
FIFO_LUT_PER_BIT = 1.2
FIFO_CONTROL_LUT = 80
FIFO_CONTROL_FF = 30
DESIGN_ERROR = 0.25
"""Least relative error of a sum: the glue between layers is not modelled."""


def is_whole(row: Row) -> bool:
    """Whether a row describes a design of several layers."""
    return row.kind in ("model", "model_impl")


def members(rows: Sequence[Row]) -> dict[int, list[int]]:
    """Positions of the layer rows of every design, by the design's position.

    A design's layers bear its repository and path. Where several designs bear the same, or none,
    they are the rows that follow it.
    """
    designs: dict[tuple[str, str], list[int]] = defaultdict(list)
    layers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        (designs if is_whole(row) else layers)[row.group].append(position)
    found = {}
    for group, positions in designs.items():
        if len(positions) == 1 and group[1]:
            found[positions[0]] = layers[group]
            continue
        for position in positions:
            found[position] = _following(rows, position)
    return found


def _following(rows: Sequence[Row], index: int) -> list[int]:
    end = index + 1
    while end < len(rows) and not is_whole(rows[end]) and rows[end].group == rows[index].group:
        end += 1
    return list(range(index + 1, end))


def estimate_whole(
    rows: Sequence[Row],
    layers: Sequence[Estimate | None],
    index: int,
    positions: Sequence[int],
) -> Estimate:
    """The design at `index`, from the estimates of its layers.

    Layers run at the same time when they are streamed: the interval is that of the slowest, and
    so, nearly, is the latency. Otherwise latencies add up.

    Args:
        rows: the table.
        layers: the estimates of its layers; none where a row is a design.
        index: the design's position.
        positions: those of its layers.
    """
    if rows[index].faults:
        return Estimate.none("; ".join(rows[index].faults), "design")
    parts = [(rows[p], layers[p]) for p in positions]
    if not positions:
        return Estimate.none(
            "a design is estimated from its layers: give one row a layer after it, with the same "
            "source_repo and path",
            "design",
        )
    figures: dict[str, Figure] = {}
    for name in FIGURES:
        lacking = [
            rows[p].name
            for p in positions
            if (part := layers[p]) is None or part.figures[name].value is None
        ]
        if lacking:
            figures[name] = unknown(f"no estimate of its layers {', '.join(lacking[:4])}")
            continue
        known = [part.figures[name] for _, part in parts if part is not None]
        streamed = any(row.stream for row, _ in parts)
        figures[name] = _combined(name, known, streamed)
    fifos = [_fifo(row) for row, _ in parts if row.stream]
    for name, extra in zip(("lut", "ff", "bram_18k"), _totals(fifos), strict=True):
        figure = figures[name]
        if figure.value is not None and extra:
            figures[name] = Figure(
                figure.value + extra, figure.uncertainty, figure.source, None, figure.outside
            )
    return Estimate("design", figures, notes=(f"sum of {len(positions)} layers and their FIFOs",))


def _combined(name: str, known: Sequence[Figure], streamed: bool) -> Figure:
    values = [figure.value or 0 for figure in known]
    if name in SUMMED:
        value = sum(values)
        errors = [(f.uncertainty or 0.0) * max(f.value or 0, 1) for f in known]
        error = math.sqrt(sum(e * e for e in errors)) / max(value, 1)
    elif name == "latency_cycles" and not streamed:
        value = sum(values) + len(values)
        error = max((f.uncertainty or 0.0) for f in known)
    else:
        value = max(values)
        error = max((f.uncertainty or 0.0) for f in known)
    source = Source.FITTED if any(f.source is Source.FITTED for f in known) else Source.RULE
    outside = tuple(sorted({item for figure in known for item in figure.outside}))
    error = 0.0 if name == "uram" else max(error, DESIGN_ERROR)
    return Figure(value, round(error, 3), source, None, outside)


def _fifo(row: Row) -> tuple[float, float, int]:
    """LUT, FF and 18-kbit blocks of the FIFO behind a layer, as deep as its feature map."""
    out = row.types.get("out")
    if out is None or not out.elements:
        return 0.0, 0.0, 0
    depth = (row.count("out_h") or 1) * (row.count("out_w") or 0)
    if not depth:
        depth = rules.ceil_div(row.count("n_out", "n_in") or out.elements, out.elements)
    blocks = rules.fifo_bram_18k(out.width, out.elements, depth, row.vitis)
    bits = out.width * out.elements
    lut = FIFO_CONTROL_LUT + (0.0 if blocks else FIFO_LUT_PER_BIT * bits)
    return lut, float(FIFO_CONTROL_FF), blocks


def _totals(fifos: Sequence[tuple[float, float, int]]) -> tuple[int, int, int]:
    return (
        round(sum(fifo[0] for fifo in fifos)),
        round(sum(fifo[1] for fifo in fifos)),
        sum(fifo[2] for fifo in fifos),
    )
