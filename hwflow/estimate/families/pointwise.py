"""1x1 convolutions, which hls4ml gives a template of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hwflow.estimate.engine import LATENCY_POOL, Engine, add_stream_terms, engine_of
from hwflow.estimate.families.convolution import resource_ff, resource_lut
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row

LOOP_CYCLES = 4
"""Cycles a pixel takes beside its products, Resource."""


class Pointwise(Family):
    """A 1x1 convolution; its weights are partitioned completely, so they never take block RAM.

    With Resource the products are still shared; there are no results of that.

    Source: hls4ml 1.3 templates `nnet_sepconv2d_stream.h`, `nnet_conv1d_latency.h`.
    """

    name = "pointwise"
    functions = frozenset({"pointwise_conv_2d_cl", "pointwise_conv_1d_cl"})
    uses_weights = True

    def missing(self, row: Row) -> str | None:
        if not (row.count("n_chan", "n_in") and row.count("n_filt", "n_out")):
            return "the row gives no channels or filters"
        return None if row.count("in_w") else "the row gives no input size"

    def regime(self, row: Row, figure: str) -> str:
        strategy = "_resource" if _engine(row).resource else ""
        return f"{row.tool_family}_{'stream' if row.stream else 'parallel'}{strategy}"

    def pool(self, row: Row, figure: str) -> str:
        return LATENCY_POOL

    def rule(self, row: Row, figure: str) -> float | None:
        engine = _engine(row)
        pixels = _pixels(row)
        copies = 1 if row.stream else pixels
        if figure in ("uram", "bram_18k"):
            return 0.0
        if figure == "dsp":
            return engine.dsp * copies
        if engine.resource:
            return _resource(row, engine, figure)
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            if row.stream:
                vitis = engine.vitis_interval_cycles
                return float(pixels * (vitis if row.vitis else engine.interval_cycles) + 3)
            interval = engine.interval_cycles
            return float(engine.latency_cycles if figure == "latency_cycles" else interval)
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        engine = _engine(row)
        terms = engine.lut_terms() if figure == "lut" else engine.ff_terms()
        if row.stream:
            terms["stream"] = 1.0
            add_stream_terms(terms, engine, figure)
            if figure == "ff":
                terms["held_inputs"] = float(engine.n_in * engine.data.width)
        else:
            terms = {name: value * _pixels(row) for name, value in terms.items()}
            if figure == "lut":
                terms["parallel"] = 1.0
        return terms

    def ranges(self, row: Row) -> Mapping[str, float]:
        engine = _engine(row)
        return {"n_in": engine.n_in, "n_filt": engine.n_out, "pixels": _pixels(row)}


def _pixels(row: Row) -> int:
    return (row.count("in_h") or 1) * row.counts["in_w"]


def _engine(row: Row) -> Engine:
    engine = engine_of(row, row.count("n_chan", "n_in") or 1, row.count("n_filt", "n_out") or 1)
    return engine if row.stream else replace(engine, resource=False)


def _resource(row: Row, engine: Engine, figure: str) -> float:
    """Cycles and logic of a streamed Resource layer: a convolution's without a window."""
    if figure == "lut":
        return resource_lut(row, engine)
    if figure == "ff":
        return resource_ff(row, engine)
    each = engine.reuse_factor + LOOP_CYCLES + engine.resource_extra_cycles
    return float(_pixels(row) * each + 1)


FAMILY = Pointwise()
