"""The static schedule of the sliding-window kernel: which beat moves in which cycle.

The kernel's reads and writes depend on counters alone, so their cycles are known beforehand. Here
they are computed from the same rules as in `kernels/sliding_window.h`, without stepping through
every iteration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.opset import Shape, reach_of

WRITE_TO_READ = 3
"""Iterations between the write of a beat into the line buffer and the first read of it."""


def buffer_pixels(shape: Shape, reach: tuple[int, int], strides: tuple[int, int]) -> int:
    """Pixels of a sliding window's line buffer: those over which the window reaches, and the rows
    that a stride skips, so that they arrive while a row is worked on.
    """
    least = (reach[0] - 1) * shape[1] + reach[1]
    return min(least + (strides[0] - 1) * shape[1], shape[0] * shape[1] + least)


@dataclass(frozen=True)
class Windows:
    """Windows over an image, read in beats of some lanes.

    Attributes:
        in_height: rows of the input.
        in_width: columns of the input.
        in_channels: channels of the input.
        kernel: rows, columns.
        strides: rows, columns.
        pad_top: rows of padding above.
        pad_left: columns of padding on the left.
        out_height: rows of windows.
        out_width: windows in a row.
        lanes: channels in a beat of the input.
        dilation: rows, columns from one tap to the next.

    Raises:
        DesignError: with all faults at once, if the lanes do not divide the channels.
    """

    in_height: int
    in_width: int
    in_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pad_top: int
    pad_left: int
    out_height: int
    out_width: int
    lanes: int
    dilation: tuple[int, int] = field(default=(1, 1), kw_only=True)

    def __post_init__(self) -> None:
        faults = self.faults()
        if faults:
            raise DesignError(faults)

    def faults(self) -> list[str]:
        """What cannot be."""
        if self.in_channels % self.lanes == 0:
            return []
        return [
            f"lanes must divide the {self.in_channels} channels, not {self.lanes}: choose a divisor"
        ]

    @property
    def taps(self) -> int:
        """Of a window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from a window's first tap to its last, both counted."""
        return reach_of(self.kernel, self.dilation)

    @property
    def folds(self) -> int:
        """Beats of a pixel."""
        return self.in_channels // self.lanes

    @property
    def in_beats(self) -> int:
        """Beats read for one image."""
        return self.in_height * self.in_width * self.folds

    @property
    def window_folds(self) -> int:
        """Folds of all windows of one image."""
        return self.out_height * self.out_width * self.folds


def geometry(settings: Mapping[str, int]) -> dict[str, Any]:
    """The fields of `Windows`, from the settings of a process."""
    plain = [each.name for each in fields(Windows) if each.type == "int"]
    return {
        "kernel": (settings["kernel_height"], settings["kernel_width"]),
        "strides": (settings["stride_height"], settings["stride_width"]),
        "dilation": (settings.get("dilation_height", 1), settings.get("dilation_width", 1)),
        **{name: settings[name] for name in plain},
    }


@dataclass(frozen=True)
class SlidingWindow(Windows):
    """An instance of the kernel that emits a tap at a time.

    Attributes:
        buffer_pixels: capacity of the line buffer.

    Raises:
        DesignError: if the lanes do not divide the channels or the buffer cannot hold a window.
    """

    buffer_pixels: int

    def faults(self) -> list[str]:
        """What cannot be."""
        found = super().faults()
        if self.buffer_pixels < self.least_buffer_pixels:
            found.append(
                f"the line buffer must hold at least {self.least_buffer_pixels} pixels, "
                f"not {self.buffer_pixels}: enlarge it"
            )
        return found

    @property
    def least_buffer_pixels(self) -> int:
        """The pixels from a window's first to its last, row by row."""
        return (self.reach[0] - 1) * self.in_width + self.reach[1]

    @property
    def out_beats(self) -> int:
        """Beats written for one image."""
        return self.window_folds * self.taps


@dataclass(frozen=True)
class WindowSchedule:
    """When each beat moves, in iterations (cycles, while no stream makes the kernel wait).

    Attributes:
        reads: the iteration that reads each input beat, ascending.
        writes: the iteration that writes each output beat, ascending.
        iterations: of the kernel's loop for one image.
    """

    reads: npt.NDArray[np.int64]
    writes: npt.NDArray[np.int64]
    iterations: int


def window_schedule(window: SlidingWindow) -> WindowSchedule:
    """The iteration of every read and write of one image."""
    return _Stepper(window).run()


