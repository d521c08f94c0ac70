"""Rules of memories and multipliers, against figures of published reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.estimate import rules
from hwflow.estimate.precision import Precision


@pytest.mark.parametrize(
    ("a_bits", "b_bits", "blocks"),
    [(8, 8, 0), (16, 4, 0), (16, 5, 1), (16, 16, 1), (11, 5, 1), (10, 10, 0), (32, 32, 4)],
)
def test_dsp_blocks_of_a_product(a_bits: int, b_bits: int, blocks: int) -> None:
    assert rules.dsp_per_product(a_bits, b_bits) == blocks
    assert rules.dsp_per_product(b_bits, a_bits) == blocks


@pytest.mark.parametrize(
    ("n_in", "n_out", "reuse_factor", "weight", "blocks"),
    [
        (288, 64, 144, Precision(16, 6), 57),
        (576, 32, 288, Precision(16, 6), 29),
        (896, 8, 128, Precision(16, 6), 25),
        (9, 32, 144, Precision(16, 6), 1),  # 2 x 16 bits; its index ROM is of LUTs
        (8, 3, 8, Precision(16, 6), 0),  # 384 bits
        (36, 8, 4, Precision(16, 6), 32),
        (36, 8, 36, Precision(32, 16), 7),  # the topmost weight's sign copies are trimmed
        (32, 64, 512, Precision(8, 1), 2),  # weights, and the index ROM of 4 x 512
        (224, 256, 448, Precision(14, 1), 50),
        (160, 256, 640, Precision(14, 1), 51),
        (32, 32, 1, Precision(16, 6), 0),
    ],
)
def test_block_ram_of_weights(
    n_in: int, n_out: int, reuse_factor: int, weight: Precision, blocks: int
) -> None:
    assert rules.weight_rom_bram_18k(n_in, n_out, reuse_factor, weight) == blocks


@given(st.integers(1, 20000), st.integers(1, 4096))
def test_a_rom_is_never_smaller_than_its_bits_and_grows(depth: int, width: int) -> None:
    blocks = rules.rom_bram_18k(depth, width)
    if blocks:
        assert blocks * 18 * 1024 >= depth * width
    assert rules.rom_bram_18k(depth, width + 36) >= blocks


def test_fifos_pack_a_beat_in_vitis_and_split_it_in_vivado() -> None:
    assert rules.fifo_bram_18k(16, 4, 676, vitis=False) == 4
    assert rules.fifo_bram_18k(16, 8, 16, vitis=False) == 0
    assert rules.fifo_bram_18k(16, 32, 2048, vitis=True) == 58
    assert rules.fifo_bram_18k(16, 32, 2, vitis=True) == 0


@given(st.integers(1, 15))
def test_wider_weights_need_more_multipliers(bits: int) -> None:
    narrow, wide = Precision(bits, 1), Precision(bits + 1, 1)
    share = rules.constant_needs_multiplier(narrow)
    assert 0 <= share <= rules.constant_needs_multiplier(wide) <= 1
    assert rules.constant_digits(narrow) <= rules.constant_digits(wide)
