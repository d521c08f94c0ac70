"""Memory blocks: how many block RAMs or LUTs a memory or a FIFO of some width and depth takes."""

from __future__ import annotations

BRAM_TILINGS = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Width and depth of a BRAM18's configurations (UG573)."""

URAM_WORDS, URAM_BITS = 4096, 72
"""Depth and width of an UltraRAM, which has no other configuration (UG573)."""

LUT_DEPTH = 64
"""A LUT6 is a 64 x 1 memory (UG574); up to this depth a memory in LUTs needs no multiplexers."""


def bram_18k(words: int, width_bits: int) -> int:
    """BRAM18 blocks of the cheapest tiling."""
    return min(-(-width_bits // width) * -(-words // depth) for width, depth in BRAM_TILINGS)


def uram(words: int, width_bits: int) -> int:
    """UltraRAM blocks, side by side for the width and one after another for the depth."""
    return -(-words // URAM_WORDS) * -(-width_bits // URAM_BITS)


def word_bits(width: int, lanes: int) -> int:
    """Bits of the native integers that hold a row of `lanes` weights of `width` bits."""
    if width in (8, 16, 32):
        return width
    return min((64, 32, 16, 8), key=lambda chunk: -(-lanes * width // chunk) * chunk)


def row_bits(width: int, lanes: int) -> int:
    """Bits of a row of weights in memory: whole native integers."""
    chunk = word_bits(width, lanes)
    return -(-lanes * width // chunk) * chunk


def luts(words: int, width_bits: int) -> int:
    """LUTs of a memory built from them."""
    return -(-words // LUT_DEPTH) * width_bits


SRL_DEPTH = 32
"""A LUT6 is a shift register of 32 x 1 (SRLC32E, UG574); of 16 x 2 (two SRL16E)."""

LUTS_PER_BRAM_18K = 128
"""From how many LUTs on a FIFO had better take a block RAM: about what the devices have of LUTs for
each block RAM (150 on ZCU102, 190 on PYNQ-Z2, 320 on U250)."""


def srl_luts(depth: int, width_bits: int) -> int:
    """LUTs of a FIFO's shift registers."""
    if depth <= SRL_DEPTH // 2:
        return -(-width_bits // 2)
    return -(-depth // SRL_DEPTH) * width_bits


def fifo_storage(depth: int, width_bits: int) -> str:
    """`srl` or `bram` for a FIFO."""
    spared = srl_luts(depth, width_bits)
    return "bram" if spared > LUTS_PER_BRAM_18K * bram_18k(depth, width_bits) else "srl"
