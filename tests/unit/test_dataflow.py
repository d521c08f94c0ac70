"""Dataflow simulation: against stepping cycle by cycle, and against closed forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.integer_graph import IntegerGraph
from hwflow.plan import fifo_search
from hwflow.plan.dataflow import Dataflow, Simulator, simulate
from hwflow.plan.process_schedule import (
    RESTART_CYCLES,
    latency,
    period_cycles,
    process_schedule,
)
from hwflow.plan.streams import Process, StreamGraph
from tests.support.plan_graphs import (
    Builder,
    bypass,
    chain,
    dilated,
    enlarged,
    fire,
    headed,
    plan,
    units,
)


class Stepped:
    """The same rules, one cycle after another: slow, and written without looking ahead."""

    def __init__(self, graph: StreamGraph, depths: Mapping[str, int], frames: int) -> None:
        self.depths = depths
        self.held = dict.fromkeys(graph.streams, 0)
        self.fill = dict.fromkeys(graph.streams, 0)
        self.frames = frames
        nodes: list[tuple[int, list[tuple[str, bool, set[int]]]]] = []
        for name in graph.inputs:
            beats = graph.streams[name].beats
            nodes.append((beats, [(name, True, set(range(beats)))]))
        for process in graph.processes:
            schedule = process_schedule(process)
            ports = [
                (s, False, set(t.tolist()))
                for s, t in zip(process.inputs, schedule.reads, strict=True)
            ]
            ports += [
                (s, True, set(t.tolist()))
                for s, t in zip(process.outputs, schedule.writes, strict=True)
            ]
            nodes.append((schedule.period, ports))
        for name in graph.outputs:
            beats = graph.streams[name].beats
            nodes.append((beats, [(name, False, set(range(beats)))]))
        self.nodes = nodes
        self.outputs = len(graph.outputs)

    def run(self) -> tuple[list[list[int]], bool]:
        """For each output the cycle of each beat taken; and whether all stood still for good."""
        ticks = [0] * len(self.nodes)
        taken: list[list[int]] = [[] for _ in range(self.outputs)]
        cycle = 0
        while any(
            t < period * self.frames for t, (period, _) in zip(ticks, self.nodes, strict=True)
        ):
            before = dict(self.held)  # what moved in this cycle counts from the next one on
            reads: list[str] = []
            writes: list[str] = []
            moved = False
            for index, (period, ports) in enumerate(self.nodes):
                if ticks[index] >= period * self.frames:
                    continue
                tick = ticks[index] % period
                due = [(stream, out) for stream, out, when in ports if tick in when]
                if any(before[s] >= self.depths[s] if out else before[s] == 0 for s, out in due):
                    continue
                ticks[index] += 1
                moved = True
                for stream, out in due:
                    (writes if out else reads).append(stream)
                    sink = index - (len(self.nodes) - self.outputs)
                    if sink >= 0:
                        taken[sink].append(cycle)
            for stream in writes:
                self.held[stream] += 1
                self.fill[stream] = max(self.fill[stream], self.held[stream])
            for stream in reads:
                self.held[stream] -= 1
            if not moved:
                return taken, True
            cycle += 1
        return taken, False


def stepped(graph: StreamGraph, result: Dataflow, depths: Mapping[str, int]) -> None:
    """Holds a result up to the stepped simulation."""
    reference = Stepped(graph, depths, result.frames)
    taken, stuck = reference.run()
    assert stuck == bool(result.deadlock)
    assert reference.fill == dict(result.fill)
    if not stuck:
        ends = [max(beats[-1] for beats in split) for split in _frames(taken, result.frames)]
        assert result.latency_cycles == ends[0]
        assert result.first_output_cycles == min(beats[0] for beats in taken)
        intervals = np.diff(ends)
        settled = len(intervals) >= 2 and intervals[-1] == intervals[-2]
        assert result.interval_cycles == (intervals[-1] if settled else 0)


def _frames(taken: list[list[int]], frames: int) -> list[list[list[int]]]:
    return [
        [beats[len(beats) * f // frames : len(beats) * (f + 1) // frames] for beats in taken]
        for f in range(frames)
    ]


GRAPHS = {"fire": fire(8), "bypass": bypass(7), "chain": chain()}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("interval", [600, 2_000])
def test_every_beat_moves_in_the_cycle_that_stepping_finds(name: str, interval: int) -> None:
    graph = plan(GRAPHS[name], interval)
    simulator = Simulator(graph)
    random = np.random.default_rng(interval)
    for frames in (1, 3, 4):
        for depths in (
            {n: s.depth for n, s in graph.streams.items()},
            {n: int(random.integers(1, 9)) for n in graph.streams},
            {n: int(random.integers(1, 40)) for n in graph.streams},
        ):
            stepped(graph, simulator.run(depths, frames), depths)


def test_a_chain_takes_the_longest_period() -> None:
    """Processes at a beat a cycle hand on every beat at once: periods and latencies add up."""
    build = Builder((4, 5, 6))
    graph = plan(build.build(build.requantize("image", "one")))
    (process,) = graph.processes
    result = simulate(graph)
    beats = graph.streams[process.inputs[0]].beats
    stages = latency(process)
    # in at cycle k, read at k + 1, written `stages` later, taken in the cycle after that
    assert result.first_output_cycles == 1 + stages + 1
    assert result.latency_cycles == beats - 1 + 1 + stages + 1
    assert result.interval_cycles == beats + stages + RESTART_CYCLES == period_cycles(process)


def test_a_matrix_vector_takes_its_fold() -> None:
    build = Builder((6, 6, 8))
    graph = plan(build.build(build.convolution("image", "conv", 4)), 36 * 8)
    (process,) = [p for p in graph.processes if p.kernel == "matrix_vector"]
    fold = process.cycles // 36
    assert fold == 8
    result = simulate(graph)
    assert result.interval_cycles == 36 * fold + latency(process) + RESTART_CYCLES
    assert result.bottleneck == process.name
    # the last output beat is written when the last iteration leaves the pipeline
    first_read = 2 if len(graph.processes) > 1 else 1
    assert result.latency_cycles >= 36 * fold + latency(process) + first_read - 1


def test_a_duplicate_into_a_join_deadlocks_when_the_short_way_is_too_shallow() -> None:
    graph = plan(bypass())
    (around,) = [n for n in graph.streams if n.endswith("_to_add")]
    result = Simulator(graph).run({around: 4})
    assert result.interval_cycles == 0
    assert (around, "full") in result.deadlock
    text = result.explain_deadlock()
    assert around in text
    assert "deadlock" in text
    # the cycle leads from each stream's process to the next stream's
    for (stream, state), (following, _) in zip(
        result.deadlock, [*result.deadlock[1:], result.deadlock[0]], strict=True
    ):
        waits = graph.consumers[stream] if state == "empty" else graph.producers[stream]
        other = graph.producers[stream] if state == "empty" else graph.consumers[stream]
        assert waits.name != other.name
        assert following in (*other.inputs, *other.outputs)
    assert Simulator(graph).run().deadlock == ()


@pytest.mark.parametrize(
    "graph",
    [fire(), bypass(), chain(), dilated(), units()],
    ids=["fire", "bypass", "chain", "dilated", "units"],
)
@pytest.mark.parametrize("interval", [800, 3_000])
def test_sized_depths_give_the_shortest_interval_and_less_does_not(
    graph: IntegerGraph, interval: int
) -> None:
    mapped = fifo_search.sized(plan(graph, interval), exact=True)
    simulator = Simulator(mapped)
    result = simulator.run(frames=6)
    assert result.interval_cycles == simulator.least_interval
    assert not result.deadlock
    for proof in fifo_search.prove(mapped):
        assert proof.interval_cycles == simulator.least_interval
        assert proof.is_least, str(proof)
        assert str(proof.depth) in str(proof)
    coarse = fifo_search.sized(plan(graph, interval))
    assert simulate(coarse).interval_cycles == simulator.least_interval


def test_depths_are_needed_whatever_the_latencies(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a network runs to its end does not hang on how long a pipeline is."""
    mapped = plan(fire())
    stages = dict.fromkeys(
        ["matrix_vector", "sliding_window", "concatenate", "duplicate", "repack"], 1
    )
    monkeypatch.setattr("hwflow.plan.process_schedule.LATENCIES", stages)
    assert not simulate(mapped).deadlock


