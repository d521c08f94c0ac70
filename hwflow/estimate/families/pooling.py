"""Pooling of a stream through a line buffer, and global pooling."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row


class Pooling(Family):
    """Maximum and average pooling.

    Source: hls4ml 1.3 template `nnet_pooling_stream.h`.
    """

    name = "pooling"
    functions = frozenset(
        {"pooling2d_cl", "pooling1d_cl", "global_pooling2d_cl", "global_pooling1d_cl"}
    )

    def missing(self, row: Row) -> str | None:
        if not row.stream:
            return "only streamed pooling (io_stream) can be estimated"
        if not row.count("in_w"):
            return "the row gives no input size"
        if not _is_global(row) and not row.count("kw", "sw"):
            return "the row gives no pool size and no stride"
        return None

    def rule(self, row: Row, figure: str) -> float | None:
        if figure in ("uram", "bram_18k", "dsp"):
            return 0.0
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            pixels = (row.count("in_h") or 1) * row.counts["in_w"]
            if _is_global(row):
                return float(pixels + 3)
            if row.vitis:
                return float(pixels * (2 if _two_cycles(row.tool) else 1) + 3)
            slow = row.seven_series and row.target_ns <= 5
            fill = 4 if row.seven_series and row.target_ns < 20 else 2
            return float(pixels * (2 if slow else 1) + fill)
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        channels, bits = _channels(row), row.width("in")
        height = row.count("kh", "sh") or 1
        width = row.count("kw", "sw") or 1
        if _is_global(row):
            height = width = 1
        return {
            "fixed": 1.0,
            "window": float(channels * bits * height * width),
            "taps": float(channels * height * width),
            "line_buffer": float(channels * bits * height),
            "channels": float(channels),
            "per_row_registers": float(channels * bits * height * width)
            if row.seven_series and row.target_ns < 20
            else 0.0,
        }

    def ranges(self, row: Row) -> Mapping[str, float]:
        return {
            "channels": _channels(row),
            "in_width": row.width("in"),
            "pool": (row.count("kh", "sh") or 1) * (row.count("kw", "sw") or 1),
        }


def _is_global(row: Row) -> bool:
    return row.function.startswith("global")


def _channels(row: Row) -> int:
    elements = row.types["in"].elements if "in" in row.types else 0
    return elements or row.count("n_filt", "n_chan") or 1


def _two_cycles(tool: str) -> bool:
    """Vitis HLS from 2023.2 on takes two cycles a pixel."""
    match = re.search(r"(20\d\d)\.(\d)", tool)
    return bool(match) and (int(match[1]), int(match[2])) >= (2023, 2)  # type: ignore[index]


FAMILY = Pooling()
