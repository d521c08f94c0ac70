"""Operations over windows as their definitions read: all windows at once, in 64-bit integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import IntArray
from hwflow.opset import Conv2D, Padding


def windows(
    tensor: npt.NDArray[Any],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    fill: int,
    dilation: tuple[int, int] = (1, 1),
) -> npt.NDArray[Any]:
    """All windows of a tensor: shape `(N, Ho, Wo, C, kh, kw)`, a view of the padded tensor."""
    top, bottom, left, right = padding
    padded = np.pad(tensor, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    view: npt.NDArray[Any] = np.lib.stride_tricks.sliding_window_view(
        padded,
        tuple((taps - 1) * step + 1 for taps, step in zip(window, dilation, strict=True)),  # type: ignore[call-overload]
        axis=(1, 2),
    )
    return view[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]


def convolution(operation: Conv2D, tensor: IntArray) -> IntArray:
    """What `Conv2D.evaluate` must give."""
    kernel_height, kernel_width, group_inputs, filters = operation.weights.shape
    view = windows(
        tensor,
        (kernel_height, kernel_width),
        operation.strides,
        operation.padding,
        0,
        operation.dilation,
    )
    count = filters // operation.groups
    parts = []
    for group in range(operation.groups):
        given = view[:, :, :, group * group_inputs : (group + 1) * group_inputs]
        weights = operation.weights[..., group * count : (group + 1) * count]
        parts.append(np.einsum("nyxcij,ijcf->nyxf", given, weights))
    return (np.concatenate(parts, axis=-1) << operation.shifts) + operation.biases
