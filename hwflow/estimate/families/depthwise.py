"""Depthwise and separable convolutions of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hwflow.estimate.engine import LATENCY_POOL, Engine, add_stream_terms, engine_of
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row

_SEPARABLE = frozenset({"separable_conv_2d_cl", "separable_conv_1d_cl"})


class Depthwise(Family):
    """A depthwise convolution, alone or with the pointwise one behind it (separable).

    Source: hls4ml 1.3 template `nnet_sepconv2d_stream.h`.
    """

    name = "depthwise"
    functions = frozenset(
        {
            "depthwise_conv_2d_cl",
            "depthwise_conv_1d_cl",
            "depthwise_conv_2d_buffer_cl",
            "depthwise_conv_1d_buffer_cl",
            *_SEPARABLE,
        }
    )
    uses_weights = True

    def missing(self, row: Row) -> str | None:
        if not row.stream:
            return "only streamed convolutions (io_stream) can be estimated"
        if not (row.count("kw") and row.count("in_w")):
            return "the row gives no kernel or input size"
        if row.function in _SEPARABLE and not row.count("n_filt", "n_out"):
            return "the row gives no number of filters"
        return None

    def regime(self, row: Row, figure: str) -> str:
        return f"{row.tool_family}_latency"

    def pool(self, row: Row, figure: str) -> str:
        return LATENCY_POOL

    def rule(self, row: Row, figure: str) -> float | None:
        engines = _engines(row)
        if figure in ("uram", "bram_18k"):
            return 0.0
        if figure == "dsp":
            return sum(engine.dsp for engine in engines)
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            pixels = (row.count("in_h") or 1) * row.counts["in_w"]
            slowest = max(
                engine.vitis_interval_cycles if row.vitis else engine.interval_cycles
                for engine in engines
            )
            return float(pixels * slowest + 4)
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        total: dict[str, float] = {}
        for engine in _engines(row):
            terms = engine.lut_terms() if figure == "lut" else engine.ff_terms()
            add_stream_terms(terms, engine, figure)
            for name, value in terms.items():
                total[name] = total.get(name, 0.0) + value
        height, width = row.count("kh") or 1, row.count("kw") or 1
        bits = _channels(row) * row.width("in")
        total["window_control"] = 1.0
        total["window"] = float(bits * height * width)
        return total


def _channels(row: Row) -> int:
    elements = row.types["in"].elements if "in" in row.types else 0
    return elements or row.count("n_chan") or 1


def _engines(row: Row) -> list[Engine]:
    taps = (row.count("kh") or 1) * (row.count("kw") or 1)
    engines = [_constant(engine_of(row, taps, _channels(row)))]
    if row.function in _SEPARABLE:
        engines.append(_constant(engine_of(row, _channels(row), row.count("n_filt", "n_out") or 1)))
    return engines


def _constant(engine: Engine) -> Engine:
    """The same with weights as constants: the template partitions them completely."""
    return replace(engine, resource=False)


FAMILY = Depthwise()
