"""Rules of the hls4ml templates and of the tools that need no fitting."""

from __future__ import annotations

import math

from hwflow.estimate.precision import Precision

BRAM_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Width and depth that one 18-kbit block can be given (UG573, UG473)."""

LUT_MEMORY_BITS = 1024
"""A ROM of fewer bits is built of LUTs."""

_CONSTANT_TO_DSP = {7: 0.06, 8: 0.21, 9: 0.42, 10: 0.61, 11: 0.75, 12: 0.84, 13: 0.90, 14: 0.945}
_FABRIC_MULTIPLIER_LUTS = {6: 23.0, 7: 33.0, 8: 40.0, 9: 50.0, 10: 62.0}


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient, rounded up."""
    return -(-numerator // denominator)


def pow2_ceil(value: int) -> int:
    """The least power of two that is not below `value`, at least 1."""
    return 1 << max(value - 1, 0).bit_length()


def block_factor(n_in: int, n_out: int, reuse_factor: int) -> int:
    """Multipliers that work in parallel."""
    return ceil_div(n_in * n_out, reuse_factor)


def takes_dsp(a_bits: int, b_bits: int) -> bool:
    """Whether a product of two variables goes to DSP blocks when nothing is forced."""
    return max(a_bits, b_bits) >= 11 and min(a_bits, b_bits) >= 5


def dsp_per_product(a_bits: int, b_bits: int) -> int:
    """DSP blocks of one product of two variables.

    A block multiplies 27x18 (25x18 in the 7 series) signed bits; wider operands are cut into
    unsigned pieces of 24 and 17 bits.
    """
    if not takes_dsp(a_bits, b_bits):
        return 0
    wide, narrow = max(a_bits, b_bits), min(a_bits, b_bits)
    if wide <= 25 and narrow <= 18:
        return 1
    return max(ceil_div(wide - 1, 24), 1) * max(ceil_div(narrow - 1, 17), 1)


def fabric_luts_per_product(a_bits: int, b_bits: int) -> float:
    """LUTs of one product of two variables that takes no DSP block."""
    wide, narrow = max(a_bits, b_bits), min(a_bits, b_bits)
    if narrow <= 4:
        return 5.0 if narrow <= 2 else wide * narrow / 8
    if wide in _FABRIC_MULTIPLIER_LUTS and narrow >= 5:
        return _FABRIC_MULTIPLIER_LUTS[wide] * narrow / wide
    return wide * narrow * 0.62


def constant_needs_multiplier(weight: Precision) -> float:
    """Share of constant weights that are too dense in ones to become shifts and adds.

    Trained weights lie within one, so the integer bits beyond the sign carry nothing.
    """
    bits = min(weight.width, weight.fraction_bits + 1 + (weight.integer_bits > 1))
    if bits <= 6:
        return 0.0
    return _CONSTANT_TO_DSP.get(bits, 0.97)


def constant_takes_turns(weight: Precision) -> float:
    """Share of constant weights whose products share multipliers where these are limited."""
    return max(constant_needs_multiplier(weight), 0.233 if weight.width == 8 else 0.0)


def mean_digits(weight: Precision) -> float:
    """Mean number of signed non-zero digits of a weight (canonical form)."""
    return max(min(weight.width, weight.fraction_bits + 1), 1) / 3 + 1 / 9


def constant_digits(weight: Precision) -> float:
    """Mean number of signed non-zero digits of a weight that becomes shifts and adds."""
    return min(mean_digits(weight), 3.0)


def rom_bram_18k(depth: int, width: int) -> int:
    """18-kbit blocks of a ROM: the cheapest tiling, none below 1,024 bits."""
    if depth <= 1 or width <= 0 or depth * width < LUT_MEMORY_BITS:
        return 0
    best = min(ceil_div(width, w) * ceil_div(depth, d) for w, d in BRAM_SHAPES)
    # A deep row can also be a full-depth block column of 18 bits and a remainder of 36.
    if depth > 1024 and depth % 1024:
        full = ceil_div(width, 18) * (depth // 1024)
        rest = depth % 1024
        tail = min(ceil_div(width, w) * ceil_div(rest, d) for w, d in BRAM_SHAPES)
        best = min(best, full + tail)
    return best


def weight_rom_bram_18k(n_in: int, n_out: int, reuse_factor: int, weight: Precision) -> int:
    """18-kbit blocks of a Resource layer's weights and, beyond n_in, of its index ROM."""
    if reuse_factor <= 1:
        return 0
    # Sign copies of the topmost weight are constant and are trimmed from the word.
    spare = max(min(weight.integer_bits - 1, weight.width - 1), 0)
    width = block_factor(n_in, n_out, reuse_factor) * weight.width - spare
    blocks = rom_bram_18k(reuse_factor, width)
    if reuse_factor > n_in and reuse_factor % n_in == 0:
        steps = reuse_factor // n_in
        blocks += rom_bram_18k(reuse_factor, max(math.ceil(math.log2(steps)), 1))
    return blocks


def fifo_bram_18k(width: int, elements: int, depth: int, vitis: bool) -> int:
    """18-kbit blocks of a FIFO between two layers.

    Vitis HLS packs a beat into one FIFO; Vivado HLS gives each element one of its own.

    Args:
        width: bits of an element.
        elements: elements of a beat.
        depth: beats.
        vitis: Vitis HLS rather than Vivado HLS.
    """
    if not vitis:
        each = 0 if depth * width <= 512 else _fifo_blocks(width, depth)
        return elements * each
    return 0 if depth <= 2 else _fifo_blocks(width * elements, depth)


def _fifo_blocks(width: int, depth: int) -> int:
    return math.ceil(ceil_div(width, 18) * max(1.0, pow2_ceil(depth) / 1024))
