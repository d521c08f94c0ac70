"""Depths of the FIFOs by simulation: as shallow as the shortest interval allows.

No depths make the interval between frames shorter than the longest period of a process. With FIFOs
that never fill up, and input that comes in that interval, every process keeps to it; the greatest
fills are then depths that neither block nor slow. From there each stream is made shallower as far
as the simulated interval stays the same: wide streams first, the branches of a fork last, so that
what must wait waits where it is narrow. A deeper FIFO never slows a network of processes with fixed
orders, so a depth that could not be reduced then cannot be reduced in the end either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwflow.errors import HwflowError
from hwflow.plan.dataflow import FEWEST_FRAMES, Simulator
from hwflow.plan.fifo import STRAIGHT_DEPTH
from hwflow.plan.streams import StreamGraph

UNLIMITED_BEATS = 1 << 16
"""Depth of a FIFO that is not to fill up, unless a frame is shorter."""

STEP_BEATS = 16
"""What depths are multiples of above a straight pipeline's, unless sought to the beat: a shift
register or a block RAM holds them at the cost of the exact number."""


@dataclass(frozen=True)
class DepthProof:
    """That a depth is enough, and what one beat less would do.

    Attributes:
        stream: its name.
        depth: beats.
        interval_cycles: with this depth.
        less_interval_cycles: with one beat less; 0 if it blocks.
        less_deadlock: the streams of the deadlock with one beat less.
    """

    stream: str
    depth: int
    interval_cycles: int
    less_interval_cycles: int
    less_deadlock: tuple[tuple[str, str], ...]

    @property
    def is_least(self) -> bool:
        """Whether one beat less blocks or slows."""
        return bool(self.less_deadlock) or self.less_interval_cycles != self.interval_cycles

    def __str__(self) -> str:
        if self.less_deadlock:
            less = "blocks"
        elif self.is_least:
            less = f"takes {self.less_interval_cycles} cycles a frame"
        else:
            less = "is enough too"
        return (
            f"{self.stream}: {self.depth} beats, {self.interval_cycles} cycles a frame; "
            f"{self.depth - 1} {less}"
        )


def sized(graph: StreamGraph, *, exact: bool = False) -> StreamGraph:
    """The same graph with depths that neither block nor slow, as shallow as the search finds.

    Args:
        graph: with or without depths.
        exact: to the beat; else above a straight pipeline's depth in steps of `STEP_BEATS`.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core is missing.
    """
    if not graph.processes:
        return graph
    search = _Search(graph, exact)
    depths = search.run()
    streams = dict(graph.streams)
    for name, stream in graph.streams.items():
        depth = depths[name]
        reason = _reason(graph, name) if depth > search.base[name] else "straight pipeline"
        streams[name] = dataclasses.replace(stream, depth=depth, reason=reason)
    return dataclasses.replace(graph, streams=streams)


def joins(graph: StreamGraph) -> tuple[str, ...]:
    """The streams on whose depth a join depends: branches of forks, inputs of joins."""
    branches = [name for p in graph.processes if len(p.outputs) > 1 for name in p.outputs]
    inputs = [name for p in graph.processes if len(p.inputs) > 1 for name in p.inputs]
    return tuple(dict.fromkeys([*branches, *inputs]))


def prove(graph: StreamGraph, streams: Sequence[str] | None = None) -> tuple[DepthProof, ...]:
    """Simulates with the graph's depths, and with one beat less for each of some streams.

    Args:
        graph: with depths.
        streams: which; by default those that joins depend on.
    """
    simulator = Simulator(graph)
    result = simulator.run()
    proofs = []
    for name in joins(graph) if streams is None else streams:
        depth = graph.streams[name].depth
        if depth == 1:
            continue
        less = simulator.run({name: depth - 1})
        proofs.append(
            DepthProof(name, depth, result.interval_cycles, less.interval_cycles, less.deadlock)
        )
    return tuple(proofs)


def _reason(graph: StreamGraph, name: str) -> str:
    producer, consumer = graph.producers.get(name), graph.consumers.get(name)
    if producer is not None and len(producer.outputs) > 1:
        return f"waits while the other branches of {producer.inputs[0]} fill up"
    if consumer is not None and len(consumer.inputs) > 1:
        return f"waits for the other side of {consumer.layer}"
    source = producer.name if producer is not None else "the input"
    target = consumer.name if consumer is not None else "the output"
    return f"keeps {target} at work while {source} pauses"


class _Search:
    def __init__(self, graph: StreamGraph, exact: bool) -> None:
        self.graph = graph
        self.exact = exact
        self.simulator = Simulator(graph)
        self.target = self.simulator.least_interval
        self.base = {
            name: max(2, min(STRAIGHT_DEPTH, stream.beats))
            for name, stream in graph.streams.items()
        }
        self.depths = dict(self.base)

    def run(self) -> Mapping[str, int]:
        if self.keeps({}):
            narrow: list[str] = []
            wide: list[str] = []
        else:
            wide, narrow = self.start()
        self.reduce(wide)
        if narrow:
            # what the branches hold now is enough for them
            fill = self.simulator.run(self.depths).fill
            self.depths.update({n: max(self.base[n], fill[n]) for n in narrow})
        for name in narrow:
            self.reduce([name])
        if self.exact:  # below a straight pipeline's depth too, where joins depend on it
            for name in joins(self.graph):
                if self.depths[name] == self.base[name]:
                    self.least(name, 0, self.base[name])
        return self.depths

    def start(self) -> tuple[list[str], list[str]]:
        """Sets depths that are enough; returns the streams deeper than the base: straight and
        joining ones, the widest fills first, and branches.
        """
        most = {name: min(s.beats, UNLIMITED_BEATS) for name, s in self.graph.streams.items()}
        result = Simulator(self.graph, input_interval=self.target).run(most)
        if result.interval_cycles != self.target:
            most = {name: 2 * stream.beats for name, stream in self.graph.streams.items()}
            result = Simulator(self.graph, input_interval=self.target).run(most)
            if result.interval_cycles != self.target:
                raise HwflowError(
                    f"{self.graph.name}: streams that never fill up give an interval of "
                    f"{result.interval_cycles} cycles, but the longest period is {self.target}; "
                    f"this contradicts the schedules"
                )
        self.depths = {name: max(self.base[name], result.fill[name]) for name in most}
        branches = {n for p in self.graph.processes if len(p.outputs) > 1 for n in p.outputs}
        deep = [name for name in most if self.depths[name] > self.base[name]]
        wide = sorted((n for n in deep if n not in branches), key=self.bits, reverse=True)
        for name in branches:
            self.depths[name] = most[name]
        narrow = [name for name in most if name in branches]
        return wide, sorted(narrow, key=self.bits, reverse=True)

    def bits(self, name: str) -> int:
        return self.depths[name] * self.graph.streams[name].width_bits

    def keeps(self, change: Mapping[str, int]) -> bool:
        """Whether the interval stays the shortest with some depths changed."""
        result = self.simulator.run({**self.depths, **change}, FEWEST_FRAMES)
        return result.interval_cycles == self.target

    def reduce(self, names: Sequence[str]) -> None:
        """Brings streams to the base depth, all at once if possible, else half by half."""
        names = [name for name in names if self.depths[name] > self.base[name]]
        if not names:
            return
        change = {name: self.base[name] for name in names}
        if self.keeps(change):
            self.depths.update(change)
        elif len(names) > 1:
            half = (len(names) + 1) // 2
            self.reduce(names[half:])
            self.reduce(names[:half])
        else:
            self.least(names[0], self.base[names[0]], self.depths[names[0]])

    def least(self, name: str, too_few: int, enough: int) -> None:
        """Finds by bisection the least depth between one that is too few and one that is enough."""
        step = 1 if self.exact else STEP_BEATS
        low, high = too_few // step, -(-enough // step)
        if high * step > enough:
            self.depths[name] = enough
        while high - low > 1:
            middle = (low + high) // 2
            if self.keeps({name: middle * step}):
                high = middle
            else:
                low = middle
        self.depths[name] = min(high * step, enough) if self.exact else high * step
