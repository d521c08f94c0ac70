"""Windows that slide over a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import IntArray

Padding = tuple[int, int, int, int]
"""Rows above, rows below, columns left, columns right."""


def reach_of(kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns from a window's first tap to its last, both counted.

    Args:
        kernel: rows, columns of taps.
        dilation: rows, columns from one tap to the next.
    """
    rows, columns = ((taps - 1) * step + 1 for taps, step in zip(kernel, dilation, strict=True))
    return rows, columns


def window_count(size: int, before: int, after: int, window: int, stride: int) -> int:
    """How many windows fit along one side.

    Raises:
        ValueError: if none does.
    """
    padded = size + before + after
    if padded < window:
        raise ValueError(f"a window of {window} does not fit in {padded} pixels")
    return (padded - window) // stride + 1


def pixel_counts(size: int, before: int, after: int, window: int, stride: int) -> IntArray:
    """How many pixels of the tensor itself each window holds along one side.

    Raises:
        ValueError: if no window fits.
    """
    starts = np.arange(window_count(size, before, after, window, stride)) * stride - before
    return np.asarray(np.minimum(starts + window, size) - np.maximum(starts, 0))


def padded(tensor: npt.NDArray[Any], padding: Padding, fill: int = 0) -> npt.NDArray[Any]:
    """A tensor `(N, H, W, C)` with a border of `fill`; itself if there is none."""
    if not any(padding):
        return tensor
    top, bottom, left, right = padding
    return np.pad(tensor, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)


def strided(first: int, count: int, stride: int) -> slice:
    """`count` places from `first` on, `stride` apart."""
    return slice(first, first + (count - 1) * stride + 1, stride)


def pooled(
    tensor: IntArray,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    fill: int,
    combine: np.ufunc,
) -> IntArray:
    """What each window of a tensor comes to: its columns are combined, then its rows.

    Args:
        tensor: shape `(N, H, W, C)`.
        window: rows, columns.
        strides: rows, columns.
        padding: around the tensor.
        fill: what the padding holds.
        combine: a function of two values that takes them in any order, such as `np.add`.

    Returns:
        Shape `(N, Ho, Wo, C)`.
    """
    result = padded(tensor, padding, fill)
    for axis, size, stride in ((1, window[0], strides[0]), (2, window[1], strides[1])):
        count = (result.shape[axis] - size) // stride + 1
        lead = (slice(None),) * axis
        places = ((*lead, strided(tap, count, stride)) for tap in range(size))
        parts = (result[place] for place in places)
        total = next(parts).copy()
        for part in parts:
            combine(total, part, out=total)
        result = total
    return result
