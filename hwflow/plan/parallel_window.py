"""The static schedule of the window kernel that emits all taps at once, in closed form.

The image is walked pixel by pixel and fold by fold, an iteration each, in rows of `pitch` pixels;
a window leaves on the pixel on which it ends (`kernels/parallel_window.h`). So the iteration of
every read and write follows from its coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwflow.opset import Padding, Shape
from hwflow.plan.memories import place
from hwflow.plan.streams import Memory
from hwflow.plan.window_schedule import WRITE_TO_READ, Windows


@dataclass(frozen=True)
class ParallelWindow(Windows):
    """An instance of the kernel."""

    @classmethod
    def over(
        cls,
        shape: Shape,
        kernel: tuple[int, int],
        strides: tuple[int, int],
        padding: Padding,
        out: Shape,
        lanes: int = 1,
        dilation: tuple[int, int] = (1, 1),
    ) -> ParallelWindow:
        """The windows over an input of some shape that make an output of another."""
        corner = padding[0], padding[2]
        return cls(*shape, kernel, strides, *corner, out[0], out[1], lanes, dilation=dilation)

    @property
    def out_beats(self) -> int:
        """Beats written for one image, `taps` times as wide."""
        return self.window_folds

    @property
    def pitch(self) -> int:
        """Pixels of a row of the walk: as many as the image has, or as keep the windows of a row
        before those of the next, or as keep a word of the line buffer from being read too early.
        """
        span = (self.out_width - 1) * self.strides[1] + 1
        least = -(-span // self.strides[0])
        if self.kernel[0] > 1:
            least = max(least, WRITE_TO_READ // (self.dilation[0] * self.folds) + 1)
        return max(self.in_width, least)

    @property
    def first_end(self) -> int:
        """The place in the walk, in pixels, on which the first window ends; negative before the
        image.
        """
        below = self.reach[0] - 1 - self.pad_top
        return below * self.pitch + self.reach[1] - 1 - self.pad_left

    @property
    def start(self) -> int:
        """The place in the walk at which it begins."""
        return min(0, self.first_end)

    @property
    def iterations(self) -> int:
        """Of the kernel's loop for one image."""
        last = self.first_end + (self.out_width - 1) * self.strides[1]
        last += (self.out_height - 1) * self.strides[0] * self.pitch
        last = max(last, (self.in_height - 1) * self.pitch + self.in_width - 1)
        return (last + 1 - self.start) * self.folds

    @property
    def memories(self) -> dict[str, tuple[int, int]]:
        """Words, and values in a word, of what is kept: `rows` above, and `columns` of earlier
        pixels where there are too many of them for registers. What is not a tap of a window yet
        waits in words of its own.
        """
        older, found = self.kernel[1] - 1, {}
        if self.kernel[0] > 1:
            words = self.dilation[0] * self.in_width * self.folds
            found["rows"] = (words, (self.kernel[0] - 1) * self.lanes)
        if older and not self.register_values:
            found["columns"] = (self._column_words, older * self.kernel[0] * self.lanes)
        return found

    @property
    def register_values(self) -> int:
        """Values of earlier columns that stand in registers; none where a memory holds them."""
        if self._column_words > WRITE_TO_READ:
            return 0
        return (self.kernel[1] - 1) * self._column_words * self.kernel[0] * self.lanes

    @property
    def _column_words(self) -> int:
        """Iterations from one tap of a row of the window to the next."""
        return self.dilation[1] * self.folds

    @property
    def masked_taps(self) -> int:
        """Taps of a window that may lie outside the image."""

        def inside(axis: int, pad: int, count: int, length: int) -> int:
            last = (count - 1) * self.strides[axis] - pad
            taps = range(0, self.reach[axis], self.dilation[axis])
            return sum(pad <= tap and last + tap < length for tap in taps)

        rows = inside(0, self.pad_top, self.out_height, self.in_height)
        return self.taps - rows * inside(1, self.pad_left, self.out_width, self.in_width)

    def reads(self) -> npt.NDArray[np.int32]:
        """The iteration that reads each input beat, ascending."""
        return self._ticks(0, (self.in_height, self.pitch), (self.in_width, 1))

    def writes(self) -> npt.NDArray[np.int32]:
        """The iteration that writes each output beat, ascending."""
        rows = (self.out_height, self.strides[0] * self.pitch)
        return self._ticks(self.first_end, rows, (self.out_width, self.strides[1]))

    def _ticks(
        self, first: int, rows: tuple[int, int], columns: tuple[int, int]
    ) -> npt.NDArray[np.int32]:
        """Of beats whose pixels lie at equal distances: counts and steps along rows and columns."""
        y, x = (np.arange(count) * step for count, step in (rows, columns))
        pixels = first - self.start + y[:, None, None] + x[None, :, None]
        return (pixels * self.folds + np.arange(self.folds)).astype(np.int32).ravel()


def window_memories(window: ParallelWindow, width: int) -> tuple[Memory, ...]:
    """Where the line buffer and the kept columns stand.

    Args:
        window: the instance.
        width: bits of a value.
    """
    return tuple(
        place(role, words, values * width) for role, (words, values) in window.memories.items()
    )
