"""Dense layers: Latency and Resource, parallel and streamed."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hwflow.estimate import rules
from hwflow.estimate.engine import BLOCKS, LATENCY_POOL, Engine, add_stream_terms, engine_of
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row

VIVADO_CONTROL_LUT = 300
"""LUTs of the loops of a Resource layer under Vivado HLS."""

VIVADO_SELECTION_LUT = 75
"""LUTs that select a product's operands, Resource under Vivado HLS."""


class Dense(Family):
    """A dense layer.

    Source: hls4ml 1.3 templates `nnet_dense_latency.h`, `nnet_dense_resource.h`,
    `nnet_dense_stream.h`.
    """

    name = "dense"
    functions = frozenset(
        {
            "dense",
            "dense_latency",
            "dense_resource",
            "dense_resource_rf_leq_nin",
            "dense_resource_rf_gt_nin",
            "dense_resource_rf_gt_nin_rem0",
            "dense_wrapper",
        }
    )

    uses_weights = True

    def missing(self, row: Row) -> str | None:
        return None if _sizes(row) else "the row gives no n_in and n_out"

    def regime(self, row: Row, figure: str) -> str:
        engine = _engine(row)
        strategy = "resource" if engine.resource else "latency"
        if row.stream:
            return f"{row.tool_family}_stream_{strategy}"
        return f"{row.tool_family}_parallel_{strategy}"

    def pool(self, row: Row, figure: str) -> str:
        engine = _engine(row)
        if not engine.resource:
            return LATENCY_POOL
        # A parallel layer that serves no several sums a multiplier is the streamed one's engine.
        stream = row.stream or not engine.beyond_inputs
        return f"dense_{row.tool_family}_{'stream' if stream else 'parallel'}_resource"

    def rule(self, row: Row, figure: str) -> float | None:
        engine = _engine(row)
        if figure in BLOCKS:
            return engine.blocks(figure)
        if figure == "latency_cycles":
            return float(_latency(row, engine))
        if figure == "initiation_interval_cycles":
            if row.stream:
                return float(_latency(row, engine))
            return float(engine.reuse_factor if engine.resource else engine.interval_cycles)
        if engine.resource and row.vitis:
            return _vitis_resource(engine, figure, _beats(row, engine) if row.stream else 1)
        if engine.resource and figure == "lut" and (row.stream or not engine.beyond_inputs):
            return _vivado_resource_lut(engine)
        return None

    def fallback(self, row: Row, figure: str) -> float | None:
        engine = _engine(row)
        return _vivado_resource_lut(engine) if engine.resource and figure == "lut" else None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        engine = _engine(row)
        terms = engine.lut_terms() if figure == "lut" else engine.ff_terms()
        if engine.resource:
            self._add_resource_terms(terms, row, engine)
        else:
            self._add_constant_terms(terms, row, engine, figure)
        return terms

    def _add_resource_terms(self, terms: dict[str, float], row: Row, engine: Engine) -> None:
        if row.stream or engine.beyond_inputs:
            terms["stream" if row.stream else "parallel"] = 1.0
        if row.stream and _beats(row, engine) > 1:
            terms["beat_buffer"] = float(engine.n_in * engine.data.width)
        if row.stream:
            terms["stream_outputs"] = float(engine.n_out * engine.acc_bits)
        if row.fused:
            terms["activation"] = float(engine.n_out * engine.acc_bits)
            terms["interface"] = float(engine.n_in * engine.data.width)

    def _add_constant_terms(
        self, terms: dict[str, float], row: Row, engine: Engine, figure: str
    ) -> None:
        outputs, inputs = engine.n_out * engine.acc_bits, engine.n_in * engine.data.width
        if row.stream:
            terms["stream"] = 1.0
            add_stream_terms(terms, engine, figure)
            if figure == "ff":
                terms["held_inputs"] = float(inputs * (2 if engine.multiplexed else 1))
        elif figure == "lut":
            terms["parallel"] = 1.0
            terms["activation"] = float(outputs) if row.fused else 0.0
        elif row.fused and not engine.unity:
            terms["held_inputs"] = float(inputs)
            if engine.depth_cycles > 0 and engine.reuse_factor == 1:
                terms["registered_outputs"] = float(outputs)

    def ranges(self, row: Row) -> Mapping[str, float]:
        engine = _engine(row)
        return {
            "n_in": engine.n_in,
            "n_out": engine.n_out,
            "reuse_factor": engine.reuse_factor,
            "in_width": engine.data.width,
            "w_width": engine.weight.width,
            "acc_width": engine.acc_bits,
        }


def _sizes(row: Row) -> tuple[int, int] | None:
    """Inputs and outputs of a sum, from whichever columns tell them."""
    out = row.types.get("out")
    n_out = row.count("n_out", "n_filt") or (out.elements if out else 0)
    n_in = row.count("n_in") or math.prod(row.input_shape or (0,))
    if n_out and not n_in:
        n_in = row.counts.get("n_weights", 0) // n_out
    return (n_in, n_out) if n_in and n_out else None


def _engine(row: Row) -> Engine:
    n_in, n_out = _sizes(row) or (1, 1)
    return engine_of(row, n_in, n_out)


def _latency(row: Row, engine: Engine) -> int:
    """The longest latency that the report gives."""
    beats = _beats(row, engine)
    if engine.resource:
        core = engine.reuse_factor + 1 + engine.resource_extra_cycles
        if not row.stream:
            return core
        if beats == 1:
            return core + 1
        return core + beats + (6 if row.vitis else 4)
    if not row.stream:
        return engine.latency_cycles
    if row.vitis:
        return engine.latency_cycles + 2 + (beats + 5 if beats > 1 else 0)
    core = max(engine.interval_cycles, engine.depth_cycles + 1)
    return core + (beats if beats > 1 else 0) + (engine.interval_cycles == 1)


def _beats(row: Row, engine: Engine) -> int:
    elements = row.types["in"].elements if "in" in row.types else 0
    return rules.ceil_div(engine.n_in, elements) if elements else 1


def _vitis_resource(engine: Engine, figure: str, beats: int) -> float | None:
    """LUT or FF of a Resource layer of Vitis HLS, as counted in reports of streamed ones."""
    in_bits, acc = engine.data.width, engine.acc_bits
    if figure == "ff":
        return 3.0 * in_bits * engine.n_in + 2.0 * acc * engine.n_out + (169 if beats > 1 else 59)
    mux = 5.3 * min(engine.reuse_factor, engine.n_in)
    lanes = max(engine.n_in / engine.reuse_factor, 1.0)
    terms = engine.lut_terms()
    return (
        engine.block_factor * (acc + 0.3)
        + terms["multiply"]
        + 18 * (engine.n_in + engine.n_out)
        + lanes * mux
        + (340 if beats > 1 else 165)
        + terms["accumulator_mux"] / 3
    )


def _vivado_resource_lut(engine: Engine) -> float:
    """LUTs of a Resource layer of Vivado HLS; reports scatter widely about it."""
    total = (
        VIVADO_CONTROL_LUT
        + engine.block_factor * (engine.acc_bits + VIVADO_SELECTION_LUT)
        + engine.lut_terms()["multiply"]
        + 18 * engine.n_out
    )
    if engine.beyond_inputs:  # each multiplier selects among all sums
        total += engine.block_factor * engine.n_out * engine.acc_bits + engine.accumulator_mux / 3
    return total


FAMILY = Dense()
