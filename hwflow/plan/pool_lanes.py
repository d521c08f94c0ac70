"""How many channels and taps a pooling takes a cycle."""

from __future__ import annotations

import itertools

from hwflow.opset import MaxPool2D, SumPool2D, Tensor
from hwflow.plan.folding import LARGEST_WORD_BITS, divisors, with_neighbour
from hwflow.plan.parallel_window import ParallelWindow
from hwflow.plan.process_schedule import window_iterations
from hwflow.plan.window_schedule import SlidingWindow, buffer_pixels


def pool_fold(
    operation: MaxPool2D | SumPool2D, source: Tensor, out: Tensor, wanted_cycles: int, given: int
) -> tuple[int, int]:
    """Taps a cycle, one or all, and lanes.

    Each lane costs its arithmetic, so no more are taken than are needed: of one tap a cycle where
    that is fast enough, else of all taps at once; where neither is, the fastest.

    Args:
        operation: the pooling.
        source: what it reads.
        out: what leaves it, requantized.
        wanted_cycles: an image.
        given: lanes of the beats that arrive.
    """
    window, strides, padding = operation.window, operation.strides, operation.padding
    taps, channels = window[0] * window[1], source.shape[2]
    width = max(source.format.width, out.format.width)
    legal = [lanes for lanes in divisors(channels) if lanes * width <= LARGEST_WORD_BITS]
    is_global = isinstance(operation, SumPool2D) and window == source.shape[:2]
    has_windows = not is_global or any(padding)
    pixels = max(source.shape[0] * source.shape[1], out.shape[0] * out.shape[1] * taps)

    def one_tap(lanes: int) -> int:
        """Cycles of an image; the window's own only if they can be few enough."""
        least = pixels * (channels // lanes)
        if not has_windows or least > wanted_cycles:
            return least
        capacity = buffer_pixels(source.shape, window, strides)
        corner, size = (padding[0], padding[2]), out.shape[:2]
        return window_iterations(
            SlidingWindow(*source.shape, window, strides, *corner, *size, lanes, capacity)
        )

    fewest = next((lanes for lanes in legal if one_tap(lanes) <= wanted_cycles), None)
    if fewest is not None:
        return 1, with_neighbour(fewest, channels, given)
    if taps == 1 or not has_windows:
        return 1, max(legal)
    windows = {
        lanes: ParallelWindow.over(source.shape, window, strides, padding, out.shape, lanes)
        for lanes in itertools.takewhile(
            lambda lanes: lanes * taps * source.format.width <= LARGEST_WORD_BITS, legal
        )
    }
    fast = [lanes for lanes, walk in windows.items() if walk.iterations <= wanted_cycles]
    if fast:
        return taps, min(fast)
    most = max(windows, default=0)
    if most and windows[most].iterations < one_tap(max(legal)):
        return taps, most
    return 1, max(legal)