@pytest.mark.parametrize("graph", [enlarged(), headed()], ids=["enlarged", "headed"])
def test_outputs_of_several_sizes_do_not_block(graph: IntegerGraph) -> None:
    for interval in (1, 10_000):
        result = simulate(plan(graph, interval))
        assert not result.deadlock
        assert result.interval_cycles


def test_an_unknown_kernel_is_named() -> None:
    graph = plan(chain())
    odd = dataclasses.replace(graph.processes[0], kernel="fold_space")
    broken = dataclasses.replace(graph, processes=(odd, *graph.processes[1:]))
    with pytest.raises(DesignError, match="'fold_space' has no schedule"):
        Simulator(broken)


def test_schedules_count_what_the_streams_carry() -> None:
    """Ticks ascend, and there is one for each beat; the kernel's cycles are its iterations."""
    graphs = (fire(), bypass(), chain(), dilated(), enlarged(), enlarged(1), headed(), units())
    for build in graphs:
        for interval in (1, 300, 10_000):
            graph = plan(build, interval)
            for process in graph.processes:
                schedule = process_schedule(process)
                assert schedule.iterations == process.cycles
                ends = [*process.inputs, *process.outputs]
                for stream, ticks in zip(ends, [*schedule.reads, *schedule.writes], strict=True):
                    assert ticks.size == graph.streams[stream].beats
                    assert np.all(np.diff(ticks) > 0)
                    assert ticks[0] >= 0
                    assert ticks[-1] < schedule.period


def test_a_depthwise_multiplier_keeps_its_input() -> None:
    process = Process(
        "p",
        "depthwise",
        "p",
        ("a",),
        ("b",),
        {"pixels": 2, "taps": 3, "parallel": 1, "channels": 4, "multiplier": 2, "pe": 2},
        24,
    )
    schedule = process_schedule(process)
    assert schedule.reads[0].tolist() == [0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20]
    assert (schedule.writes[0] - schedule.latency).tolist() == [2, 5, 8, 11, 14, 17, 20, 23]


def test_a_selection_writes_a_pixel_while_it_reads_the_next() -> None:
    settings = {
        "pixels": 2, "in_channels": 6, "out_channels": 4, "lanes": 2, "buffer_pixels": 3,
    }  # fmt: skip
    process = Process("p", "select_channels", "p", ("a",), ("b",), settings, 10)
    schedule = process_schedule(process)
    assert schedule.reads[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (schedule.writes[0] - schedule.latency).tolist() == [5, 6, 8, 9]
    assert schedule.iterations == process.cycles


def test_a_gate_is_read_with_the_first_pixel() -> None:
    settings = {"pixels": 3, "channels": 4, "lanes": 2}
    process = Process("p", "scale", "p", ("a", "gate"), ("b",), settings, 6)
    schedule = process_schedule(process)
    assert schedule.reads[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert schedule.reads[1].tolist() == [0, 1]
    assert schedule.writes[0].size == 6
