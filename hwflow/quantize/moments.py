"""What a layer with weights reads: the means and the covariance of the patches under its window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.layers.base import FloatNode, pair, same_padding
from hwflow.opset import Padding, reach_of

FloatArray = npt.NDArray[np.float64]

PATCHES = 8192
"""The most patches of which a covariance is taken."""

SAMPLED = 1 << 24
"""The most values of those patches."""

RIDGE = 1 / 32
"""Of the mean variance that is added to every variance: few pictures tell too little of those
values that hardly vary in them.
"""

BELIEVED = 0.5
"""Of the drift that is made up for: as much is the pictures' own.

Of a MobileNetV1 0.25 with weights of 4 bits, the whole was no better on other pictures than half of
it, and at 8 bits worse than none.
"""

WIDEST = 8192
"""Values of a patch beyond which there is no covariance: it would have gigabytes."""


@dataclass(frozen=True)
class Columns:
    """How a kernel is one matrix for each group: rows are the patch, columns output channels.

    Attributes:
        groups: of channels; a depthwise layer has one for each.
        shape: of the kernel.
        channel_axes: how many of its last axes count output channels.
    """

    groups: int
    shape: tuple[int, ...]
    channel_axes: int

    @classmethod
    def of(cls, node: FloatNode, channel_axes: int) -> Columns:
        """Those of a layer with a kernel."""
        shape = node.weights["kernel"].shape
        groups = shape[-2] if channel_axes == 2 else int(node.config.get("groups", 1))
        return cls(groups, shape, channel_axes)

    @property
    def patch(self) -> int:
        """Values of a patch of one group."""
        size = int(np.prod(self.shape[:-1]))
        return size // self.groups if self.channel_axes == 2 else size

    def split(self, kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A kernel as an array `(groups, patch, columns)`."""
        return kernel.reshape(self.patch, self.groups, -1).transpose(1, 0, 2)

    def join(self, columns: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A kernel of such an array."""
        return columns.transpose(1, 0, 2).reshape(self.shape)


@dataclass(frozen=True)
class Moments:
    """Of the patches that a layer reads, quantized and in the float network.

    Attributes:
        columns: how its kernel is taken apart.
        means: of each value of a quantized patch over all patches, `(groups, patch)`.
        covariance: of the values of a quantized patch, `(groups, patch, patch)`, its diagonal
            positive; or nothing if it would be too large.
        drift: covariance of the values of a quantized patch with what those of the float patch
            are more than they, of the same shape, as far as it is believed.
    """

    columns: Columns
    means: FloatArray
    covariance: FloatArray | None = None
    drift: FloatArray | None = None


def moments_of(
    node: FloatNode,
    channel_axes: int,
    values: npt.NDArray[np.float32],
    real: npt.NDArray[np.float32],
    with_covariance: bool = True,
) -> Moments:
    """The moments of what a layer reads.

    What few patches cannot tell is left out: all but the variances is shrunk by
    `patches / (patches + size of a patch)`.

    Args:
        node: with a kernel: a convolution, depthwise too, or a dense layer.
        channel_axes: how many of the kernel's last axes count output channels.
        values: what it reads in the quantized network, `(N, H, W, C)` or `(N, C)`.
        real: what it reads in the float network, of the same shape.
        with_covariance: whether that is wanted.
    """
    columns = Columns.of(node, channel_axes)
    windows = _Windows.of(node, values.shape)
    taps = windows.taps(values)
    means = _by_group(
        np.stack([tap.mean(axis=(0, 1, 2), dtype=np.float64) for tap in taps])[None], columns
    )[:, 0]
    if columns.patch > WIDEST or not with_covariance:
        return Moments(columns, means)
    count = math.prod(taps[0].shape[:3])
    most = max(1, min(PATCHES, SAMPLED // (columns.patch * columns.groups)))
    places = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
    at = np.unravel_index(places, taps[0].shape[:3])
    read, meant = (
        _by_group(np.stack([tap[at] for tap in found], axis=1).astype(np.float64), columns)
        for found in (taps, windows.taps(real))
    )
    meant -= read
    read -= read.mean(axis=1, keepdims=True)
    turned = read.transpose(0, 2, 1)
    certainty = 1 / (len(places) + columns.patch)  # times the patches, over the patches
    covariance, drift = (turned @ read) * certainty, (turned @ meant) * certainty
    diagonal = np.arange(columns.patch)
    variances = np.square(read).mean(axis=1)
    covariance[:, diagonal, diagonal] = variances + (RIDGE * variances.mean() or 1.0)
    return Moments(columns, means, covariance, BELIEVED * drift)


@dataclass(frozen=True)
class _Windows:
    """Where a layer's window stands on its input."""

    size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    places: tuple[int, int]

    @classmethod
    def of(cls, node: FloatNode, shape: tuple[int, ...]) -> _Windows:
        kernel = node.weights["kernel"].shape
        if len(kernel) == 2:  # of a dense layer
            return cls((1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
        extent, size = (shape[1], shape[2]), (kernel[0], kernel[1])
        strides, padding = pair(node.config["strides"]), (0, 0, 0, 0)
        dilation = pair(node.config["dilation_rate"])
        reach = reach_of(size, dilation)
        if node.config["padding"] == "same":
            padding = same_padding(extent, reach, strides)
        rows = (extent[0] + padding[0] + padding[1] - reach[0]) // strides[0] + 1
        pixels = (extent[1] + padding[2] + padding[3] - reach[1]) // strides[1] + 1
        return cls(size, strides, dilation, padding, (rows, pixels))

    def taps(self, values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """What each value of the window reads at all places, `(N, rows, pixels, C)` each."""
        if values.ndim == 2:
            values = values[:, None, None, :]
        top, bottom, left, right = self.padding
        padded = np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)))
        rows, pixels = self.places
        down, along = self.dilation
        return [
            padded[:, y * down :: self.strides[0], x * along :: self.strides[1]][:, :rows, :pixels]
            for y in range(self.size[0])
            for x in range(self.size[1])
        ]


def _by_group(patches: FloatArray, columns: Columns) -> FloatArray:
    """Patches `(N, taps, channels)` as `(groups, N, patch)`."""
    count, taps, _ = patches.shape
    apart = patches.reshape(count, taps, columns.groups, -1)
    return apart.transpose(2, 0, 1, 3).reshape(columns.groups, count, -1)