@dataclass(frozen=True)
class _Row:
    """What one row of windows did, to be repeated by a later row that begins in the same state."""

    state: tuple[int, ...]
    now: int
    read: int
    limit: int
    end_now: int
    end_read: int


class _Stepper:
    """Goes through the windows; rows in the middle of an image that repeat are copied.

    Attributes:
        read: beats read before iteration `now`.
        limit: beats whose reading is settled: while nothing else happens, one an iteration.
        now: the first iteration of the next window.
    """

    def __init__(self, window: SlidingWindow) -> None:
        kernel_height, kernel_width = window.kernel
        self.window = window
        self.ring = window.buffer_pixels * window.folds
        self.beats = window.folds * kernel_height * kernel_width  # of one window
        self.place = np.arange(self.beats)
        fold, tap = np.divmod(self.place, kernel_height * kernel_width)
        tap_y, tap_x = np.divmod(tap, kernel_width)
        self.tap_y, self.tap_x = tap_y * window.dilation[0], tap_x * window.dilation[1]
        self.offsets = (self.tap_y * window.in_width + self.tap_x) * window.folds + fold
        self.reads = np.empty(window.in_beats, np.int64)
        self.writes = np.empty(window.out_beats, np.int64)
        self.read = self.limit = self.now = 0

    def run(self) -> WindowSchedule:
        window = self.window
        row_beats = window.in_width * window.folds
        row_writes = window.out_width * self.beats
        previous: _Row | None = None
        for out_y in range(window.out_height):
            top = out_y * window.strides[0] - window.pad_top
            inside = 0 <= top <= window.in_height - window.reach[0]
            if not inside or (top + 1) * row_beats + self.ring > window.in_beats:
                previous = None
                self.step_row(out_y, top)
                continue
            recent = self.reads[max(self.read - WRITE_TO_READ, 0) : self.read]
            state = (self.read - top * row_beats, *(self.now - recent).tolist())
            if previous is not None and previous.state == state:
                later = self.now - previous.now
                shift = window.strides[0] * row_beats
                span = slice(previous.read, previous.limit)
                target = slice(previous.read + shift, previous.limit + shift)
                self.reads[target] = self.reads[span] + later
                start = out_y * row_writes
                done = self.writes[start - row_writes : start]
                self.writes[start : start + row_writes] = done + later
                previous = _Row(
                    state,
                    self.now,
                    self.read,
                    previous.limit + shift,
                    previous.end_now + later,
                    previous.end_read + shift,
                )
                self.now, self.read, self.limit = (
                    previous.end_now,
                    previous.end_read,
                    previous.limit,
                )
                continue
            now, read = self.now, self.read
            self.step_row(out_y, top)
            previous = _Row(state, now, read, self.limit, self.now, self.read)
        if self.read < window.in_beats:
            self.reads[self.read :] = np.arange(self.now, self.now + window.in_beats - self.read)
        last = max(int(self.reads[-1]), int(self.writes[-1]))
        return WindowSchedule(self.reads, self.writes, last + 1)

    def step_row(self, out_y: int, top: int) -> None:
        """One row of windows, the first of whose input rows is `top`."""
        window = self.window
        folds, width, total = window.folds, window.in_width, window.in_beats
        row_inside = (top + self.tap_y >= 0) & (top + self.tap_y < window.in_height)
        written = out_y * window.out_width * self.beats
        for out_x in range(window.out_width):
            left = out_x * window.strides[1] - window.pad_left
            if top >= window.in_height:
                oldest = total
            elif top < 0:
                oldest = 0
            else:
                oldest = (top * width + min(max(left, 0), width)) * folds
            # Reading goes on from the first iteration of the window until the ring is full.
            limit = min(total, oldest + self.ring)
            if limit > self.read:
                self.reads[self.read : limit] = np.arange(self.now, self.now + limit - self.read)
            self.limit = max(self.read, limit)
            corner = (top * width + left) * folds
            late = corner + self.offsets[-1] >= self.read - WRITE_TO_READ
            if late or left < 0 or top < 0:
                inside = row_inside & (left + self.tap_x >= 0) & (left + self.tap_x < width)
                needs = np.clip(corner + self.offsets, 0, self.limit - 1)
                earliest = np.where(inside, self.reads[needs] + WRITE_TO_READ, 0) - self.place
                when = np.maximum(np.maximum.accumulate(earliest), self.now) + self.place
            else:  # everything arrived long ago
                when = self.now + self.place
            self.writes[written : written + self.beats] = when
            written += self.beats
            end = int(when[-1]) + 1
            # Only what could be read before the next window begins has been read.
            self.read = max(self.read, min(limit, self.read + end - self.now))
            self.now = end
