"""Cycle-true simulation of the streams: intervals, latencies, fills, waits and deadlocks.

Only the movement of beats is simulated, not their values: a kernel's order of reads and writes does
not depend on data. Each process is a pipeline that stands still while a beat that is to move in a
tick cannot (UG1399: `stp`, the stalled pipeline, the default); FIFOs pass a beat on in the cycle
after it was written. Beats are offered at each input, and taken at each output, one a cycle.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwflow.errors import ToolError
from hwflow.plan.process_schedule import Ticks, process_schedule
from hwflow.plan.streams import StreamGraph

FEWEST_FRAMES = 3
MOST_FRAMES = 12


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


@dataclass(frozen=True, eq=False)
class _Node:
    """A process as the core takes it."""

    name: str
    period: int
    ports: tuple[tuple[str, bool, Ticks], ...]  # stream, whether it writes, ticks


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
        self._names = list(graph.streams)
        place = {name: index for index, name in enumerate(self._names)}
        self._nodes = [
            *(_outside(graph, name, True, input_interval) for name in graph.inputs),
            *(_node(graph, process.name) for process in graph.processes),
            *(_outside(graph, name, False, 0) for name in graph.outputs),
        ]
        ports = [
            (index, place[stream], writes, ticks)
            for index, node in enumerate(self._nodes)
            for stream, writes, ticks in node.ports
        ]
        self._ticks = [np.ascontiguousarray(ticks, np.int32) for _, _, _, ticks in ports]
        self._ports = (_Port * len(ports))()
        for entry, (index, stream, writes, _), ticks in zip(
            self._ports, ports, self._ticks, strict=True
        ):
            entry.process, entry.stream, entry.writes = index, stream, int(writes)
            entry.ticks, entry.count = ticks.ctypes.data, ticks.size
        self._periods = np.array([node.period for node in self._nodes], np.int64)

    @property
    def least_interval(self) -> int:
        """The longest period of a process: no depths make the interval shorter."""
        return int(self._periods.max())

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
        nodes, streams = len(self._nodes), len(self._names)
        fill = np.zeros(streams, np.int64)
        waits_for = np.zeros(nodes, np.int64)
        finished = np.zeros(nodes, np.int64)
        figures = np.zeros((nodes, frames, 4), np.int64)
        status = _core().hwflow_dataflow(
            _pointer(self._periods),
            nodes,
            self._ports,
            len(self._ports),
            _pointer(np.array([max(1, depths[name]) for name in self._names], np.int64)),
            streams,
            frames,
            _pointer(fill),
            _pointer(waits_for),
            _pointer(finished),
            _pointer(figures),
        )
        if status not in (0, 1):
            raise ToolError("the dataflow simulation ran out of memory: simulate fewer frames")
        deadlock = self._cycle(waits_for) if status == 1 else ()
        last = max(0, int(finished.min()) - 1)
        sinks = figures[len(self._nodes) - len(self.graph.outputs) :]
        ends = sinks[:, :, 1].max(axis=0)
        intervals = np.diff(ends)
        settled = len(intervals) >= 2 and intervals[-1] == intervals[-2] and not deadlock
        return Dataflow(
            frames=frames,
            first_output_cycles=0 if deadlock else int(sinks[:, 0, 0].min()),
            latency_cycles=0 if deadlock else int(ends[0]),
            interval_cycles=int(intervals[-1]) if settled else 0,
            fill={name: int(count) for name, count in zip(self._names, fill, strict=True)},
            processes={
                node.name: ProcessFigures(node.period, int(figure[2]), int(figure[3]))
                for node, figure in zip(self._nodes, figures[:, last], strict=True)
                if node.name
            },
            deadlock=deadlock,
        )

    def _cycle(self, waits_for: Any) -> tuple[tuple[str, str], ...]:
        """Follows from each waiting process to the one it waits for until one comes again."""
        writer: dict[str, int] = {}
        reader: dict[str, int] = {}
        for index, node in enumerate(self._nodes):
            for stream, writes, _ in node.ports:
                (writer if writes else reader)[stream] = index
        start = next(i for i in range(len(self._nodes)) if waits_for[i] >= 0)
        seen: dict[int, int] = {}
        path: list[tuple[str, str]] = []
        index = start
        while index not in seen:
            seen[index] = len(path)
            stream = self._names[int(waits_for[index])]
            is_reader = reader[stream] == index
            path.append((stream, "empty" if is_reader else "full"))
            index = writer[stream] if is_reader else reader[stream]
        return tuple(path[seen[index] :])


def simulate(graph: StreamGraph, frames: int | None = None) -> Dataflow:
    """Simulates a graph with its own depths; see `Simulator`."""
    return Simulator(graph).run(frames=frames)


def _node(graph: StreamGraph, name: str) -> _Node:
    process = next(process for process in graph.processes if process.name == name)
    schedule = process_schedule(process)
    ports = [
        *((s, False, t) for s, t in zip(process.inputs, schedule.reads, strict=True)),
        *((s, True, t) for s, t in zip(process.outputs, schedule.writes, strict=True)),
    ]
    for stream, _, ticks in ports:
        assert ticks.size == graph.streams[stream].beats, (name, stream)
    return _Node(name, schedule.period, tuple(ports))


def _outside(graph: StreamGraph, stream: str, writes: bool, interval: int) -> _Node:
    """What feeds an input or takes an output, a beat a cycle or spread over an interval."""
    beats = graph.streams[stream].beats
    period = max(beats, interval)
    ticks = (np.arange(beats, dtype=np.int64) * period // beats).astype(np.int32)
    return _Node("", period, ((stream, writes, ticks),))


# --- the compiled core -------------------------------------------------------------------------


class _Port(ctypes.Structure):
    _fields_ = [
        ("process", ctypes.c_int64),
        ("stream", ctypes.c_int64),
        ("writes", ctypes.c_int64),
        ("ticks", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    ]


def _pointer(array: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))


@functools.cache
def _core() -> ctypes.CDLL:
    """The library of `sim/dataflow/`, which installing hwflow builds.

    Raises:
        ToolError: if it is missing.
    """
    found = sorted(Path(__file__).parent.glob("_dataflow.*"))
    remedy = "install hwflow again (pip install .), which compiles sim/dataflow"
    if not found:
        raise ToolError(f"the compiled core of the dataflow simulation is missing: {remedy}")
    library = ctypes.CDLL(str(found[0]))
    numbers = ctypes.POINTER(ctypes.c_int64)
    size = ctypes.c_int64
    function = library.hwflow_dataflow
    function.restype = ctypes.c_int32
    function.argtypes = [
        numbers, size, ctypes.POINTER(_Port), size, numbers, size, size,
        numbers, numbers, numbers, numbers,
    ]  # fmt: skip
    return library
