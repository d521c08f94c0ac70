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
from hwflow.plan.depth_bounds import Bounds
from hwflow.plan.depth_trials import DepthTrials
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
        less_interval_cycles: with one beat less, the least that a frame takes: more than the
            interval if it slows (it may also block in the end); 0 if it was found to block.
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
            less = f"takes at least {self.less_interval_cycles} cycles a frame"
        else:
            less = "is enough too"
        return (
            f"{self.stream}: {self.depth} beats, {self.interval_cycles} cycles a frame; "
            f"{self.depth - 1} {less}; built with {built_depth(self.depth)}"
        )


def sized(graph: StreamGraph, *, interval_cycles: int = 0, exact: bool = False) -> StreamGraph:
    """The same graph with depths that neither block nor slow, as shallow as the search finds.

    Args:
        graph: with or without depths.
        interval_cycles: from frame to frame at most; no less than its processes need counts as
            what they need. The longer, the less has to wait.
        exact: to the beat where joins depend on it (`joins`), below a straight pipeline's depth
            too; all others above that depth in steps of `STEP_BEATS`.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core is missing.
    """
    if not graph.processes:
        return graph
    return _with_depths(graph, _Search(graph, interval_cycles, exact).run())


def minimised(graph: StreamGraph) -> tuple[StreamGraph, tuple[DepthProof, ...]]:
    """As `sized` to the beat, and what one beat less does at the streams that joins depend on.

    What the search has tried is not tried again: other streams had become no shallower then, and a
    deeper one never blocks or slows.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core is missing.
    """
    if not graph.processes:
        return graph, ()
    search = _Search(graph, 0, True)
    depths = search.run()
    return _with_depths(graph, depths), search.proofs()


def _with_depths(graph: StreamGraph, depths: Mapping[str, int]) -> StreamGraph:
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
    steady = settled(graph)
    if steady.verdict.deadlock:
        return ()
    chosen = joins(graph) if streams is None else streams
    names = [name for name in chosen if graph.streams[name].depth > 1]
    depths = {name: graph.streams[name].depth for name in names}
    interval = steady.verdict.interval_cycles
    found = DepthTrials(steady).probes({name: depths[name] - 1} for name in names)
    return tuple(
        _proof(name, depths[name] - 1, interval, less)
        for name, less in zip(names, found, strict=True)
    )


def _proof(name: str, less: int, interval: int, verdict: Verdict) -> DepthProof:
    return DepthProof(name, less + 1, interval, verdict.interval_cycles, verdict.deadlock)


def settled(graph: StreamGraph) -> Steady:
    """A graph held to the interval that its depths keep in the long run, unless they block."""
    network = network_of(graph)
    depths = {name: stream.depth for name, stream in graph.streams.items()}
    steady = Steady(network, network.least_interval, depths)
    while not _ends(steady):  # frames take no less than is said: the first kept is the least
        longer = max(steady.verdict.interval_cycles, steady.interval + 1)
        steady = Steady(network, longer, depths)
    return steady


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
    def __init__(self, graph: StreamGraph, interval_cycles: int, exact: bool) -> None:
        self.graph = graph
        self.to_the_beat = joins(graph) if exact else ()
        self.network = network_of(graph)
        self.target = max(interval_cycles, self.network.least_interval)
        self.base = {name: _straight(stream) for name, stream in graph.streams.items()}
        self.depths = dict(self.base)
        self.tried: dict[tuple[str, int], Verdict] = {}

    def run(self) -> Mapping[str, int]:
        steady = Steady(self.network, self.target, self.base)
        if steady.verdict.interval_cycles == self.target:
            self.trials = DepthTrials(steady)
        else:
            wide, branches = self.start()
            self.reduce(wide)
            # what the branches hold now is enough for them
            self.fill(branches)
            for name in branches:
                self.reduce([name])
        for name in self.to_the_beat:  # below a straight pipeline's depth too
            if self.depths[name] == self.base[name]:
                self.least(name, 0, [])
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
            steady = Steady(self.network, self.target, self.depths)
            if steady.verdict.interval_cycles == self.target:
                self.trials = DepthTrials(steady)
                break
        else:
            raise HwflowError(
                f"{self.graph.name}: streams that hold {FRAMES_HELD[-1]} frames do not keep the "
                f"interval of {self.target} cycles: {steady.verdict}; this contradicts "
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
        fill = self.trials.fill()
        for name in names:
            fill[name] = built_depth(fill[name])
        self.change({n: min(self.depths[n], max(self.base[n], fill[n])) for n in names})

    def change(self, change: Mapping[str, int]) -> Verdict:
        """Makes streams shallower if the interval stays the shortest."""
        verdict = self.trials.change(change)
        if verdict.interval_cycles == self.target:
            self.depths.update(change)
        return verdict

    def reduce(self, names: Sequence[str]) -> None:
        """Brings streams to the base depth, all at once if possible, else half by half."""
        names = [name for name in names if self.depths[name] > self.base[name]]
        if not names:
            return
        verdict = self.change({name: self.base[name] for name in names})
        if verdict.interval_cycles == self.target:
            return
        if len(names) > 1:
            half = (len(names) + 1) // 2
            self.reduce(names[half:])
            self.reduce(names[:half])
        else:
            (name,) = names
            self.least(name, self.base[name], [(self.base[name], verdict)])

    def least(self, name: str, too_few: int, tried: list[tuple[int, Verdict]]) -> None:
        """Finds the least depth, in steps first.

        Args:
            name: of the stream.
            too_few: a depth that is.
            tried: depths that are too few, and what became of them.
        """
        for step in (STEP_BEATS, 1) if name in self.to_the_beat else (STEP_BEATS,):
            enough = -(-self.trials.fill()[name] // step)
            if enough * step < self.depths[name]:
                self.change({name: max(1, enough) * step})
            bounds = Bounds(too_few // step, -(-self.depths[name] // step))
            for depth, verdict in tried:
                self.learn(bounds, step, depth, verdict)
            while bounds.between:
                steps = bounds.next(self.trials.count)
                verdicts = self.trials.least(name, [count * step for count in steps])
                for count, verdict in zip(steps, verdicts, strict=True):
                    self.learn(bounds, step, count * step, verdict)
                    self.tried[name, count * step] = verdict
                    if verdict.interval_cycles != self.target:
                        tried.append((count * step, verdict))
                self.depths[name] = min(self.depths[name], bounds.enough * step)
            too_few = max(too_few, bounds.too_few * step)

    def proofs(self) -> tuple[DepthProof, ...]:
        """What one beat less than found does, at each stream that holds more than one."""
        less = {name: self.depths[name] - 1 for name in self.to_the_beat if self.depths[name] > 1}
        untried = [key for key in less.items() if key not in self.tried]
        found = self.trials.probes({name: depth} for name, depth in untried)
        verdicts = self.tried | dict(zip(untried, found, strict=True))
        return tuple(_proof(*key, self.target, verdicts[key]) for key in less.items())

    def learn(self, bounds: Bounds, step: int, depth: int, verdict: Verdict) -> None:
        """Tells bounds, in steps, what became of a depth."""
        excess = verdict.interval_cycles - self.target
        bounds.add(depth // step, excess, (verdict.depth_needed - 1) // step)
