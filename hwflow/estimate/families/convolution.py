"""Convolutions of a stream through a line buffer."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.estimate import rules
from hwflow.estimate.engine import BLOCKS, LATENCY_POOL, Engine, add_stream_terms, engine_of
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row

SHIFT_CYCLES = 4
"""Cycles a pixel in which the line buffer and the window move, under the Resource strategy."""


MULTIPLEXER_LUT = 5.3
"""LUTs of a multiplexer, an input."""

VIVADO_CONTROL_LUT = 900
"""LUTs of the loops and of the line buffer's control under Vivado HLS, Resource."""

VIVADO_INDEX_LUT = 280
"""LUTs of the indices where a multiplier serves several sums, Vivado HLS."""

VIVADO_DSP_CYCLES = 2
"""Cycles that Vivado HLS adds to a pixel where products go to DSP blocks."""


class Convolution(Family):
    """A convolution, one engine behind a line buffer.

    Cycles charge every input pixel alike, as the tools' reports do; the hardware leaves out the
    engine where a pixel completes no window.

    Source: hls4ml 1.3 templates `nnet_conv2d_stream.h`, `nnet_conv_stream.h`,
    `nnet_dense_resource.h`.
    """

    name = "convolution"
    functions = frozenset(
        {"conv_2d_cl", "conv_1d_cl", "conv_2d_buffer_cl", "conv_1d_buffer_cl", "conv_2d", "conv_1d"}
    )

    uses_weights = True

    def missing(self, row: Row) -> str | None:
        if not row.stream:
            return "only streamed convolutions (io_stream) can be estimated"
        counts = row.counts
        if not (_n_in(row) and _filters(row) and counts.get("in_w")):
            return "the row gives no kernel, channels, filters or input size"
        return None

    def regime(self, row: Row, figure: str) -> str:
        strategy = "resource" if _engine(row).resource else "latency"
        return f"{row.tool_family}_{strategy}"

    def pool(self, row: Row, figure: str) -> str:
        return f"convolution_{self.regime(row, figure)}" if _engine(row).resource else LATENCY_POOL

    def rule(self, row: Row, figure: str) -> float | None:
        engine = _engine(row)
        if figure in BLOCKS:
            return engine.blocks(figure)
        if figure in ("latency_cycles", "initiation_interval_cycles"):
            return float(_cycles(row, engine))
        if engine.resource and figure == "lut":
            return resource_lut(row, engine)
        if engine.resource and row.vitis:
            return resource_ff(row, engine)
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        engine = _engine(row)
        channels, height, width = _channels(row), row.count("kh") or 1, row.count("kw") or 1
        terms = engine.lut_terms() if figure == "lut" else engine.ff_terms()
        terms.pop("slow_registers", None)
        terms["window_control"] = 1.0
        if engine.resource:
            terms["line_buffer"] = float(channels * engine.data.width * max(height - 1, 1))
        terms["window"] = float(channels * engine.data.width * height * width)
        if not engine.resource:
            add_stream_terms(terms, engine, figure)
            if figure == "ff":
                terms["window_shared_pipeline"] = terms["shared_pipeline"]
        return terms

    def ranges(self, row: Row) -> Mapping[str, float]:
        engine = _engine(row)
        return {
            "pixels": _pixels(row),
            "n_in": engine.n_in,
            "n_filt": engine.n_out,
            "reuse_factor": engine.reuse_factor,
            "in_width": engine.data.width,
            "w_width": engine.weight.width,
        }


def _channels(row: Row) -> int:
    elements = row.types["in"].elements if "in" in row.types else 0
    known = row.count("n_chan") or elements
    return known or max(row.counts.get("n_in", 1) // max(_taps(row), 1), 1)


def _taps(row: Row) -> int:
    """Pixels of the kernel, 0 when unknown."""
    return (row.count("kh") or 1) * (row.count("kw") or 0)


def _filters(row: Row) -> int:
    """Filters, 0 when unknown."""
    out = row.types.get("out")
    return row.count("n_filt", "n_out") or (out.elements if out else 0)


def _n_in(row: Row) -> int:
    return row.counts.get("n_in") or _taps(row) * _channels(row)


def _pixels(row: Row) -> int:
    return (row.count("in_h") or 1) * row.counts["in_w"]


def _engine(row: Row) -> Engine:
    return engine_of(row, _n_in(row), _filters(row) or 1)


def _cycles(row: Row, engine: Engine) -> int:
    pixels = _pixels(row)
    if engine.resource:
        each, extra = SHIFT_CYCLES + engine.reuse_factor + 1, engine.resource_extra_cycles
        if row.vitis:  # its schedule hides a cycle of the products behind the shift
            return pixels * (each + max(extra - 1, 0) + engine.beyond_inputs) + 1
        return pixels * (each + extra + (VIVADO_DSP_CYCLES if engine.dsp else 0))
    if row.vitis:
        return pixels * engine.vitis_interval_cycles + 3
    interval = engine.interval_cycles
    if engine.multiplexed:
        interval = min(interval + 1, engine.reuse_factor)
    return pixels * interval + (3 if interval == 1 else 2)


def resource_ff(row: Row, engine: Engine) -> float:
    """Flip-flops of a Resource convolution, as counted in reports of Vitis HLS."""
    in_bits, channels = engine.data.width, _channels(row)
    return (
        9.0 * in_bits * channels
        + 3 * in_bits * engine.n_in
        + 2 * engine.acc_bits * engine.n_out
        + 174
    )


def resource_lut(row: Row, engine: Engine) -> float:
    """LUTs of a Resource convolution, as counted in reports of each tool.

    A multiplexer costs the same whatever its width.
    """
    n_in = engine.n_in
    picked = min(engine.reuse_factor, n_in)
    total = (
        engine.block_factor * (engine.acc_bits + 0.3)
        + engine.lut_terms()["multiply"]
        + max(n_in / engine.reuse_factor, 1.0) * MULTIPLEXER_LUT * picked
        + 18 * engine.n_out
        + engine.accumulator_mux / 3
    )
    channels, bits = _channels(row), engine.data.width
    height, width = row.count("kh") or 1, row.count("kw") or 1
    if row.vitis:
        if engine.beyond_inputs:  # each multiplier selects among all sums
            total += engine.block_factor * engine.n_out * engine.acc_bits
        return total + 701 + 18 * n_in + channels * (2 * bits * (height - 1) + 6 * height * width)
    if engine.beyond_inputs:
        total += VIVADO_INDEX_LUT
    # A row of pixels stands in shift registers of 32 bits a LUT.
    cascades = rules.ceil_div(row.counts["in_w"], 32) - 1
    line = channels * bits * (height - 1) * cascades / 2
    return total + VIVADO_CONTROL_LUT + 0.8 * bits * channels + line


FAMILY = Convolution()
