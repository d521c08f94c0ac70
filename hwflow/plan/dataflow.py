"""Cycle-true simulation of the streams: intervals, latencies, fills, waits and deadlocks.

Only the movement of beats is simulated, not their values: a kernel's order of reads and writes does
not depend on data. Each process is a pipeline that stands still while a beat that is to move in a
tick cannot (UG1399: `stp`, the stalled pipeline, the default); FIFOs pass a beat on in the cycle
after it was written. Beats are offered at each input, and taken at each output, one a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwflow.errors import ToolError
from hwflow.plan.dataflow_core import core, network_of, pointer
from hwflow.plan.streams import StreamGraph

FEWEST_FRAMES = 3
MOST_FRAMES = 48


@dataclass(frozen=True)
class ProcessFigures:
    """What a process does in the last frame simulated.

    Attributes:
        period: cycles from frame to frame if it never waited.
        waited_to_read: cycles that it stood still because a stream was empty.
        waited_to_write: cycles that it stood still because a stream was full.
    """

    period: int
    waited_to_read: int
    waited_to_write: int


@dataclass(frozen=True)
class Dataflow:
    """What the simulation found.

    Attributes:
        frames: simulated.
        first_output_cycles: from the first input beat offered to the first output beat taken.
        latency_cycles: from there to the first frame's last output beat.
        interval_cycles: from the last output beat of a frame to that of the next, when two
            intervals in a row are equal; 0 if frames never settle or there is a deadlock.
        fill: the most beats that each stream held.
        processes: figures of each process.
        deadlock: the streams of a cycle of processes that wait for one another, each with what is
            the matter with it (`empty` or `full`); empty if all frames went through.
    """

    frames: int
    first_output_cycles: int
    latency_cycles: int
    interval_cycles: int
    fill: Mapping[str, int]
    processes: Mapping[str, ProcessFigures]
    deadlock: tuple[tuple[str, str], ...]

    @property
    def bottleneck(self) -> str:
        """The process with the longest period."""
        return max(self.processes, key=lambda name: self.processes[name].period)

    def explain_deadlock(self) -> str:
        """The deadlock in words, or nothing."""
        if not self.deadlock:
            return ""
        parts = " -> ".join(f"{name} ({state})" for name, state in self.deadlock)
        return f"deadlock: every process of the cycle waits for the next: {parts}"


class Simulator:
    """Simulates a graph for different depths: schedules are computed once.

    Args:
        graph: processes and streams.
        input_interval: cycles over which the beats of a frame are offered, evenly; by default one
            a cycle, frame after frame.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core is missing.
    """

    def __init__(self, graph: StreamGraph, input_interval: int = 0) -> None:
        self.graph = graph
        self._network = network_of(graph, input_interval)

    @property
    def least_interval(self) -> int:
        """The longest period of a process: no depths make the interval shorter."""
        return self._network.least_interval

    def run(self, depths: Mapping[str, int] | None = None, frames: int | None = None) -> Dataflow:
        """Simulates frames one after another, as close as the streams let them come.

        Args:
            depths: of streams that differ from the graph's.
            frames: how many; by default as many as the interval needs to settle.
        """
        chosen = {name: stream.depth for name, stream in self.graph.streams.items()}
        chosen.update(depths or {})
        if frames is not None:
            return self._run(chosen, frames)
        count = FEWEST_FRAMES
        while True:
            result = self._run(chosen, count)
            if result.interval_cycles or result.deadlock or count >= MOST_FRAMES:
                return result
            count = min(2 * count, MOST_FRAMES)

    def _run(self, depths: Mapping[str, int], frames: int) -> Dataflow:
        network = self._network
        nodes, streams = len(network.nodes), len(network.names)
        fill = np.zeros(streams, np.int64)
        waits_for = np.zeros(nodes, np.int64)
        finished = np.zeros(nodes, np.int64)
        figures = np.zeros((nodes, frames, 4), np.int64)
        status = core().hwflow_dataflow(
            *network.arguments,
            pointer(np.array([max(1, depths[name]) for name in network.names], np.int64)),
            streams,
            frames,
            pointer(fill),
            pointer(waits_for),
            pointer(finished),
            pointer(figures),
        )
        if status not in (0, 1):
            raise ToolError("the dataflow simulation ran out of memory: simulate fewer frames")
        deadlock = network.deadlock(waits_for) if status == 1 else ()
        last = max(0, int(finished.min()) - 1)
        sinks = figures[nodes - len(self.graph.outputs) :]
        ends = sinks[:, :, 1].max(axis=0)
        intervals = np.diff(ends)
        # a join may let frames that have waited pass more closely than any process goes on
        settled = len(intervals) >= 2 and intervals[-1] == intervals[-2] and not deadlock
        settled = settled and intervals[-1] >= network.least_interval
        return Dataflow(
            frames=frames,
            first_output_cycles=0 if deadlock else int(sinks[:, 0, 0].min()),
            latency_cycles=0 if deadlock else int(ends[0]),
            interval_cycles=int(intervals[-1]) if settled else 0,
            fill={name: int(count) for name, count in zip(network.names, fill, strict=True)},
            processes={
                node.name: ProcessFigures(node.period, int(figure[2]), int(figure[3]))
                for node, figure in zip(network.nodes, figures[:, last], strict=True)
                if node.name
            },
            deadlock=deadlock,
        )


def simulate(graph: StreamGraph, frames: int | None = None) -> Dataflow:
    """Simulates a graph with its own depths; see `Simulator`."""
    return Simulator(graph).run(frames=frames)
