"""The order in which each kernel reads and writes: which beat moves in which tick of its pipeline.

A process is a pipelined loop that starts an iteration a tick. What an iteration reads is read in
its own tick; what it writes leaves the pipeline `latency` ticks later. After the last iteration the
pipeline drains before the loop is entered again for the next frame. Every kernel's order follows
from counters alone (the comments at the head of `hls/kernels/*.h`), so it is known beforehand.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.plan.parallel_window import ParallelWindow
from hwflow.plan.streams import Process
from hwflow.plan.window_schedule import SlidingWindow, geometry, window_schedule

Ticks = npt.NDArray[np.int32]
"""Of the beats of a frame on one stream, ascending."""

RESTART_CYCLES = 2
"""Cycles between the last tick of a frame and the first of the next: the loop's process reports
that it is done and is started again (UG1399, block-level control of dataflow processes)."""

LATENCIES: Mapping[str, int] = {
    "sliding_window": 5,
    "parallel_window": 5,
    "matrix_vector": 12,
    "depthwise": 12,
    "max_pool": 4,
    "window_sum": 9,
    "global_sum": 9,
    "requantize_stream": 9,
    "table": 4,
    "multiply": 12,
    "scale": 12,
    "add": 9,
    "concatenate": 8,
    "duplicate": 2,
    "repack": 2,
    "softmax": 72,
    "top_k": 6,
    "upsample_nearest": 3,
    "upsample_bilinear": 14,
    "select_channels": 4,
    "frame": 3,
}
"""Pipeline stages from an iteration's read to its write, of a kernel with one product a lane.

What each consists of at 5 ns: memory or stream 1, product 3, sum 1, requantization 4 (8 with a
division by a reciprocal), write 1, and up to two spare. A softmax divides by a sum, a bit or so a
stage. They are meant to be generous: a deeper
pipeline keeps more results back, which is what a FIFO's depth must allow for.
"""

SELECTION_LAG = 2
"""Iterations of `select_channels` between the last beat read of a pixel and its first written."""

SCALING_CYCLES = 3
"""More stages where sums of windows are multiplied before they are divided."""

DIVISION_CYCLES = 4
"""More stages where sums are divided."""


@dataclass(frozen=True, eq=False)
class ProcessSchedule:
    """When a process moves beats, in ticks of its own clock.

    Attributes:
        reads: of each input, in the order of `Process.inputs`.
        writes: of each output, in the order of `Process.outputs`.
        iterations: of its loop, a frame.
        latency: ticks from an iteration's read to its write.
    """

    reads: tuple[Ticks, ...]
    writes: tuple[Ticks, ...]
    iterations: int
    latency: int

    @property
    def period(self) -> int:
        """Ticks from a frame's first to the next frame's first."""
        return self.iterations + self.latency + RESTART_CYCLES


def period_cycles(process: Process) -> int:
    """Cycles from frame to frame of a process that never waits."""
    return process.cycles + latency(process) + RESTART_CYCLES


def latency(process: Process) -> int:
    """Pipeline stages from read to write.

    Raises:
        DesignError: for a kernel without a schedule.
    """
    if process.kernel not in LATENCIES:
        raise DesignError(
            f"{process.name}: kernel {process.kernel!r} has no schedule; known are "
            f"{', '.join(LATENCIES)}"
        )
    stages = LATENCIES[process.kernel]
    if process.kernel == "matrix_vector":  # the tree that adds the products of a lane
        stages += (process.settings["simd"] - 1).bit_length()
    # that which adds taps, or finds their greatest
    stages += (process.settings.get("parallel", 1) - 1).bit_length()
    if process.kernel == "window_sum" and process.memories:
        stages += SCALING_CYCLES
    return stages + (DIVISION_CYCLES if process.divisor > 1 else 0)


def process_schedule(process: Process) -> ProcessSchedule:
    """The schedule of a process.

    Raises:
        DesignError: for a kernel without a schedule.
    """
    stages = latency(process)
    reads, writes, iterations = _ORDERS[process.kernel](process.settings)
    return ProcessSchedule(
        reads, tuple(ticks + np.int32(stages) for ticks in writes), iterations, stages
    )


_Order = tuple[tuple[Ticks, ...], tuple[Ticks, ...], int]
"""Iterations of the reads of each input and of the writes of each output; iterations in all."""


def _every(count: int, step: int = 1, first: int = 0) -> Ticks:
    return np.arange(first, first + count * step, step, dtype=np.int32)


def _repeated(pattern: npt.NDArray[np.int64], count: int, step: int) -> Ticks:
    """A pattern of ticks, `count` times, a `step` apart."""
    starts = np.arange(count, dtype=np.int64)[:, None] * step
    return (starts + pattern).astype(np.int32).ravel()


def window_of(settings: Mapping[str, int]) -> SlidingWindow:
    """The sliding window of a process's settings."""
    return SlidingWindow(**geometry(settings), buffer_pixels=settings["buffer_pixels"])


