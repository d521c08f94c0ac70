"""Lanes and taps of poolings: no more than are needed."""

from __future__ import annotations

import dataclasses

import pytest

from hwflow.fixed_point import FixedPoint
from hwflow.opset import MaxPool2D, SumPool2D, Tensor
from hwflow.plan.folding import LARGEST_WORD_BITS
from hwflow.plan.pool_lanes import pool_fold
from tests.support.plan_graphs import ACTIVATION, Builder, plan

POOL = MaxPool2D("pool", ("x",), (3, 3), (2, 2))
SOURCE = Tensor((21, 21, 16), ACTIVATION)
OUT = Tensor((10, 10, 16), ACTIVATION)


@pytest.mark.parametrize(
    ("wanted", "given", "fold"),
    [
        (1_000_000, 1, (1, 1)),
        (1_000_000, 16, (1, 1)),
        (8_000, 1, (1, 2)),  # 100 windows of 9 taps, 8 beats each
        (8_000, 12, (1, 2)),  # one repack from 12 to 2
        (2_000, 16, (1, 8)),
        (1_000, 16, (1, 16)),  # 900 beats, and what the window waits
        (899, 16, (9, 8)),  # a pixel is read in two cycles
        (441, 16, (9, 16)),
        (440, 16, (9, 16)),  # as fast as can be
    ],
)
def test_no_more_than_are_needed(wanted: int, given: int, fold: tuple[int, int]) -> None:
    assert pool_fold(POOL, SOURCE, OUT, wanted, given) == fold


def test_what_has_no_windows_reads_a_beat_a_cycle() -> None:
    one = Tensor((1, 1, 16), ACTIVATION)
    everything = SumPool2D("mean", ("x",), (21, 21), (1, 1))
    assert pool_fold(everything, SOURCE, one, 441 * 4, 1) == (1, 4)
    assert pool_fold(everything, SOURCE, one, 1, 1) == (1, 16)
    single = MaxPool2D("pool", ("x",), (1, 1), (2, 2))
    assert pool_fold(single, SOURCE, Tensor((11, 11, 16), ACTIVATION), 1, 1) == (1, 16)


def test_beats_of_windows_fit_a_port() -> None:
    """Where a window is too wide for a beat, fewer lanes are read, or taps take their turn."""
    wide = FixedPoint(32, 16)
    source, out = (dataclasses.replace(tensor, format=wide) for tensor in (SOURCE, OUT))
    assert pool_fold(POOL, source, out, 440, 1) == (9, 8)  # 882 cycles; 16 lanes tap by tap: 900
    assert LARGEST_WORD_BITS < 9 * 16 * 32
    large = MaxPool2D("pool", ("x",), (12, 12), (1, 1))
    assert pool_fold(large, source, Tensor((10, 10, 16), wide), 1, 1) == (1, 16)


def test_the_window_itself_keeps_the_interval() -> None:
    """A sliding window waits at the end of each row: its own cycles count, not its beats."""
    build = Builder((14, 14, 3))
    now = build.convolution("image", "conv", 8, (3, 3), (2, 2), (0, 1, 0, 1))
    graph = build.build(build.max_pool(now, "pool", 3, 2))
    for wanted in range(100, 1_500, 50):
        mapped = plan(graph, wanted)
        (window,) = [p for p in mapped.processes if p.name == "pool_window"]
        assert window.cycles <= max(wanted, 49)
