"""Activations by table: softmax, sigmoid, tanh and others that read one entry an element."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hwflow.estimate import rules
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row


class Table(Family):
    """A table look-up an element; softmax adds them up and multiplies by the reciprocal.

    Source: hls4ml 1.3 templates `nnet_activation.h`, `nnet_activation_stream.h`.
    """

    name = "table"
    functions = frozenset(
        {
            "softmax",
            "softmax_stable",
            "softmax_latency",
            "sigmoid",
            "tanh",
            "elu",
            "selu",
            "softplus",
            "softsign",
            "silu",
            "gelu",
        }
    )

    def missing(self, row: Row) -> str | None:
        if "in" not in row.types:
            return "the row gives no input type"
        return None if row.count("n_in") or row.types["in"].elements else "the row gives no n_in"

    def regime(self, row: Row, figure: str) -> str:
        kind = "softmax" if _is_softmax(row) else "plain"
        return f"{row.tool_family}_{kind}_{'stream' if _streamed(row) else 'parallel'}"

    def rule(self, row: Row, figure: str) -> float | None:
        lanes, elements = _lanes(row), _elements(row)
        if figure == "uram":
            return 0.0
        if figure == "dsp":
            return float(lanes) if _is_softmax(row) else 0.0
        if figure == "bram_18k":
            tables = rules.ceil_div(lanes, 2)
            if not _is_softmax(row):
                return float(tables)
            return float(lanes if row.vitis and not _streamed(row) else tables + 1)
        if figure == "initiation_interval_cycles" and not _streamed(row):
            return 1.0
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            beats = _beats(row)
            if not _is_softmax(row):
                if figure == "initiation_interval_cycles" and beats == 1:
                    return 1.0
                slow = row.seven_series and row.target_ns < 20
                return float(beats + 2 if beats > 1 else 3 if slow else 1)
            if _streamed(row):
                steps = rules.ceil_div(elements, lanes)
                return float(beats * steps + steps + 4)
            scale = (3.0 if row.seven_series else 1.0) * 5 / row.target_ns
            return float(max(round(2 + scale * math.log2(max(elements, 2))), 2))
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        lanes, elements, bits = _lanes(row), _elements(row), row.width("in")
        slow = 1.0 if row.seven_series and row.target_ns < 20 else 0.0
        return {
            "fixed": 1.0,
            "elements": float(elements * bits),
            "lanes": float(lanes * bits),
            "registers": slow * elements * bits,
        }

    def ranges(self, row: Row) -> Mapping[str, float]:
        return {"elements": _elements(row), "in_width": row.width("in")}


def _streamed(row: Row) -> bool:
    """Whether the row speaks of a whole stream; `softmax_stable` is the body for one beat."""
    return row.stream and row.function != "softmax_stable"


def _is_softmax(row: Row) -> bool:
    return row.function.startswith("softmax")


def _elements(row: Row) -> int:
    return row.types["in"].elements or row.count("n_in") or 1


def _beats(row: Row) -> int:
    return rules.ceil_div(row.count("n_in") or 1, _elements(row)) if _streamed(row) else 1


def _lanes(row: Row) -> int:
    """Elements worked on at once; only a streamed softmax heeds the reuse factor."""
    if _is_softmax(row) and _streamed(row) and row.reuse_factor:
        return rules.ceil_div(_elements(row), row.reuse_factor)
    return _elements(row)


FAMILY = Table()
