"""Depths of the FIFOs by simulation: as shallow as the shortest interval allows.

No depths make the interval between frames shorter than the longest period of a process. With FIFOs
that never fill up, and input that comes in that interval, every process keeps to it; the greatest
fills are then depths that neither block nor slow. From there each stream is made shallower as far
as the interval stays the same: wide streams first, the branches of a fork last, so that what must
wait waits where it is narrow. A deeper FIFO never slows a network of processes with fixed orders,
so a depth that could not be reduced then cannot be reduced in the end either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwflow.errors import HwflowError
from hwflow.plan.dataflow_core import network_of
from hwflow.plan.fifo import STRAIGHT_DEPTH
from hwflow.plan.steady import Steady, Verdict
from hwflow.plan.streams import Stream, StreamGraph

UNLIMITED_BEATS = 1 << 16
"""Depth of a FIFO that is not to fill up, unless two frames are shorter."""

FRAMES_HELD = (0, 2, 4, 8, 16)
"""Frames that FIFOs may hold that are not to fill up, one trial after the other; 0 stands for two
frames or `UNLIMITED_BEATS`, what is less, and is enough for most."""

STEP_BEATS = 16
"""What depths are multiples of above a straight pipeline's, unless sought to the beat: a shift
register or a block RAM holds them at the cost of the exact number."""


@dataclass(frozen=True)
class DepthProof:
    """That a depth is enough, and what one beat less would do.

    Attributes:
        stream: its name.
        depth: beats.
        interval_cycles: in the long run with this depth.
        less_interval_cycles: about what a frame takes, more than the interval if it slows, with one
            beat less (if the network does not block in the end); 0 if it was found to block.
        less_deadlock: the streams of the deadlock with one beat less, if one was found.
    """

    stream: str
    depth: int
    interval_cycles: int
    less_interval_cycles: int
    less_deadlock: tuple[tuple[str, str], ...]

    @property
    def is_least(self) -> bool:
        """Whether one beat less blocks or slows."""
        return bool(self.less_deadlock) or self.less_interval_cycles > self.interval_cycles

    def __str__(self) -> str:
        if self.less_deadlock:
            less = "blocks"
        elif self.is_least:
            less = f"takes about {self.less_interval_cycles} cycles a frame"
        else:
            less = "is enough too"
        return (
            f"{self.stream}: {self.depth} beats, {self.interval_cycles} cycles a frame; "
            f"{self.depth - 1} {less}; built with {built_depth(self.depth)}"
        )


def sized(graph: StreamGraph, *, exact: bool = False) -> StreamGraph:
    """The same graph with depths that neither block nor slow, as shallow as the search finds.

    Args:
        graph: with or without depths.
        exact: to the beat where joins depend on it (`joins`), below a straight pipeline's depth
            too; all others above that depth in steps of `STEP_BEATS`.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core is missing.
    """
    if not graph.processes:
        return graph
    depths = _Search(graph, exact).run()
    streams = dict(graph.streams)
    for name, stream in graph.streams.items():
        deep = depths[name] > _straight(stream)
        streams[name] = dataclasses.replace(
            stream,
            depth=depths[name],
            reason=_reason(graph, name) if deep else "straight pipeline",
        )
    return dataclasses.replace(graph, streams=streams)


def built_depth(least: int) -> int:
    """The depth that is built where at least so many beats are needed."""
    return -(-least // STEP_BEATS) * STEP_BEATS


def _beats_held(stream: Stream, frames: int) -> int:
    return frames * stream.beats if frames else min(2 * stream.beats, UNLIMITED_BEATS)


def _straight(stream: Stream) -> int:
    """Depth of a FIFO in a straight pipeline."""
    return max(2, min(STRAIGHT_DEPTH, stream.beats))


def joins(graph: StreamGraph) -> tuple[str, ...]:
    """The streams on whose depth a join depends: branches of forks, inputs of joins."""
    branches = [name for p in graph.processes if len(p.outputs) > 1 for name in p.outputs]
    inputs = [name for p in graph.processes if len(p.inputs) > 1 for name in p.inputs]
    return tuple(dict.fromkeys([*branches, *inputs]))


def prove(graph: StreamGraph, streams: Sequence[str] | None = None) -> tuple[DepthProof, ...]:
    """What the graph's depths keep to, and what one beat less of each of some streams does.

    Args:
        graph: with depths.
        streams: which; by default those that joins depend on.

    Returns:
        A proof for each of these streams that holds more than one beat; none if the graph blocks.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core is missing.
    """
    steady, verdict = settled(graph)
    if verdict.deadlock:
        return ()
    proofs = []
    for name in joins(graph) if streams is None else streams:
        depth = graph.streams[name].depth
        if depth == 1:
            continue
        less = steady.probe({name: depth - 1})
        proofs.append(
            DepthProof(name, depth, verdict.interval_cycles, less.interval_cycles, less.deadlock)
        )
    return tuple(proofs)


def settled(graph: StreamGraph) -> tuple[Steady, Verdict]:
    """A graph held to the interval that its depths keep in the long run."""
    network = network_of(graph)
    depths = {name: stream.depth for name, stream in graph.streams.items()}
    steady = Steady(network, network.least_interval, depths)
    too_short = steady.interval - 1
    while not _ends(steady):  # a frame takes longer, about as long as is said
        too_short = steady.interval
        steady = Steady(network, max(steady.verdict.interval_cycles, too_short + 1), depths)
    found = steady
    while not found.verdict.deadlock and found.interval - too_short > 1:
        steady = Steady(network, (too_short + found.interval) // 2, depths)
        if _ends(steady):
            found = steady
        else:
            too_short = steady.interval
    return found, found.verdict


def _ends(steady: Steady) -> bool:
    """Whether what was found holds for ever: a deadlock, or the interval wanted."""
    return bool(steady.verdict.deadlock) or steady.verdict.interval_cycles == steady.interval


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
        self.to_the_beat = joins(graph) if exact else ()
        self.network = network_of(graph)
        self.target = self.network.least_interval
        self.base = {name: _straight(stream) for name, stream in graph.streams.items()}
        self.depths = dict(self.base)

    def run(self) -> Mapping[str, int]:
        self.steady = Steady(self.network, self.target, self.base)
        if self.steady.verdict.interval_cycles != self.target:
            wide, branches = self.start()
            self.reduce(wide)
            # what the branches hold now is enough for them
            self.fill(branches)
            for name in branches:
                self.reduce([name])
        for name in self.to_the_beat:  # below a straight pipeline's depth too
            if self.depths[name] == self.base[name]:
                self.least(name, 0)
        return self.depths

    def start(self) -> tuple[list[str], list[str]]:
        """Takes depths that are enough.

        Returns:
            The streams deeper than the base, the widest first, without the branches of forks; and
            the branches.
        """
        streams = self.graph.streams
        for frames in FRAMES_HELD:
            self.depths = {
                name: max(self.base[name], built_depth(_beats_held(stream, frames)))
                for name, stream in streams.items()
            }
            self.steady = Steady(self.network, self.target, self.depths)
            if self.steady.verdict.interval_cycles == self.target:
                break
        else:
            raise HwflowError(
                f"{self.graph.name}: streams that hold {FRAMES_HELD[-1]} frames do not keep the "
                f"longest period, {self.target} cycles: {self.steady.verdict}; this contradicts "
                f"the schedules"
            )
        branches = {n for p in self.graph.processes if len(p.outputs) > 1 for n in p.outputs}
        self.fill([name for name in streams if name not in branches])
        deep = [name for name in streams if self.depths[name] > self.base[name]]
        deep.sort(key=self.bits, reverse=True)
        return [n for n in deep if n not in branches], [n for n in deep if n in branches]

    def bits(self, name: str) -> int:
        return self.depths[name] * self.graph.streams[name].width_bits

    def fill(self, names: Sequence[str]) -> None:
        """Makes streams as shallow as nothing need change for."""
        fill = self.steady.fill()
        for name in names:
            fill[name] = built_depth(fill[name])
        self.keeps({n: min(self.depths[n], max(self.base[n], fill[n])) for n in names})

    def keeps(self, change: Mapping[str, int]) -> bool:
        """Makes streams shallower if the interval stays the shortest."""
        return self.change(change) == 0

    def change(self, change: Mapping[str, int]) -> int | None:
        """The same.

        Returns:
            The cycles by which a frame would take longer; nothing if that is not known.
        """
        verdict = self.steady.change(change)
        if verdict.interval_cycles == 0:
            return None
        if verdict.interval_cycles == self.target:
            self.depths.update(change)
        return verdict.interval_cycles - self.target

    def reduce(self, names: Sequence[str]) -> None:
        """Brings streams to the base depth, all at once if possible, else half by half."""
        names = [name for name in names if self.depths[name] > self.base[name]]
        if not names:
            return
        excess = self.change({name: self.base[name] for name in names})
        if excess == 0:
            return
        if len(names) > 1:
            half = (len(names) + 1) // 2
            self.reduce(names[half:])
            self.reduce(names[:half])
        else:
            self.least(names[0], self.base[names[0]], excess)

    def least(self, name: str, too_few: int, excess: int | None = None) -> None:
        """Finds the least depth, in steps first.

        Args:
            name: of the stream.
            too_few: a depth that is.
            excess: the cycles by which a frame then takes longer, if known.
        """
        enough = self.steady.fill()[name]
        if enough > STEP_BEATS:
            points = [] if excess is None else [(too_few // STEP_BEATS, excess)]
            self.approach(name, too_few // STEP_BEATS, built_depth(enough) // STEP_BEATS, points)
            enough = min(self.depths[name], self.steady.fill()[name])
            too_few = max(too_few, self.depths[name] - STEP_BEATS)
        if name not in self.to_the_beat:
            return
        self.keeps({name: min(self.depths[name], max(too_few + 1, enough))})
        while self.depths[name] - too_few > 1:
            middle = (self.depths[name] + too_few) // 2
            if not self.keeps({name: middle}):
                too_few = middle

    def approach(self, name: str, low: int, high: int, points: list[tuple[int, int]]) -> None:
        """Finds the least depth in steps.

        One step less than what the stream holds now is often too few. Else the search goes up, for
        a depth that is too few is soon found out: the interval falls with the depth, less and less,
        and a line through two points reaches the interval wanted no later than the interval does.
        Every third depth tried is half way.

        Args:
            name: of the stream.
            low: too few steps.
            high: enough.
            points: of too few steps, the cycles by which a frame then takes longer.
        """
        if high * STEP_BEATS < self.depths[name]:
            self.keeps({name: high * STEP_BEATS})
        tried = 0
        while high - low > 1:
            middle = (low + high) // 2
            if tried == 0:
                middle = high - 1
            elif tried % 3 and points:
                steps, excess = points[-1]
                before, more = points[-2] if len(points) > 1 else (steps, excess)
                nearer = excess * (steps - before) // (more - excess) if more > excess else 1
                middle = min(max(low + 1, steps + nearer), high - 1)
            found = self.change({name: middle * STEP_BEATS})
            tried += 1
            if found == 0:
                high = middle
            else:
                low = middle
                points += [] if found is None else [(middle, found)]
