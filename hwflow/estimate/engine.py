"""The matrix-vector engine that dense and convolution layers share.

Sizes: `n_in` products feed each of `n_out` sums; a convolution's `n_in` is kernel height x kernel
width x channels, and it runs once a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwflow.estimate import rules
from hwflow.estimate.precision import Precision
from hwflow.estimate.rows import Row

DEFAULT_TYPE = Precision(16, 6)
"""hls4ml's default precision."""

MOST_DIGITS = 3.7
"""Digits of a constant beyond which a product takes a multiplier rather than more additions."""

LATENCY_POOL = "engine_latency"
"""The fitted weights that every family with constant weights shares."""

BLOCKS = ("dsp", "bram_18k", "uram")
"""Figures that follow from an engine's shape alone."""

LARGEST_SHARING = 1023
"""Products that share a multiplier at most under the Latency strategy."""

USABLE_PERIOD = 0.875
"""Share of the clock period left after the tools' default uncertainty of 12.5 %."""


@dataclass(frozen=True)
class Engine:
    """One engine.

    Attributes:
        n_in: products a sum takes.
        n_out: sums.
        reuse_factor: products that one multiplier works off.
        resource: the Resource strategy with a reuse factor above 1; weights stand in ROMs
            rather than being constants.
        unity: the Resource strategy with a reuse factor of 1.
        data: type of the inputs.
        weight: type of the weights.
        acc_bits: width of the accumulators.
        nonzero: weights that are not zero.
        unique: different weights, 0 when unknown.
        seven_series: a 7-series device.
        vitis: Vitis HLS.
        stream: values come over streams.
        clock_ns: target period.
    """

    n_in: int
    n_out: int
    reuse_factor: int
    resource: bool
    unity: bool
    data: Precision
    weight: Precision
    acc_bits: int
    nonzero: int
    unique: int
    seven_series: bool
    vitis: bool
    stream: bool
    clock_ns: float

    @property
    def products(self) -> int:
        """Products of one run."""
        return self.n_in * self.n_out

    @property
    def block_factor(self) -> int:
        """Multipliers."""
        return rules.block_factor(self.n_in, self.n_out, self.reuse_factor)

    @property
    def beyond_inputs(self) -> bool:
        """Reuse factor above `n_in`: a multiplier serves several sums."""
        return self.reuse_factor > self.n_in

    # --- Resource ----------------------------------------------------------------------------

    @property
    def dsp(self) -> float:
        """DSP blocks."""
        if self.resource:
            each = rules.dsp_per_product(self.data.width, self.weight.width)
            # Sign copies of the topmost weight are trimmed, which can save a block.
            last = max(self.weight.width - max(self.weight.integer_bits - 1, 0), 1)
            final = min(each, rules.dsp_per_product(self.data.width, last))
            if each > 1:
                return each * (self.block_factor - 1) + max(final, 1)
            return each * self.block_factor
        return min(self.dense_weights, self.multiplier_limit) * self.dsp_each

    @property
    def dsp_each(self) -> int:
        """DSP blocks of one product with a constant that keeps its multiplier."""
        bits = min(self.weight.width, max(self.weight.fraction_bits + 1, 5))
        return rules.dsp_per_product(self.data.width, bits)

    @property
    def bram_18k(self) -> int:
        """18-kbit blocks of the weights."""
        if not self.resource or self.reuse_factor <= 1:
            return 0
        return rules.weight_rom_bram_18k(self.n_in, self.n_out, self.reuse_factor, self.weight)

    def blocks(self, figure: str) -> float:
        """One of `BLOCKS`; hls4ml puts no weights into UltraRAM."""
        return {"dsp": self.dsp, "bram_18k": float(self.bram_18k), "uram": 0.0}[figure]

    @property
    def resource_extra_cycles(self) -> int:
        """Cycles from the last product's start to its sum, beyond one."""
        chain_ns = 13.7 if self.seven_series else 6.0
        if not rules.takes_dsp(self.data.width, self.weight.width):
            chain_ns /= 2
        return math.floor(1.3 * chain_ns / (USABLE_PERIOD * self.clock_ns))

    def lut_terms(self) -> dict[str, float]:
        """Terms of the LUTs."""
        if not self.resource:
            return self._constant_lut_terms()
        in_bits, acc = self.data.width, self.acc_bits
        return {
            "accumulate": float(self.block_factor * acc),
            "multiply": self.block_factor * self._fabric_product(),
            "input_mux": float(self.n_in * in_bits),
            "outputs": float(self.n_out * acc),
            "accumulator_mux": self.accumulator_mux,
        }

    @property
    def accumulator_mux(self) -> float:
        """Bits of the multiplexers that pick a sum, where a multiplier serves several of them.

        Two sums need none: the reuse loop alternates between them.
        """
        if self.reuse_factor / self.n_in <= 2:
            return 0.0
        return float(self.block_factor * rules.pow2_ceil(self.n_out) * self.acc_bits)

    def ff_terms(self) -> dict[str, float]:
        """Terms of the flip-flops."""
        if not self.resource:
            return self._constant_ff_terms()
        dsp = rules.takes_dsp(self.data.width, self.weight.width)
        product_bits = float(self.block_factor * min(self.data.width, self.acc_bits))
        return {
            "outputs": float(self.n_out * self.acc_bits),
            "product_registers": product_bits if dsp else 0.0,
            "fabric_registers": 0.0 if dsp else float(self.block_factor * self.weight.width),
            "slow_registers": product_bits * self.resource_extra_cycles,
        }

    def _fabric_product(self) -> float:
        a_bits, b_bits = self.data.width, self.weight.width
        if rules.takes_dsp(a_bits, b_bits):
            return 5.0
        return rules.fabric_luts_per_product(a_bits, b_bits)

    # --- Latency: weights are constants ------------------------------------------------------

    @property
    def dense_weights(self) -> float:
        """Constant weights that keep a multiplier."""
        if self.dsp_each == 0:
            return 0.0
        return self.nonzero * rules.constant_needs_multiplier(self.weight)

    @property
    def shared_products(self) -> float:
        """Products that take turns at the multipliers: some more than keep one to themselves."""
        if self.dsp_each == 0:
            return 0.0
        return self.nonzero * rules.constant_takes_turns(self.weight)

    @property
    def multiplier_limit(self) -> int:
        """Multipliers that the Latency strategy allows."""
        reuse_factor = min(self.reuse_factor, LARGEST_SHARING)
        zeros = self.products - self.nonzero
        return max(rules.ceil_div(self.products, reuse_factor) - zeros // reuse_factor, 1)

    @property
    def periods(self) -> float:
        """Delay of the multiply and the adder tree, in usable clock periods."""
        add_ns, multiply_ns = (2.6, 9.0) if self.seven_series else (0.6, 1.9)
        if self.vitis:
            add_ns *= 2.5 if not self.seven_series else 1.0
        if self.dsp_each == 0:
            multiply_ns = min(multiply_ns, 3.0)
        if self.weight.width <= 3:
            multiply_ns /= 1.8
        mean_in = max(self.nonzero / self.n_out, 1.0)
        delay_ns = multiply_ns + add_ns * math.log2(mean_in + 1)
        return delay_ns / (USABLE_PERIOD * self.clock_ns)

    @property
    def depth_cycles(self) -> int:
        """Latency of the multiply and the adder tree, in cycles."""
        return math.floor(self.periods)

    @property
    def latency_cycles(self) -> int:
        """Latency of one run under the Latency strategy."""
        if self.reuse_factor == 1:
            return self.depth_cycles
        steps = math.ceil(self.shared_products / self.multiplier_limit)
        if steps <= 1:
            return self.depth_cycles + (self.depth_cycles > 0 and self.reuse_factor > 2)
        if self.stream:
            return max(steps - 1 + 2 * self.depth_cycles, 1)
        return steps - 1 + max(self.depth_cycles - 1, 0)

    @property
    def interval_cycles(self) -> int:
        """Interval between runs when weights are constants."""
        if self.unity:
            return self.latency_cycles + 1
        return max(min(self.reuse_factor, self.latency_cycles + 1), 1)

    @property
    def vitis_interval_cycles(self) -> int:
        """Cycles a pixel of a stream under Vitis HLS: the loop around is not pipelined to one."""
        through = self.depth_cycles + 2 + (self.depth_cycles > 1)
        if self.reuse_factor == 1:
            return through
        return min(self.reuse_factor, max(through, self.latency_cycles + 1))

    def _constant_lut_terms(self) -> dict[str, float]:
        kept = self.dense_weights
        shifted = max(self.nonzero - kept, 0.0)
        digits = rules.constant_digits(self.weight)
        return {
            "adder_tree": float(self.nonzero * self.acc_bits),
            "shift_and_add": shifted * max(digits - 1, 0.0) * self.data.width,
            "distinct_products": self._distinct_products * self.data.width,
            "kept_products": kept * self.acc_bits,
            "multiplexers": kept * self.data.width if self.multiplexed else 0.0,
            "sums": float(self.n_out * self.acc_bits),
            "vitis": float(self.vitis),
        }

    @property
    def _distinct_products(self) -> float:
        """Products that need additions, those counted once that several sums share.

        Weights that differ by a power of two and the sign share one, and one in so many is a
        power of two itself.
        """
        bits = min(self.weight.width, self.weight.fraction_bits + 1)
        odd = 2.0 ** min(max(bits - 2, 0), 40)
        found = odd * -math.expm1(-self.nonzero / self.n_in / odd)
        shifted = max(self.nonzero - self.dense_weights, 0.0) / max(self.nonzero, 1)
        return self.n_in * found * (1 - 1 / odd) * shifted

    @property
    def multiplexed(self) -> bool:
        """Whether multipliers are shared although weights are constants."""
        return self.dense_weights > self.multiplier_limit

    def _constant_ff_terms(self) -> dict[str, float]:
        steps = max(self.dense_weights / self.multiplier_limit, 1.0)
        held = self.nonzero * self.acc_bits * (1 - 1 / steps)
        kept = self.dense_weights
        digits = min(rules.mean_digits(self.weight), MOST_DIGITS)
        cut = self.nonzero * digits * self.acc_bits * min(self.depth_cycles, 3)
        shifted = max(self.nonzero - kept, 0.0) * max(digits - 1.5, 0.0)
        outputs = float(self.n_out * self.acc_bits)
        return {
            "pipeline": 0.0 if self.multiplexed or self.unity else cut,
            "registered_products": kept * self.acc_bits if self.unity else 0.0,
            "registered_sums": shifted * self.acc_bits if self.unity else 0.0,
            "registered_outputs": outputs if self.unity else 0.0,
            "shared_pipeline": held,
            "slow_shared_pipeline": held * self.periods,
            "vitis": float(self.vitis),
        }


def add_stream_terms(terms: dict[str, float], engine: Engine, figure: str) -> None:
    """Adds the terms of an engine with constant weights that is fed by a stream."""
    if figure == "lut":
        terms["stream_products"] = float(engine.nonzero * engine.data.width)
    elif engine.multiplexed or engine.depth_cycles > 0:
        terms["stream_sums"] = float(engine.n_out * engine.acc_bits)
    else:
        terms["stream_sums"] = 0.0


def engine_of(row: Row, n_in: int, n_out: int) -> Engine:
    """The engine of a row, hls4ml's defaults standing in for what the row does not say."""
    data = row.types.get("in", DEFAULT_TYPE)
    weight = row.types.get("w", DEFAULT_TYPE)
    acc = row.types.get("acc") or row.types.get("out") or DEFAULT_TYPE
    reuse_factor = min(row.reuse_factor or 1, n_in * n_out)
    products = n_in * n_out
    counted = row.counts.get("n_nonzero_w", 0)
    if counted == 0 and "n_zeros" in row.counts and "n_weights" in row.counts:
        counted = row.counts["n_weights"] - row.counts["n_zeros"]
    nonzero = counted if 0 < counted <= products else round(products * (1 - 2.0**-weight.width))
    return Engine(
        n_in=n_in,
        n_out=n_out,
        reuse_factor=reuse_factor,
        resource=row.strategy == "resource" and reuse_factor > 1,
        unity=row.strategy == "resource" and reuse_factor == 1,
        data=data,
        weight=weight,
        acc_bits=acc.width,
        nonzero=nonzero,
        unique=row.counts.get("wuniq", 0),
        seven_series=row.seven_series,
        vitis=row.vitis,
        stream=row.stream,
        clock_ns=row.target_ns,
    )
