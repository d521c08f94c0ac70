"""A stream graph as the compiled core of the dataflow simulation takes it (`sim/dataflow`)."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import ToolError
from hwflow.plan.process_schedule import Ticks, process_schedule
from hwflow.plan.streams import StreamGraph


@dataclass(frozen=True, eq=False)
class Node:
    """A process, or what feeds an input or takes an output (then without a name).

    Attributes:
        name: of the process.
        period: ticks from frame to frame.
        ports: of each stream its name, whether it is written, and the ticks of its beats.
    """

    name: str
    period: int
    ports: tuple[tuple[str, bool, Ticks], ...]


@dataclass(frozen=True, eq=False)
class Network:
    """Inputs, processes and outputs, in this order.

    Attributes:
        names: of the streams; the core numbers them so.
        nodes: the core numbers them so.
    """

    names: tuple[str, ...]
    nodes: tuple[Node, ...]
    _ticks: list[Ticks] = field(init=False)  # kept alive: the core has their addresses
    _periods: npt.NDArray[np.int64] = field(init=False)
    _ports: Any = field(init=False)

    def __post_init__(self) -> None:
        place = {name: index for index, name in enumerate(self.names)}
        ports = [
            (index, place[stream], writes, np.ascontiguousarray(ticks, np.int32))
            for index, node in enumerate(self.nodes)
            for stream, writes, ticks in node.ports
        ]
        entries = (_Port * len(ports))()
        for entry, (index, stream, writes, ticks) in zip(entries, ports, strict=True):
            entry.process, entry.stream, entry.writes = index, stream, int(writes)
            entry.ticks, entry.count = ticks.ctypes.data, ticks.size
        object.__setattr__(self, "_ticks", [ticks for *_, ticks in ports])
        object.__setattr__(self, "_ports", entries)
        object.__setattr__(self, "_periods", np.array([n.period for n in self.nodes], np.int64))

    @property
    def least_interval(self) -> int:
        """The longest period: no depths make the interval from frame to frame shorter."""
        return int(self._periods.max())

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Periods, their number, ports, their number: what each function begins with."""
        return pointer(self._periods), len(self.nodes), self._ports, len(self._ports)

    def deadlock(self, waits_for: npt.NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
        """Follows from a waiting node to the one it waits for until one comes again.

        Args:
            waits_for: by node, the stream that it waits for, or -1.

        Returns:
            The streams of the cycle, each with what is the matter with it: `empty` or `full`.
        """
        writer: dict[str, int] = {}
        reader: dict[str, int] = {}
        for index, node in enumerate(self.nodes):
            for stream, writes, _ in node.ports:
                (writer if writes else reader)[stream] = index
        start = next(i for i in range(len(self.nodes)) if waits_for[i] >= 0)
        seen: dict[int, int] = {}
        path: list[tuple[str, str]] = []
        index = start
        while index not in seen:
            seen[index] = len(path)
            stream = self.names[int(waits_for[index])]
            is_reader = reader[stream] == index
            path.append((stream, "empty" if is_reader else "full"))
            index = writer[stream] if is_reader else reader[stream]
        return tuple(path[seen[index] :])


def network_of(graph: StreamGraph, input_interval: int = 0) -> Network:
    """The network of a graph.

    Args:
        graph: processes and streams.
        input_interval: cycles over which the beats of a frame are offered, evenly; by default one
            a cycle, frame after frame.

    Raises:
        DesignError: for a kernel without a schedule.
    """
    nodes = [
        *(_outside(graph, name, True, input_interval) for name in graph.inputs),
        *(_node(graph, process.name) for process in graph.processes),
        *(_outside(graph, name, False, 0) for name in graph.outputs),
    ]
    return Network(tuple(graph.streams), tuple(nodes))


def _node(graph: StreamGraph, name: str) -> Node:
    process = next(process for process in graph.processes if process.name == name)
    schedule = process_schedule(process)
    ports = [
        *((s, False, t) for s, t in zip(process.inputs, schedule.reads, strict=True)),
        *((s, True, t) for s, t in zip(process.outputs, schedule.writes, strict=True)),
    ]
    for stream, _, ticks in ports:
        assert ticks.size == graph.streams[stream].beats, (name, stream)
    return Node(name, schedule.period, tuple(ports))


def _outside(graph: StreamGraph, stream: str, writes: bool, interval: int) -> Node:
    """What feeds an input or takes an output, a beat a cycle or spread over an interval."""
    beats = graph.streams[stream].beats
    period = max(beats, interval)
    ticks = (np.arange(beats, dtype=np.int64) * period // beats).astype(np.int32)
    return Node("", period, ((stream, writes, ticks),))


# --- the compiled library ----------------------------------------------------------------------


class _Port(ctypes.Structure):
    _fields_ = [
        ("process", ctypes.c_int64),
        ("stream", ctypes.c_int64),
        ("writes", ctypes.c_int64),
        ("ticks", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    ]


def pointer(array: npt.NDArray[np.int64]) -> Any:
    """The address of 64-bit integers."""
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))


@functools.cache
def core() -> ctypes.CDLL:
    """The library of `sim/dataflow/`, which installing hwflow builds; api.h describes it.

    Raises:
        ToolError: if it is missing.
    """
    found = sorted(Path(__file__).parent.glob("_dataflow.*"))
    remedy = "install hwflow again (pip install .), which compiles sim/dataflow"
    if not found:
        raise ToolError(f"the compiled core of the dataflow simulation is missing: {remedy}")
    library = ctypes.CDLL(str(found[0]))
    numbers, size, state = ctypes.POINTER(ctypes.c_int64), ctypes.c_int64, ctypes.c_void_p
    network = [numbers, size, ctypes.POINTER(_Port), size]
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "hwflow_dataflow": (ctypes.c_int32, [*network, numbers, size, size, *[numbers] * 4]),
        "hwflow_steady_new": (state, [*network, size, size]),
        "hwflow_steady_delete": (None, [state]),
        "hwflow_steady_settle": (ctypes.c_int32, [state, *[numbers] * 3]),
        "hwflow_steady_change": (
            ctypes.c_int32,
            [state, *[numbers] * 2, *[size] * 2, *[numbers] * 2],
        ),
        "hwflow_steady_fill": (ctypes.c_int32, [state, numbers]),
        "hwflow_steady_follow": (ctypes.c_int32, [state, state]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
