"""Batch normalization: one product and one sum an element."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.estimate import rules
from hwflow.estimate.engine import DEFAULT_TYPE
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row

SHARED_CYCLES = 6
"""Cycles a beat takes at most where the reuse factor makes elements share multipliers."""


class Normalization(Family):
    """Batch normalization that was not folded away.

    Source: hls4ml 1.3 templates `nnet_batchnorm.h`, `nnet_batchnorm_stream.h`.
    """

    name = "normalization"
    functions = frozenset({"normalize"})

    def missing(self, row: Row) -> str | None:
        if "in" not in row.types:
            return "the row gives no input type"
        return None if row.count("n_in") else "the row gives no n_in"

    def regime(self, row: Row, figure: str) -> str:
        return "stream" if row.stream else "parallel"

    def rule(self, row: Row, figure: str) -> float | None:
        lanes = _lanes(row)
        if figure in ("uram", "bram_18k"):
            return 0.0
        if figure == "dsp":
            scale = row.types.get("w") or row.types.get("b") or DEFAULT_TYPE
            each = rules.dsp_per_product(row.width("in"), scale.width)
            return lanes * each * rules.constant_needs_multiplier(scale)
        beats = rules.ceil_div(row.counts["n_in"], lanes) if row.stream else 1
        if row.stream and beats > 1:
            beats *= min(row.reuse_factor or 1, SHARED_CYCLES)
        if figure == "initiation_interval_cycles" and beats == 1:
            return 1.0
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            return float(beats + 2 if beats > 1 else 1 if row.stream else 0)
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        bits = float(_lanes(row) * row.width("in"))
        slow = bits if row.seven_series and row.target_ns < 5 else 0.0
        return {"fixed": 1.0, "elements": bits, "registers": slow}

    def ranges(self, row: Row) -> Mapping[str, float]:
        return {"elements": _lanes(row), "in_width": row.width("in")}


def _lanes(row: Row) -> int:
    return row.types["in"].elements or row.count("n_in") or 1


FAMILY = Normalization()
