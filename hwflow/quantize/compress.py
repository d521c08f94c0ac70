"""What is done to weights before they are quantized: a curve, pruning, sharing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ROUNDS = 40
"""Of k-means, at most."""


def tanh_normalised(kernel: FloatArray) -> FloatArray:
    """DoReFa's `tanh(w) / max(tanh(w))`, times the greatest weight: large weights move together.

    DoReFa leaves the weights within -1 and 1, which training then makes up for; here the layer
    keeps its range instead.

    Source: Zhou et al., DoReFa-Net, arXiv:1606.06160, equation 9.
    """
    curved = np.tanh(kernel)
    peak = float(np.max(np.abs(curved), initial=0.0))
    if peak == 0:
        return kernel
    return np.asarray(curved * (float(np.max(np.abs(kernel))) / peak))


def pruned(kernel: FloatArray, density: float) -> FloatArray:
    """Zeros in place of the smallest weights; as given where no more are left than wanted.

    Args:
        kernel: real values of any shape.
        density: share of the weights that may be left.

    Source: Han et al., Deep Compression, arXiv:1510.00149, section 2.
    """
    kept = max(1, round(density * kernel.size))
    if np.count_nonzero(kernel) <= kept:
        return kernel
    order = np.argsort(-np.abs(kernel), axis=None, kind="stable")
    result = np.zeros(kernel.size)
    result[order[:kept]] = kernel.ravel()[order[:kept]]
    return result.reshape(kernel.shape)


def shared(kernel: FloatArray, values: int) -> FloatArray:
    """At most so many different weights; as given where there are no more. Zeros stay zeros.

    The values are the centres of clusters (k-means from centres at equal distances).

    Args:
        kernel: real values of any shape.
        values: number of different ones, zero included where it occurs; 2 or more.

    Source: Han et al., Deep Compression, arXiv:1510.00149, section 3.
    """
    is_kept = kernel != 0
    weights = np.sort(kernel[is_kept])
    clusters = values - (not is_kept.all())
    if np.unique(weights).size <= clusters:
        return kernel
    totals = np.concatenate([[0.0], np.cumsum(weights)])
    centres = np.linspace(weights[0], weights[-1], clusters)
    for _ in range(ROUNDS):
        ends = np.searchsorted(weights, (centres[1:] + centres[:-1]) / 2)
        starts, ends = np.concatenate([[0], ends]), np.concatenate([ends, [weights.size]])
        counts = ends - starts
        sums = totals[ends] - totals[starts]
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, kernel[is_kept])
    result = np.zeros(kernel.shape)
    result[is_kept] = centres[nearest]
    return result
