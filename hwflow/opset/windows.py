"""Windows that slide over a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import IntArray

Padding = tuple[int, int, int, int]
"""Rows above, rows below, columns left, columns right."""


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


def windows(
    tensor: npt.NDArray[Any],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    fill: int,
) -> npt.NDArray[Any]:
    """All windows of a tensor: shape `(N, Ho, Wo, C, kh, kw)`, a view of the padded tensor."""
    top, bottom, left, right = padding
    padded = np.pad(tensor, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    view: npt.NDArray[Any] = np.lib.stride_tricks.sliding_window_view(
        padded,
        window,  # type: ignore[call-overload]
        axis=(1, 2),
    )
    return view[:, :: strides[0], :: strides[1]]
