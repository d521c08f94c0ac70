"""The static schedule of the sliding-window kernel: which beat moves in which cycle.

The kernel's reads and writes depend on counters alone, so their cycles are known beforehand. Here
they are computed from the same rules as in `kernels/sliding_window.h`, without stepping through
every iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError

WRITE_TO_READ = 3
"""Iterations between the write of a beat into the line buffer and the first read of it."""


@dataclass(frozen=True)
class SlidingWindow:
    """An instance of the kernel.

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
        lanes: channels in a beat.
        buffer_pixels: capacity of the line buffer.

    Raises:
        DesignError: if the lanes do not divide the channels or the buffer cannot hold a window.
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
    buffer_pixels: int

    def __post_init__(self) -> None:
        faults = []
        if self.in_channels % self.lanes:
            faults.append(
                f"lanes must divide the {self.in_channels} channels, not {self.lanes}: "
                "choose a divisor"
            )
        if self.buffer_pixels < self.least_buffer_pixels:
            faults.append(
                f"the line buffer must hold at least {self.least_buffer_pixels} pixels, "
                f"not {self.buffer_pixels}: enlarge it"
            )
        if faults:
            raise DesignError(faults)

    @property
    def least_buffer_pixels(self) -> int:
        """The pixels from a window's first to its last, row by row."""
        return (self.kernel[0] - 1) * self.in_width + self.kernel[1]

    @property
    def folds(self) -> int:
        """Beats of a pixel."""
        return self.in_channels // self.lanes

    @property
    def in_beats(self) -> int:
        """Beats read for one image."""
        return self.in_height * self.in_width * self.folds

    @property
    def out_beats(self) -> int:
        """Beats written for one image."""
        taps = self.kernel[0] * self.kernel[1]
        return self.out_height * self.out_width * self.folds * taps


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
    folds, height, width = window.folds, window.in_height, window.in_width
    total, ring = window.in_beats, window.buffer_pixels * window.folds
    kernel_height, kernel_width = window.kernel
    beats = folds * kernel_height * kernel_width  # of one window
    place = np.arange(beats)
    fold, tap = np.divmod(place, kernel_height * kernel_width)
    tap_y, tap_x = np.divmod(tap, kernel_width)
    offsets = (tap_y * width + tap_x) * folds + fold

    reads = np.empty(total, np.int64)
    writes = np.empty(window.out_beats, np.int64)
    read = 0  # beats read so far
    now = 0  # the first iteration of this window
    written = 0
    for out_y in range(window.out_height):
        top = out_y * window.strides[0] - window.pad_top
        row_inside = (top + tap_y >= 0) & (top + tap_y < height)
        for out_x in range(window.out_width):
            left = out_x * window.strides[1] - window.pad_left
            if top >= height:
                oldest = total
            elif top < 0:
                oldest = 0
            else:
                oldest = (top * width + min(max(left, 0), width)) * folds
            # Reading goes on from the first iteration of the window until the ring is full.
            limit = min(total, oldest + ring)
            if limit > read:
                reads[read:limit] = np.arange(now, now + limit - read)
            known = max(read, limit)
            corner = (top * width + left) * folds
            needs = corner + offsets
            if corner + offsets[-1] >= read - WRITE_TO_READ - folds or left < 0 or top < 0:
                inside = row_inside & (left + tap_x >= 0) & (left + tap_x < width)
                earliest = np.where(inside, reads[np.clip(needs, 0, known - 1)] + WRITE_TO_READ, 0)
                when = np.maximum(np.maximum.accumulate(earliest - place), now) + place
            else:  # everything arrived long ago
                when = now + place
            writes[written : written + beats] = when
            written += beats
            end = int(when[-1]) + 1
            # Only what could be read before the next window begins has been read.
            read = max(read, min(limit, read + end - now))
            now = end
    if read < total:
        reads[read:] = np.arange(now, now + total - read)
    return WindowSchedule(reads, writes, max(int(reads[-1]), int(writes[-1])) + 1)
