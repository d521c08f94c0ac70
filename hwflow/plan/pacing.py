"""Depths of the FIFOs for a longer interval than the shortest: less has to wait then.

`fifo_search.sized` keeps the longest period of a process. A process beside the network that is at
work for as long as a frame may take makes that the interval to keep; it shares no stream with the
others.
"""

from __future__ import annotations

import dataclasses

from hwflow.fixed_point import FixedPoint
from hwflow.plan import fifo_search
from hwflow.plan.process_schedule import period_cycles
from hwflow.plan.search import slowest
from hwflow.plan.streams import Process, Stream, StreamGraph

_NAME = "hwflow_pace"  # no layer's: their streams' names end otherwise


def sized_for(graph: StreamGraph, interval_cycles: int) -> StreamGraph:
    """The same graph with depths that keep an interval, as shallow as the search finds.

    Args:
        graph: with or without depths.
        interval_cycles: from frame to frame at most; no less than its processes need counts as
            what they need.

    Raises:
        DesignError: for a kernel without a schedule.
        ToolError: if the compiled core of the simulation is missing.
    """
    if interval_cycles <= slowest(graph)[0]:
        return fifo_search.sized(graph)
    paced = fifo_search.sized(_paced(graph, interval_cycles))
    return dataclasses.replace(graph, streams={name: paced.streams[name] for name in graph.streams})


def _paced(graph: StreamGraph, interval_cycles: int) -> StreamGraph:
    ends = (f"{_NAME}_in", f"{_NAME}_out")
    pace = Process(_NAME, "repack", _NAME, ends[:1], ends[1:], {}, cycles=0)
    beats = interval_cycles - period_cycles(pace)
    settings = {"pixels": beats, "channels": 1, "in_lanes": 1, "out_lanes": 1}
    pace = dataclasses.replace(pace, settings=settings, cycles=beats)
    streams = {name: Stream(name, None, FixedPoint(1, 1), 1, 1, beats) for name in ends}
    return StreamGraph(
        graph.name,
        (*graph.processes, pace),
        {**graph.streams, **streams},
        (*graph.inputs, ends[0]),
        (*graph.outputs, ends[1]),
    )
