"""What moves or joins streams: add, concatenate, clone, repack, up-sampling."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.estimate import rules
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row

_REPACK = "repack_stream"
_RESIZE = "resize_nearest"


class Merge(Family):
    """Layers of one loop over the beats; there are no results to calibrate their logic on.

    Source: hls4ml 1.3 templates `nnet_merge_stream.h`, `nnet_stream.h`, `nnet_image_stream.h`.
    """

    name = "merge"
    functions = frozenset(
        {
            "add",
            "subtract",
            "average",
            "maximum",
            "minimum",
            "concatenate1d",
            "concatenate2d",
            "concatenate3d",
            "clone_stream",
            "transpose_2d",
            _REPACK,
            _RESIZE,
        }
    )

    def missing(self, row: Row) -> str | None:
        return None if _beats(row) else "the row gives no size"

    def rule(self, row: Row, figure: str) -> float | None:
        if figure in ("uram", "bram_18k", "dsp"):
            return 0.0
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            return float(_beats(row) + (4 if row.function == _REPACK else 2))
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        lanes = row.types["in"].elements if "in" in row.types else 1
        return {"fixed": 1.0, "elements": float(lanes * row.width("in"))}


def _beats(row: Row) -> int:
    height, width = ("out_h", "out_w") if row.function == _RESIZE else ("in_h", "in_w")
    if row.count(width):
        return (row.count(height) or 1) * row.counts[width]
    elements = row.types["in"].elements if "in" in row.types else 0
    n_in = row.count("n_in")
    return rules.ceil_div(n_in, elements) if n_in and elements and row.function != _RESIZE else 0


FAMILY = Merge()