def parallel_window_of(settings: Mapping[str, int]) -> ParallelWindow:
    """The window with all taps at once of a process's settings."""
    return ParallelWindow(**geometry(settings))


@functools.lru_cache(maxsize=256)
def window_ticks(window: SlidingWindow) -> tuple[Ticks, Ticks, int]:
    """Reads, writes and iterations of a sliding window; kept, for each plan asks again."""
    schedule = window_schedule(window)
    return (
        schedule.reads.astype(np.int32),
        schedule.writes.astype(np.int32),
        schedule.iterations,
    )


@functools.lru_cache(maxsize=4096)
def window_iterations(window: SlidingWindow) -> int:
    """Iterations of a sliding window."""
    return window_ticks(window)[2]


def _sliding_window(settings: Mapping[str, int]) -> _Order:
    reads, writes, iterations = window_ticks(window_of(settings))
    return (reads,), (writes,), iterations


def _parallel_window(settings: Mapping[str, int]) -> _Order:
    window = parallel_window_of(settings)
    return (window.reads(),), (window.writes(),), window.iterations


def _matrix_vector(settings: Mapping[str, int]) -> _Order:
    groups = settings["groups"]
    filters = settings["out_channels"] // groups // settings["pe"]
    terms = settings["in_channels"] // groups // settings["simd"] * settings["taps"]
    work = settings["pixels"] * groups  # groups of pixels, each read in its first output fold
    reads = _repeated(np.arange(terms), work, filters * terms)
    writes = _every(work * filters, terms, terms - 1)
    return (reads,), (writes,), work * filters * terms


