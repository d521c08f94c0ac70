"""Targets of a design: speed, latency, the most that fits, and what is built of the plan."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hwflow.errors import DesignError, DoesNotFitError
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.plan import cost
from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.dataflow import simulate
from hwflow.plan.device import Device, find_device
from hwflow.plan.fifo_search import sized
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.search import slowest
from hwflow.plan.steering import Goal, decisions_json, plan_for, steered, with_decisions
from hwflow.plan.streams import StreamGraph
from tests.support.plan_graphs import Layer, bypass, chain, fire

ZCU102 = find_device("zcu102")
CHOICES = Choices(lambda name: Layer())
CLOCK = 5.0


def small(**fields: int) -> Device:
    return dataclasses.replace(ZCU102, name="small", **fields)


@pytest.mark.parametrize("graph", [fire(), chain(), bypass()], ids=lambda graph: "")
@pytest.mark.parametrize("interval", [1_400, 3_000])
def test_the_simulation_reaches_the_interval_asked_for(graph: IntegerGraph, interval: int) -> None:
    _, streams = steered(graph, CHOICES, ZCU102, Goal(interval), CLOCK)
    result = simulate(streams)
    assert not result.deadlock
    assert 0 < result.interval_cycles <= interval


def test_the_fastest_is_what_the_least_resources_at_its_speed_reach() -> None:
    graph = fire()
    fastest = plan_for(graph, CHOICES, ZCU102, Goal(), CLOCK)
    again = plan_for(graph, CHOICES, ZCU102, Goal(fastest.interval_cycles), CLOCK)
    assert again.interval_cycles <= fastest.interval_cycles
    with pytest.raises(DoesNotFitError):
        plan_for(graph, CHOICES, ZCU102, Goal(fastest.interval_cycles // 2), CLOCK)


def test_a_latency_is_kept_with_less_than_the_fastest_takes() -> None:
    graph = chain()
    fastest = plan_for(graph, CHOICES, ZCU102, Goal(), CLOCK)
    limit = 3 * fastest.latency_cycles
    made = plan_for(graph, CHOICES, ZCU102, Goal(latency_cycles=limit), CLOCK)
    assert fastest.latency_cycles < made.latency_cycles <= limit
    multipliers = [sum(p.multipliers for p in plan.graph.processes) for plan in (fastest, made)]
    assert multipliers[1] < multipliers[0]


def test_a_latency_that_nothing_reaches() -> None:
    with pytest.raises(DoesNotFitError, match="from the first input to the last output") as caught:
        plan_for(chain(), CHOICES, ZCU102, Goal(latency_cycles=20), CLOCK)
    assert caught.value.exit_code == 4


def test_the_share_holds_with_the_depths_that_are_built() -> None:
    graph = bypass(size=20, channels=8)
    room = small(lut=12_000, ff=20_000)
    for share in (1.0, 0.6):
        _, streams = steered(graph, CHOICES, room, Goal(share=share), CLOCK)
        total = cost.total_cost(streams)
        assert all(getattr(total, kind) <= share * getattr(room, kind) for kind in KINDS)


def plans(streams: StreamGraph) -> object:
    return streams.to_json()["processes"]


def test_decisions_survive_as_json() -> None:
    graph = fire()
    chosen, streams = steered(graph, CHOICES, ZCU102, Goal(2_000), CLOCK)
    document = json.loads(json.dumps(decisions_json(chosen)))
    again = with_decisions(CHOICES, document)
    assert plans(map_graph(graph, again)) == plans(streams)
    convolutions = {op.name for op in graph.operations if isinstance(op, Conv2D)}
    assert set(document["layers"]) == convolutions
    unplanned = with_decisions(CHOICES, json.loads(json.dumps(decisions_json(CHOICES))))
    assert plans(map_graph(graph, unplanned)) == plans(map_graph(graph, CHOICES))


def test_reuse_factors_by_hand_stay() -> None:
    by_hand = Choices(
        lambda name: Layer(9 if name == "conv1" else None), explicit=lambda name: name == "conv1"
    )
    chosen, _ = steered(bypass(), by_hand, ZCU102, Goal(5_000), CLOCK)
    assert chosen.folds["conv1"].multipliers == 16  # 9 taps of 4 x 4 channels over 9
    with pytest.raises(DesignError, match="7 is not legal"):
        plan_for(bypass(), Choices(lambda name: Layer(7), lambda name: True), ZCU102, Goal(), CLOCK)


def test_depths_for_a_longer_interval_keep_it_with_less() -> None:
    room = small(lut=8_000)
    graph = plan_for(bypass(size=20, channels=8), CHOICES, room, Goal(), CLOCK).graph
    shortest, _ = slowest(graph)
    tight = sized(graph, interval_cycles=shortest)
    assert tight.stream_bits == sized(graph).stream_bits
    for interval in (shortest + 1, 2 * shortest):
        loose = sized(graph, interval_cycles=interval)
        assert set(loose.streams) == set(graph.streams)
        assert loose.processes == graph.processes
        result = simulate(loose)
        assert not result.deadlock
        assert shortest <= result.interval_cycles <= interval
    assert loose.stream_bits < tight.stream_bits


def test_what_is_kept_for_fifos_is_kept_of_each_resource_alone() -> None:
    graph = fire()
    part = small(lut=12_000, dsp=60)
    plain = plan_for(graph, CHOICES, part, Goal(), CLOCK)
    same = plan_for(graph, CHOICES, part, Goal(), CLOCK, Resources(ff=1))
    assert same.to_json() == plain.to_json()
    reserve = Resources(lut=1_500)
    less = plan_for(graph, CHOICES, part, Goal(), CLOCK, reserve)
    assert less.total.lut <= 0.8 * part.lut - reserve.lut
    assert less.total.dsp <= 0.8 * part.dsp
    assert less.interval_cycles >= plain.interval_cycles
    with pytest.raises(
        DoesNotFitError, match="80% of small, of it 9000 LUTs kept for FIFOs that keep the speed"
    ):
        plan_for(graph, CHOICES, part, Goal(), CLOCK, Resources(lut=9_000))


def test_fifos_that_do_not_fit_beside_a_plan_make_it_slower_not_impossible() -> None:
    """A network whose FIFOs alone take the planner's own plan beyond the share."""
    graph = bypass(size=20, channels=8)
    plain = plan_for(graph, CHOICES, small(lut=8_000), Goal(), CLOCK)
    total = cost.total_cost(sized(plain.graph))
    tight = small(lut=int(plain.total.lut / 0.8) + 1)
    assert not total.fits(tight, 0.8)
    _, streams = steered(graph, CHOICES, tight, Goal(), CLOCK)
    assert cost.total_cost(streams).fits(tight, 0.8)
    reached = simulate(streams).interval_cycles
    _, streams = steered(graph, CHOICES, tight, Goal(reached), CLOCK)
    assert cost.total_cost(streams).fits(tight, 0.8)
    assert simulate(streams).interval_cycles <= reached
    with pytest.raises(DoesNotFitError, match=r"nearest: slower: \d+ cycles a frame"):
        steered(graph, CHOICES, tight, Goal(plain.interval_cycles), CLOCK)
