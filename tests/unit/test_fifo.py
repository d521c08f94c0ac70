"""Depths that keep the network from blocking, from the order of reads and writes alone."""

from __future__ import annotations

import pytest

from hwflow.integer_graph import IntegerGraph
from hwflow.plan.dataflow import Simulator, simulate
from hwflow.plan.fifo import PIPELINE_BEATS, STRAIGHT_DEPTH
from tests.support.plan_graphs import Builder, bypass, chain, dilated, fire, plan, units


def nested() -> IntegerGraph:
    """A bypass around a fire module: forks within forks."""
    build = Builder((9, 9, 4))
    squeezed = build.convolution("image", "squeeze", 2)
    one = build.convolution(squeezed, "one", 2)
    three = build.convolution(squeezed, "three", 2, (3, 3), padding=(1, 1, 1, 1))
    joined = build.concatenate([one, three], "concat")
    return build.build(build.add(["image", joined], "add"))


def wide_fire() -> IntegerGraph:
    """A bypass around a fire module whose pixels are more beats than a FIFO has to spare."""
    build = Builder((14, 14, 64))
    squeezed = build.convolution("image", "squeeze", 16)
    one = build.convolution(squeezed, "one", 32)
    three = build.convolution(squeezed, "three", 32, (3, 3), padding=(1, 1, 1, 1))
    joined = build.concatenate([one, three], "concat")
    return build.build(build.add(["image", joined], "add"))


GRAPHS = {
    "fire": fire(),
    "bypass": bypass(),
    "chain": chain(),
    "nested": nested(),
    "wide_fire": wide_fire(),
    "units": units(),
    "dilated": dilated(),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("interval", [1, 700, 4_000, 200_000, 10**6])
def test_no_deadlock_whatever_the_folds(name: str, interval: int) -> None:
    assert simulate(plan(GRAPHS[name], interval), frames=3).deadlock == ()


def test_the_way_around_two_windows_holds_their_reach() -> None:
    """A 3x3 window with padding wants a row and a pixel ahead, and reads up to its buffer ahead."""
    graph = plan(bypass(10, 4))
    (around,) = [name for name in graph.streams if name.endswith("_to_add")]
    stream = graph.streams[around]
    ahead = 2 * (10 + 1)
    pixels = (stream.depth - PIPELINE_BEATS) // (stream.channels // stream.lanes)
    assert ahead < pixels <= 2 * (2 * 10 + 3)
    assert str(pixels) in stream.reason
    assert "add" in stream.reason


def test_too_few_pixels_block() -> None:
    graph = plan(bypass(10, 4))
    (around,) = [name for name in graph.streams if name.endswith("_to_add")]
    folds = graph.streams[around].channels // graph.streams[around].lanes
    # other FIFOs at their shallowest, so that nothing else holds what this one cannot
    depths = dict.fromkeys(graph.streams, 1)
    simulator = Simulator(graph)
    assert simulator.run({**depths, around: 2 * 11 * folds - 2 * folds - 8}, 1).deadlock
    assert not simulator.run({**depths, around: graph.streams[around].depth}, 1).deadlock


def test_straight_pipelines_stay_shallow() -> None:
    graph = plan(chain())
    assert {s.depth <= STRAIGHT_DEPTH for s in graph.streams.values()} == {True}
