"""Zero padding of a stream."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row


class Padding(Family):
    """Zero padding.

    Source: hls4ml 1.3 template `nnet_padding_stream.h`.
    """

    name = "padding"
    functions = frozenset({"zeropad2d_cl", "zeropad1d_cl"})

    def missing(self, row: Row) -> str | None:
        return None if row.count("out_w") else "the row gives no output size"

    def rule(self, row: Row, figure: str) -> float | None:
        if figure in ("uram", "bram_18k", "dsp"):
            return 0.0
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            return float(_pixels(row) + (13 if row.vitis else 3))
        if row.vitis:
            channels = _channels(row)
            return 42.0 + 16 * channels if figure == "ff" else min(390.0 + 2 * channels, 445.0)
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        if figure == "ff":
            return {
                "fixed": 1.0,
                "counters": float(_pixels(row).bit_length()),
            }
        return {"fixed": 1.0, "selection": float(_channels(row) * row.width("in"))}

    def ranges(self, row: Row) -> Mapping[str, float]:
        return {"channels": _channels(row), "in_width": row.width("in"), "pixels": _pixels(row)}


def _channels(row: Row) -> int:
    elements = row.types["in"].elements if "in" in row.types else 0
    return elements or row.count("n_chan") or 1


def _pixels(row: Row) -> int:
    return (row.count("out_h") or 1) * row.counts["out_w"]


FAMILY = Padding()