def _depthwise(settings: Mapping[str, int]) -> _Order:
    taps, parts = settings["taps"] // settings["parallel"], settings["multiplier"]
    work = settings["pixels"] * (settings["channels"] // settings["pe"])
    reads = _repeated(np.arange(taps), work, parts * taps)
    return (reads,), (_every(work * parts, taps, taps - 1),), work * parts * taps


def _window_pool(settings: Mapping[str, int]) -> _Order:
    taps = settings["taps"] // settings["parallel"]
    windows = settings["pixels"] * (settings["channels"] // settings["lanes"])
    return (_every(windows * taps),), (_every(windows, taps, taps - 1),), windows * taps


def _global_sum(settings: Mapping[str, int]) -> _Order:
    folds = settings["channels"] // settings["lanes"]
    total = settings["pixels"] * folds
    return (_every(total),), (_every(folds, 1, total - folds),), total


def _beats(settings: Mapping[str, int]) -> int:
    return settings["pixels"] * (settings["channels"] // settings["lanes"])


def _straight(settings: Mapping[str, int]) -> _Order:
    beats = _every(_beats(settings))
    return (beats,), (beats,), beats.size


def _multiply(settings: Mapping[str, int]) -> _Order:
    beats = _every(_beats(settings))
    return (beats, beats), (beats,), beats.size


def _sizes(settings: Mapping[str, int]) -> list[int]:
    """Beats of a pixel of each input of a join."""
    count = sum(name.startswith("shift") for name in settings)
    return [settings[f"channels{index}"] // settings["lanes"] for index in range(count)]


def _add(settings: Mapping[str, int]) -> _Order:
    beats = _every(_beats(settings))
    return (beats,) * len(_sizes(settings)), (beats,), beats.size


def _duplicate(settings: Mapping[str, int]) -> _Order:
    beats = _every(_beats(settings))
    return (beats,), (beats, beats), beats.size


def _scale(settings: Mapping[str, int]) -> _Order:
    """The only pixel of the second input is read while the first pixel of the first is."""
    beats = _every(_beats(settings))
    return (beats, beats[: settings["channels"] // settings["lanes"]]), (beats,), beats.size


def _concatenate(settings: Mapping[str, int]) -> _Order:
    ends = np.cumsum([0, *_sizes(settings)])
    pixels, step = settings["pixels"], int(ends[-1])
    reads = tuple(
        _repeated(np.arange(first, last), pixels, step) for first, last in itertools.pairwise(ends)
    )
    return reads, (_every(pixels * step),), pixels * step


def _top_k(settings: Mapping[str, int]) -> _Order:
    folds, pixels = settings["channels"] // settings["lanes"], settings["pixels"]
    return (_every(pixels * folds),), (_every(pixels, folds, folds - 1),), pixels * folds


def _softmax(settings: Mapping[str, int]) -> _Order:
    """Three passes over a pixel: the first reads, the last writes."""
    pixels, channels = settings["pixels"], settings["channels"]
    reads = _repeated(np.arange(channels), pixels, 3 * channels)
    return (reads,), (reads + np.int32(2 * channels),), 3 * pixels * channels


def _upsample_nearest(settings: Mapping[str, int]) -> _Order:
    """The first copy of each pixel in the first copy of its row is read."""
    folds = settings["channels"] // settings["lanes"]
    pixels, rows = settings["in_width"], settings["in_height"]
    step = pixels * settings["factor_width"] * folds
    row = _repeated(np.arange(folds), pixels, settings["factor_width"] * folds)
    total = rows * settings["factor_height"] * step
    return (
        (_repeated(row.astype(np.int64), rows, settings["factor_height"] * step),),
        (_every(total),),
        total,
    )


def _upsample_bilinear(settings: Mapping[str, int]) -> _Order:
    """A row is read ahead; the others with the first rows and columns of their groups."""
    folds = settings["channels"] // settings["lanes"]
    pixels, rows = settings["in_width"], settings["in_height"]
    factors = settings["factor_height"], settings["factor_width"]
    ahead, step = pixels * folds, pixels * factors[1] * folds

    def starts(count: int, factor: int) -> npt.NDArray[np.int64]:
        """Where groups begin: the first has half as many, rounded up."""
        groups = np.arange(count) * factor - factor // 2
        return np.maximum(groups, 0)

    row = (starts(pixels, factors[1])[:, None] * folds + np.arange(folds)).ravel()
    later = ahead + starts(rows - 1, factors[0])[:, None] * step + row
    total = rows * factors[0] * step
    reads = np.concatenate([np.arange(ahead), later.ravel()]).astype(np.int32)
    return (reads,), (_every(total, 1, ahead),), ahead + total


def _repack(settings: Mapping[str, int]) -> _Order:
    narrow, wide = sorted((settings["in_lanes"], settings["out_lanes"]))
    parts = wide // narrow
    total = settings["pixels"] * (settings["channels"] // narrow)
    if settings["in_lanes"] == wide:
        return (_every(total // parts, parts),), (_every(total),), total
    return (_every(total),), (_every(total // parts, parts, parts - 1),), total


def selection_steps(settings: Mapping[str, int]) -> int:
    """Iterations of `select_channels` for a pixel."""
    return max(settings["in_channels"], settings["out_channels"]) // settings["lanes"]


def _select_channels(settings: Mapping[str, int]) -> _Order:
    """While a pixel is read, the one before it is written."""
    pixels, steps, lanes = settings["pixels"], selection_steps(settings), settings["lanes"]
    in_folds, out_folds = (settings[f"{side}_channels"] // lanes for side in ("in", "out"))
    reads = _repeated(np.arange(in_folds), pixels, steps)
    writes = _repeated(np.arange(out_folds) + steps + SELECTION_LAG, pixels, steps)
    return (reads,), (writes,), pixels * steps + SELECTION_LAG + out_folds


def frame_walk(settings: Mapping[str, int]) -> tuple[npt.NDArray[np.int64], ...]:
    """Rows and columns over which `frame` walks, in the input's coordinates."""
    tops = ((settings["in_height"], -settings["pad_top"], settings["out_height"]),)
    sides = (*tops, (settings["in_width"], -settings["pad_left"], settings["out_width"]))
    return tuple(
        np.arange(min(0, first), max(length, first + made)) for length, first, made in sides
    )


def _frame(settings: Mapping[str, int]) -> _Order:
    folds = settings["channels"] // settings["lanes"]
    rows, columns = frame_walk(settings)

    def within(top: int, left: int, height: int, width: int) -> Ticks:
        """The iterations on the pixels of a frame."""
        inside = np.outer(
            (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
        )
        return np.flatnonzero(inside.repeat(folds)).astype(np.int32)

    reads = within(0, 0, settings["in_height"], settings["in_width"])
    writes = within(
        -settings["pad_top"], -settings["pad_left"], settings["out_height"], settings["out_width"]
    )
    return (reads,), (writes,), rows.size * columns.size * folds


_ORDERS: Mapping[str, Callable[[Mapping[str, int]], _Order]] = {
    "sliding_window": _sliding_window,
    "parallel_window": _parallel_window,
    "matrix_vector": _matrix_vector,
    "depthwise": _depthwise,
    "max_pool": _window_pool,
    "window_sum": _window_pool,
    "global_sum": _global_sum,
    "requantize_stream": _straight,
    "table": _straight,
    "multiply": _multiply,
    "scale": _scale,
    "add": _add,
    "concatenate": _concatenate,
    "duplicate": _duplicate,
    "repack": _repack,
    "softmax": _softmax,
    "top_k": _top_k,
    "upsample_nearest": _upsample_nearest,
    "upsample_bilinear": _upsample_bilinear,
    "select_channels": _select_channels,
    "frame": _frame,
}
