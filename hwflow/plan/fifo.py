"""Depths of the FIFOs: shallow in straight pipelines, proved sufficient where paths meet again.

Where a stream is duplicated and its copies meet again further down, the join goes on only when
both sides have arrived, and for that the other side may have to read far ahead (a 3x3 window wants
two rows). Meanwhile the copy must hold what the slower side has not taken yet. How far each process
has read when a beat leaves it is a fact of its static schedule, so the need is counted, not
guessed. For the b-th beat that leaves the join:

    depth(A) >= max over b of  beats of B read at the most until beat b leaves the join
                             - beats of A read at the least once the join worked on beat b - 1

At the most: a stalled pipeline lets a beat go only when it has read on for its latency. At the
least: what the iteration that makes a beat has read. A network of processes whose reads and writes
follow a fixed order runs to its end with these depths whatever the processes' speeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from hwflow.plan.process_schedule import ProcessSchedule, process_schedule
from hwflow.plan.streams import Process, Stream, StreamGraph

STRAIGHT_DEPTH = 16
"""Beats of a FIFO in a straight pipeline: what one SRL16 a bit holds."""

PIPELINE_BEATS = 32
"""Beats to spare in the FIFO of a join: the tool may make pipelines deeper than the plan thinks."""

Counts = npt.NDArray[np.int64]
"""For each beat of a stream, how many beats of a branch have been read for it."""


@dataclasses.dataclass(frozen=True)
class Reach:
    """What the beats of a stream take of a branch.

    Attributes:
        most: beats read at the most until each beat leaves its process.
        least: beats read at the least once the process works on each beat.
    """

    most: Counts
    least: Counts


def with_depths(graph: StreamGraph) -> StreamGraph:
    """The same graph with the depth of every FIFO set, and the reason for it."""
    streams: dict[str, Stream] = {
        name: dataclasses.replace(stream, depth=max(2, min(STRAIGHT_DEPTH, stream.beats)))
        for name, stream in graph.streams.items()
    }
    schedules = {process.name: process_schedule(process) for process in graph.processes}
    for process in graph.processes:
        if len(process.outputs) < 2:
            continue
        for name, (beats, join) in _demands(graph, process, schedules).items():
            stream = streams[name]
            if beats + PIPELINE_BEATS > stream.depth:
                pixels = -(-beats // (stream.channels // stream.lanes))
                streams[name] = dataclasses.replace(
                    stream,
                    depth=min(beats, stream.beats) + PIPELINE_BEATS,
                    reason=f"waits for the other side of {join} by {pixels} pixels",
                )
    return dataclasses.replace(graph, streams=streams)


def _demands(
    graph: StreamGraph, fork: Process, schedules: Mapping[str, ProcessSchedule]
) -> dict[str, tuple[int, str]]:
    """Beats that each output of a fork must hold, and the join that demands most."""
    demands: dict[str, tuple[int, str]] = {}
    for join, sides in _joins(graph, fork, schedules):
        for mine, branch in enumerate(fork.outputs):
            side = [reach for index, name, reach in sides if index == mine]
            # what this branch feeds too pulls on it by itself: an earlier join has the two meet
            fed = {name for index, name, _ in sides if index == mine}
            others = [reach for index, name, reach in sides if index != mine and name not in fed]
            if not side or not others:
                continue
            ahead = np.max([reach.most for reach in others], axis=0)
            behind = np.min([reach.least for reach in side], axis=0)
            behind = np.concatenate([[0], behind[:-1]])
            beats = int(np.max(ahead - behind))
            if beats > demands.get(branch, (0, ""))[0]:
                demands[branch] = (beats, join.layer)
    return demands


def _joins(
    graph: StreamGraph, fork: Process, schedules: Mapping[str, ProcessSchedule]
) -> Iterator[tuple[Process, list[tuple[int, str, Reach]]]]:
    """The joins below a fork, until its branches are one again.

    Yields:
        The join; and for each branch and each input that it reaches: the branch's index, the
        input's name, and what the beats that leave the join take of the branch through it.
    """
    reached: list[dict[str, Reach]] = []
    for branch in fork.outputs:
        beats = np.arange(1, graph.streams[branch].beats + 1, dtype=np.int64)
        reached.append({branch: Reach(beats, beats)})
    open_streams = set(fork.outputs)
    for process in graph.processes:
        if not open_streams.intersection(process.inputs):
            continue
        through = [
            (index, name, _through(process, name, found[name], schedules[process.name]))
            for index, found in enumerate(reached)
            for name in process.inputs
            if name in found
        ]
        if len(process.inputs) > 1:
            yield process, through
        for index, found in enumerate(reached):
            parts = [reach for branch, _, reach in through if branch == index]
            if parts:
                total = Reach(
                    np.max([part.most for part in parts], axis=0),
                    np.max([part.least for part in parts], axis=0),
                )
                found |= dict.fromkeys(process.outputs, total)
        open_streams -= set(process.inputs)
        open_streams |= set(process.outputs) - set(graph.outputs)
        if all(name in found for name in open_streams for found in reached):
            return


def _through(process: Process, name: str, reach: Reach, schedule: ProcessSchedule) -> Reach:
    """What the beats that leave a process take of a branch through one of its inputs."""
    reads = schedule.reads[process.inputs.index(name)]
    writes = schedule.writes[0]
    most = np.searchsorted(reads, writes, side="right")
    least = np.searchsorted(reads, writes - schedule.latency, side="right")
    zero = np.zeros(1, np.int64)
    return Reach(
        np.concatenate([zero, reach.most])[most], np.concatenate([zero, reach.least])[least]
    )
