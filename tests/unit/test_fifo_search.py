"""Depths by steady frames: against long simulations, and against trying every depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.errors import ToolError
from hwflow.integer_graph import IntegerGraph
from hwflow.plan import fifo_search, steady
from hwflow.plan.dataflow import Dataflow, Simulator, simulate
from hwflow.plan.dataflow_core import network_of
from hwflow.plan.depth_bounds import Bounds
from hwflow.plan.depth_trials import DepthTrials
from hwflow.plan.fifo_search import (
    FRAMES_HELD,
    STEP_BEATS,
    built_depth,
    joins,
    minimised,
    prove,
    sized,
)
from hwflow.plan.steady import Steady
from hwflow.plan.streams import StreamGraph
from tests.support.plan_graphs import bypass, chain, dilated, enlarged, fire, headed, plan, units

MANY_FRAMES = 60
TURNS = 8

SMALL = {
    "fire": lambda size: fire(size, 4, 2, 4),
    "bypass": lambda size: bypass(size, 2),
    "chain": lambda size: chain(size + 6),
    "enlarged": lambda size: enlarged(size - 1, 2),
    "units": lambda size: units(size, 6),
    "dilated": lambda size: dilated(size, 2),
}


@st.composite
def plans(draw: st.DrawFn) -> StreamGraph:
    graph: IntegerGraph = SMALL[draw(st.sampled_from(sorted(SMALL)))](draw(st.integers(3, 6)))
    return plan(graph, draw(st.sampled_from([1, 150, 400, 900, 2_000])))


def many(graph: StreamGraph, depths: Mapping[str, int]) -> Dataflow:
    """So many frames that depths have long shown what they do."""
    return Simulator(graph).run(depths, MANY_FRAMES)


def state(graph: StreamGraph, depths: Mapping[str, int], interval: int = 0) -> Steady:
    network = network_of(graph)
    return Steady(network, interval or network.least_interval, depths)


def held_up_to(
    graph: StreamGraph, depths: Mapping[str, int], verdict: steady.Verdict, interval: int
) -> None:
    """A verdict and long simulations of the same depths."""
    result = many(graph, depths)
    if verdict.deadlock:
        assert result.deadlock
    elif verdict.interval_cycles == interval:
        # frames that had waited behind a join may still be catching up
        if result.interval_cycles != interval:
            result = Simulator(graph).run(depths, 8 * MANY_FRAMES)
        assert result.interval_cycles == interval
    else:
        assert verdict.interval_cycles > interval  # it always settles
        # Frames may take turns, so that some are as short as the interval; what else is held up may
        # block, and the last frames may not be equal.
        lengths = range(MANY_FRAMES, MANY_FRAMES + TURNS)
        taken = [Simulator(graph).run(depths, frames).interval_cycles for frames in lengths]
        assert 0 in taken or max(taken) >= verdict.interval_cycles


@settings(max_examples=60)
@given(plans(), st.data())
def test_depths_do_for_ever_what_one_frame_shows(graph: StreamGraph, data: st.DataObject) -> None:
    most = data.draw(st.sampled_from([3, 20, 120]))
    depths = {name: data.draw(st.integers(1, most), label=name) for name in graph.streams}
    found = state(graph, depths)
    held_up_to(graph, depths, found.verdict, found.interval)


@settings(max_examples=60)
@given(plans(), st.data())
def test_a_change_tells_the_same_as_beginning_anew(graph: StreamGraph, data: st.DataObject) -> None:
    depths = {name: FRAMES_HELD[-1] * stream.beats for name, stream in graph.streams.items()}
    found = state(graph, depths)
    assert found.verdict.interval_cycles == found.interval
    names = sorted(graph.streams)
    for _ in range(4):
        chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        change = {name: data.draw(st.integers(1, depths[name])) for name in chosen}
        tried = found.probe(change)
        assert found.probe({names[0]: depths[names[0]]}).interval_cycles == found.interval
        held_up_to(graph, {**depths, **change}, tried, found.interval)
        assert found.change(change) == tried
        if tried.interval_cycles == found.interval:
            depths |= change
        fill = found.fill()
        assert all(fill[name] <= depths[name] for name in names)
        assert state(graph, fill).verdict.interval_cycles == found.interval


@settings(max_examples=25)
@given(plans())
def test_a_joins_depths_are_the_least_of_all_that_keep_the_interval(graph: StreamGraph) -> None:
    mapped, found = minimised(graph)
    assert mapped.streams == sized(graph, exact=True).streams
    interval = Simulator(mapped).least_interval
    assert many(mapped, {}).interval_cycles == interval
    proofs = {proof.stream: proof for proof in found}
    # tried anew beside all others' least depths, frames take no less time
    for anew in prove(mapped):
        proof = proofs[anew.stream]
        assert (anew.depth, anew.interval_cycles) == (proof.depth, proof.interval_cycles)
        assert anew.is_least
    assert len(prove(mapped)) == len(proofs)
    for name in joins(mapped):
        least = mapped.streams[name].depth
        keeping = [
            depth
            for depth in range(1, least + 3)
            if many(mapped, {name: depth}).interval_cycles == interval
        ]
        assert keeping == [least, least + 1, least + 2]
        assert (name in proofs) == (least > 1)
        if name in proofs:
            proof = proofs[name]
            assert proof.is_least
            held_up_to(
                mapped,
                {name: least - 1},
                steady.Verdict(proof.less_interval_cycles, proof.less_deadlock),
                interval,
            )


@settings(max_examples=25)
@given(plans(), st.data())
def test_a_proof_says_truly_whether_a_depth_is_least(
    graph: StreamGraph, data: st.DataObject
) -> None:
    """Of depths that keep the shortest interval but are not all the least."""
    mapped = sized(graph)
    assert simulate(mapped).interval_cycles == Simulator(mapped).least_interval
    for proof in prove(mapped):
        less = many(mapped, {proof.stream: proof.depth - 1})
        assert proof.interval_cycles == simulate(mapped).interval_cycles
        assert proof.is_least == (less.interval_cycles != proof.interval_cycles)


@settings(max_examples=40)
@given(plans(), st.data())
def test_no_depth_below_the_one_needed_keeps_the_interval(
    graph: StreamGraph, data: st.DataObject
) -> None:
    mapped = sized(graph)
    found = state(mapped, {name: stream.depth for name, stream in mapped.streams.items()})
    for name, stream in mapped.streams.items():
        if stream.depth == 1:
            continue
        verdict = found.probe({name: data.draw(st.integers(1, stream.depth - 1), label=name)})
        assert verdict.depth_needed <= stream.depth
        if verdict.depth_needed:
            less = found.probe({name: verdict.depth_needed - 1})
            assert less.interval_cycles != found.interval


@settings(max_examples=25)
@given(plans(), st.integers(1, 4), st.data())
def test_depths_tried_at_once_are_as_one_by_one(
    graph: StreamGraph, count: int, data: st.DataObject
) -> None:
    depths = {name: FRAMES_HELD[-1] * stream.beats for name, stream in graph.streams.items()}
    many, one = DepthTrials(state(graph, depths), count), state(graph, depths)
    assert many.count == count
    for _ in range(4):
        name = data.draw(st.sampled_from(sorted(depths)))
        tried = data.draw(st.lists(st.integers(1, depths[name]), min_size=1, max_size=count))
        alone = [one.probe({name: depth}) for depth in tried]
        assert many.least(name, tried) == alone
        keeping = [
            d for d, v in zip(tried, alone, strict=True) if v.interval_cycles == one.interval
        ]
        if keeping:
            depths[name] = min(keeping)
            one.change({name: depths[name]})
        assert many.fill() == one.fill()
        less = {other: max(1, depth - 1) for other, depth in depths.items()}
        changes = [{other: depth} for other, depth in less.items()]
        assert many.probes(changes) == [one.probe(change) for change in changes]
        assert many.change(less) == one.change(less)
        if one.probe(less).interval_cycles == one.interval:
            depths = less


@pytest.mark.parametrize("count", [1, 2, 5])
@given(data=st.data())
def test_bounds_close_in_on_the_least_number(count: int, data: st.DataObject) -> None:
    """Whatever the excesses are, every number is tried once at the most and none outside."""
    low = data.draw(st.integers(0, 50))
    high = low + data.draw(st.integers(1, 400))
    least = data.draw(st.integers(low + 1, high))
    bounds, tried = Bounds(low, high), set()
    while bounds.between:
        numbers = bounds.next(count)
        assert 1 <= len(numbers) <= count
        assert bounds.too_few < min(numbers)
        assert max(numbers) < bounds.enough
        assert len(set(numbers)) == len(numbers)
        assert not tried.intersection(numbers)
        tried.update(numbers)
        for number in numbers:
            excess = data.draw(st.sampled_from([-1, 1, 7, least - number]))
            too_few = data.draw(st.integers(0, least - 1))
            bounds.add(number, 0 if number >= least else excess, too_few)
    assert bounds.enough == least


def test_delays_that_take_turns_are_found_too() -> None:
    """Frames of 2822 and 2823 cycles by turns, where each process needs 2822."""
    graph = sized(plan(units(), 3_000), exact=True)
    name = "concat_out_to_half1"
    depths = {n: stream.depth for n, stream in graph.streams.items()}
    found = state(graph, depths)
    less = {name: depths[name] - 1}
    assert found.interval == 2_822
    assert found.probe(less) == steady.Verdict(2_823)
    ends = [Simulator(graph).run(depths | less, frames) for frames in (80, 81)]
    assert [end.interval_cycles for end in ends] == [0, 0]


def test_built_depths_are_multiples_that_hold_the_least() -> None:
    graph = plan(bypass(10, 4), 4_000)
    least, built = sized(graph, exact=True), sized(graph)
    for name, stream in built.streams.items():
        assert stream.depth % STEP_BEATS == 0 or stream.depth == max(2, min(16, stream.beats))
        assert built_depth(least.streams[name].depth) % STEP_BEATS == 0
    assert [built_depth(beats) for beats in (1, 16, 17, 32)] == [16, 16, 32, 32]


def test_streams_may_hold_frames_where_ways_differ_much(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = plan(bypass(10, 4), 4_000)
    wanted = sized(graph)
    monkeypatch.setattr(fifo_search, "UNLIMITED_BEATS", 1)  # not enough at the first trial
    assert sized(graph).stream_bits == wanted.stream_bits


def test_depths_that_slow_are_proved_against_their_own_interval() -> None:
    """A graph that never had its depths simulated."""
    graph = plan(chain(), 900)
    depths = {name: stream.depth for name, stream in graph.streams.items()}
    assert state(graph, depths).verdict.interval_cycles >= Simulator(graph).least_interval
    proofs = prove(graph, [stream.name for stream in graph.internal])
    interval = many(graph, {}).interval_cycles
    assert {proof.interval_cycles for proof in proofs} == {interval}
    for proof in proofs:
        less = many(graph, {proof.stream: proof.depth - 1})
        assert proof.is_least == (less.interval_cycles != interval), str(proof)


def test_a_graph_that_blocks_has_no_proofs() -> None:
    graph = plan(bypass())
    shallow = dict.fromkeys(graph.streams, 1)
    assert Simulator(graph).run(shallow).deadlock
    verdict = state(graph, shallow).verdict
    assert verdict.interval_cycles == 0
    assert verdict.deadlock
    streams = {n: dataclasses.replace(s, depth=1) for n, s in graph.streams.items()}
    assert prove(dataclasses.replace(graph, streams=streams)) == ()


@pytest.mark.parametrize("graph", [enlarged(), headed()], ids=["enlarged", "headed"])
def test_several_outputs_keep_the_interval_too(graph: IntegerGraph) -> None:
    for interval in (1, 10_000):
        mapped = sized(plan(graph, interval))
        assert simulate(mapped).interval_cycles == Simulator(mapped).least_interval


def test_long_intervals_are_counted_as_short_ones() -> None:
    """Beyond what 32 bits hold of many frames, times are kept in 64."""
    graph = plan(fire(4, 4, 2, 4), 400)
    network = network_of(graph)
    depths = {name: FRAMES_HELD[-1] * stream.beats for name, stream in graph.streams.items()}
    for interval in (network.least_interval, 1 << 23, 1 << 25, 1 << 40):
        found = Steady(network, interval, depths)
        assert found.verdict == steady.Verdict(interval)
        assert found.probe(dict.fromkeys(graph.streams, 16)).interval_cycles == interval


def test_want_of_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Poor:
        @staticmethod
        def hwflow_steady_new(*arguments: object) -> None:
            return None

    monkeypatch.setattr(steady, "core", lambda: Poor)
    graph = plan(fire())
    with pytest.raises(ToolError, match="out of memory"):
        state(graph, dict.fromkeys(graph.streams, 2))
