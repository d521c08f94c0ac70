"""Depths of the FIFOs: shallow in straight pipelines, proved sufficient where paths meet again.

Where a stream is duplicated and its copies meet again further down, the join takes the n-th pixel
of one side only when the n-th pixel of the other has arrived, and for that the other side may have
to read far ahead (a 3x3 window wants two rows). Meanwhile the copy must hold what the slower side
has not taken yet. How far each process has read when it has written its n-th pixel is a fact of its
static schedule, so the need is counted, not guessed:

    depth(A) >= max over n of  pixels of the source that B has read when its n-th pixel is written
                             - pixels of the source that A has read when its (n-1)-th is written

A network of processes whose reads and writes follow a fixed order runs to its end with these
depths whatever the processes' speeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hwflow.plan.process_schedule import window_of, window_ticks
from hwflow.plan.streams import Process, Stream, StreamGraph

STRAIGHT_DEPTH = 16
"""Beats of a FIFO in a straight pipeline: what one SRL16 a bit holds."""

PIPELINE_BEATS = 32
"""Beats that may be inside a process's pipeline: a stalled pipeline keeps results back, so a join's
FIFO has room for them beside what the schedule needs."""

Needs = npt.NDArray[np.int64]
"""For each pixel of a stream, how many pixels of another stream must have been read for it."""


def with_depths(graph: StreamGraph) -> StreamGraph:
    """The same graph with the depth of every FIFO set, and the reason for it."""
    streams: dict[str, Stream] = {
        name: dataclasses.replace(stream, depth=max(2, min(STRAIGHT_DEPTH, stream.beats)))
        for name, stream in graph.streams.items()
    }
    needs = {process.name: _needs(process, graph.streams) for process in graph.processes}
    for process in graph.processes:
        if len(process.outputs) < 2:
            continue
        for name, (pixels, join) in _demands(graph, process, needs).items():
            stream = streams[name]
            beats = pixels * (stream.channels // stream.lanes) + PIPELINE_BEATS
            if beats > stream.depth:
                streams[name] = dataclasses.replace(
                    stream,
                    depth=min(beats, stream.beats + PIPELINE_BEATS),
                    reason=f"waits for the other side of {join} by {pixels} pixels",
                )
    return dataclasses.replace(graph, streams=streams)


def _needs(process: Process, streams: Mapping[str, Stream]) -> Needs:
    """Pixels read of each input when each output pixel is written (all inputs go in step)."""
    outputs = streams[process.outputs[0]].pixels
    if process.kernel == "global_sum":
        return np.full(outputs, process.settings["pixels"], np.int64)
    if process.kernel != "sliding_window":
        return np.arange(1, outputs + 1, dtype=np.int64)
    window = window_of(process.settings)
    reads, writes, _ = window_ticks(window)
    last_beats = np.arange(1, outputs + 1) * (len(writes) // outputs) - 1
    read = np.searchsorted(reads, writes[last_beats], side="right")
    pixels: Needs = np.asarray(-(-read // window.folds), np.int64)
    return pixels


def _demands(
    graph: StreamGraph, fork: Process, needs: Mapping[str, Needs]
) -> dict[str, tuple[int, str]]:
    """Pixels that each output of a fork must hold, and the join that demands most."""
    reached = [_reach(graph, branch, needs) for branch in fork.outputs]
    demands: dict[str, tuple[int, str]] = {}
    for join in graph.processes:
        if len(join.inputs) < 2:
            continue
        for mine, reach in enumerate(reached):
            side = [_for_outputs(join, name, reach, needs) for name in join.inputs if name in reach]
            # what this branch feeds too pulls on it by itself: an earlier join has the two meet
            others = [
                _for_outputs(join, name, other, needs)
                for index, other in enumerate(reached)
                for name in join.inputs
                if index != mine and name in other and name not in reach
            ]
            if not side or not others:
                continue
            ahead = np.max(others, axis=0)
            behind = np.concatenate([[0], np.min(side, axis=0)[:-1]])
            pixels = int(np.max(ahead - behind))
            branch = fork.outputs[mine]
            if pixels > demands.get(branch, (0, ""))[0]:
                demands[branch] = (pixels, join.layer)
    return demands


def _for_outputs(
    process: Process, name: str, reach: Mapping[str, Needs], needs: Mapping[str, Needs]
) -> Needs:
    """Pixels of a branch that must have been read, through one input, for each output pixel."""
    wanted = needs[process.name]
    if process.kernel == "scale" and name == process.inputs[1]:  # its only pixel, for all
        return np.full(wanted.size, reach[name][0])
    pixels: Needs = reach[name][wanted - 1]
    return pixels


def _reach(graph: StreamGraph, branch: str, needs: Mapping[str, Needs]) -> dict[str, Needs]:
    """Pixels of a branch that must have been read for each pixel of every stream below it."""
    found: dict[str, Needs] = {
        branch: np.arange(1, graph.streams[branch].pixels + 1, dtype=np.int64)
    }
    for process in graph.processes:
        sources = [
            _for_outputs(process, name, found, needs) for name in process.inputs if name in found
        ]
        if not sources:
            continue
        total = np.max(sources, axis=0)
        for name in process.outputs:
            found[name] = total
    return found
