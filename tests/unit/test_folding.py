"""Folds: what is legal, what it costs, and which is chosen."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.errors import DesignError
from hwflow.plan.blocks import bram_18k, fifo_storage, srl_luts
from hwflow.plan.folding import (
    Fold,
    Foldable,
    divisors,
    fold_for_interval,
    fold_for_reuse_factor,
    lanes_for_interval,
)
from hwflow.plan.parallel_window import ParallelWindow

LAYER = Foldable("conv", 100, 9, 12, 16, 1, 8, 8)
DEPTHWISE = Foldable("depthwise", 49, 9, 1, 2, 6, 8, 8)


@given(st.integers(1, 500))
def test_divisors(number: int) -> None:
    assert divisors(number) == tuple(d for d in range(1, number + 1) if number / d % 1 == 0)


def test_every_legal_fold_and_its_cycles() -> None:
    folds = LAYER.folds()
    assert len(folds) == len(set(folds)) == 6 * 5
    for fold in folds:
        assert LAYER.inputs % fold.simd == 0
        assert LAYER.filters % fold.pe == 0
        assert LAYER.reuse_factor(fold) * fold.multipliers == 9 * 12 * 16
        assert LAYER.cycles(fold) == 100 * LAYER.reuse_factor(fold)
    assert [f.multipliers for f in folds] == sorted(f.multipliers for f in folds)


def test_depthwise_folds_over_channels_alone() -> None:
    assert DEPTHWISE.folds() == tuple(Fold(1, pe) for pe in (1, 2, 3, 6))
    assert [DEPTHWISE.input_lanes(fold) for fold in DEPTHWISE.folds()] == [1, 2, 3, 6]
    # each of six channels feeds two filters of nine taps, which take their turn
    assert DEPTHWISE.reuse_factors() == (18, 36, 54, 108)


def test_the_groups_of_a_grouped_layer_take_their_turn() -> None:
    layer = Foldable("grouped", 100, 9, 4, 6, 3, 8, 8)
    assert len(layer.folds()) == 3 * 4
    for fold in layer.folds():
        assert layer.inputs % fold.simd == 0
        assert layer.filters % fold.pe == 0
        assert layer.reuse_factor(fold) * fold.multipliers == 9 * 4 * 6 * 3
        assert layer.input_lanes(fold) == fold.simd


def test_reading_the_input_can_take_longer_than_the_products() -> None:
    layer = dataclasses.replace(LAYER, input_pixels=400 * 9)
    assert layer.cycles(Fold(1, 16)) == 400 * 9 * 12
    assert layer.cycles(Fold(1, 1)) == 100 * 9 * 12 * 16


def test_words_wider_than_a_port_are_illegal() -> None:
    wide = Foldable("wide", 1, 1, 1024, 1024, 1, 16, 8)
    assert max(fold.simd for fold in wide.folds()) == 256
    assert max(fold.pe for fold in wide.folds()) == 512
    assert max(fold.multipliers for fold in wide.folds()) == 4096


def test_a_reuse_factor_by_hand() -> None:
    fold = fold_for_reuse_factor(LAYER, 9 * 12)
    assert LAYER.reuse_factor(fold) == 9 * 12
    assert fold == Fold(4, 4)  # of one tap a cycle the squarest of (1, 16), (2, 8), (4, 4), ...
    with pytest.raises(DesignError, match=r"7 is not legal for layer 'conv' .*; nearest are 9, "):
        fold_for_reuse_factor(LAYER, 7)


@given(st.integers(1, 200_000), st.sampled_from([1, 2, 3, 4, 8]))
def test_a_fold_for_an_interval_is_fast_enough_and_not_much_larger(
    interval: int, lanes: int
) -> None:
    fold = fold_for_interval(LAYER, interval, lanes)
    fast = [f for f in LAYER.folds() if LAYER.cycles(f) <= interval]
    if fast:
        assert LAYER.cycles(fold) <= interval
        assert fold.multipliers <= 1.15 * min(f.multipliers for f in fast)
    else:
        assert fold.multipliers == 12 * 16


WINDOWED = dataclasses.replace(
    LAYER, window=ParallelWindow(10, 10, 12, (3, 3), (1, 1), 1, 1, 10, 10, 1)
)


def test_all_taps_of_a_window_at_once() -> None:
    folds = WINDOWED.folds()
    assert len(folds) == 2 * 6 * 5
    assert {fold.taps for fold in folds} == {1, 9}
    for fold in folds:
        assert WINDOWED.reuse_factor(fold) * fold.multipliers == 9 * 12 * 16
        assert WINDOWED.window_of(fold).lanes == fold.simd == WINDOWED.input_lanes(fold)
    assert WINDOWED.reuse_factors()[0] == 1
    # a pixel a cycle, and the pixels of the border below
    assert WINDOWED.cycles(Fold(12, 16, 9)) == 100 + 11
    assert WINDOWED.cycles(Fold(4, 16, 9)) == 3 * (100 + 11)
    assert WINDOWED.cycles(Fold(4, 4, 9)) == 100 * 3 * 4
    assert fold_for_reuse_factor(WINDOWED, 12) == Fold(4, 4, 9)
    assert fold_for_reuse_factor(WINDOWED, 9 * 12) == Fold(4, 4)
    deep = dataclasses.replace(DEPTHWISE, window=WINDOWED.window)
    assert {fold for fold in deep.folds() if fold.taps > 1} == {
        Fold(1, pe, 9) for pe in (1, 2, 3, 6)
    }
    assert deep.reuse_factors() == (2, 4, 6, 12, 18, 36, 54, 108)


def test_taps_take_their_turn_unless_that_is_too_slow() -> None:
    assert fold_for_interval(WINDOWED, 900).taps == 1
    assert fold_for_interval(WINDOWED, 899).taps == 9
    assert WINDOWED.cycles(fold_for_interval(WINDOWED, 400)) <= 400
    assert fold_for_interval(WINDOWED, 1) == Fold(12, 16, 9)


def test_beats_of_windows_are_no_wider_than_a_port() -> None:
    wide = Foldable(
        "wide", 4, 9, 64, 64, 1, 8, 8,
        window=ParallelWindow(2, 2, 64, (3, 3), (1, 1), 1, 1, 2, 2, 1),
    )  # fmt: skip
    whole = [fold for fold in wide.folds() if fold.taps == 9]
    assert max(fold.simd for fold in whole) == 32  # 9 * 32 * 8 bits
    assert max(fold.multipliers for fold in whole) == 9 * 256


def test_words_that_fill_block_rams_are_preferred() -> None:
    layer = Foldable("conv", 1, 1, 64, 64, 1, 8, 8, weight_width=9)
    # 4 x 9 = 36 bits by 1024 words: 2 block RAMs of 512 x 36
    fold = fold_for_interval(layer, 1024)
    assert bram_18k(layer.weight_words(fold), fold.multipliers * 9) == 2


def test_lanes() -> None:
    assert lanes_for_interval(12, 1200, 400, 8, preferred=6) == 6
    assert lanes_for_interval(12, 1200, 400, 8, preferred=5) == 3
    assert lanes_for_interval(12, 1200, 10, 8, preferred=1) == 12
    assert lanes_for_interval(1024, 1024, 1, 8, preferred=1) == 512  # the widest port


@pytest.mark.parametrize(
    ("words", "width", "blocks"),
    [(512, 36, 1), (513, 36, 2), (1024, 18, 1), (1024, 19, 2), (16384, 1, 1), (2048, 64, 8)],
)
def test_block_rams_tile_width_and_depth(words: int, width: int, blocks: int) -> None:
    assert bram_18k(words, width) == blocks


def test_fifos_go_where_they_are_cheapest() -> None:
    assert srl_luts(16, 9) == 5
    assert srl_luts(32, 9) == 9
    assert srl_luts(33, 9) == 18
    assert fifo_storage(16, 64) == "srl"
    assert fifo_storage(460, 32) == "bram"
    assert fifo_storage(59, 512) == "srl"
