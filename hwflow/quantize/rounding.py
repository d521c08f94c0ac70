"""Weights rounded together, so that their errors cancel in what the layer puts out.

The mean square of the error of an output channel, less its mean, which the bias makes up for, is
`e C e`, where `e` are the errors of the channel's weights and `C` is the covariance of what the
layer reads. Rounding each weight to the nearest is best where `C` is diagonal; what pictures make
of a network is not. So weights are taken one after another and given the value that is best for
the others as they are, until none changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SWEEPS = 8
"""Over all weights, at most; what a later one changes is little."""

BLOCK = 32
"""Weights of a column after whose changes the others are told."""


@dataclass(frozen=True)
class Loss:
    """What errors of weights do to the output, as a quadratic function of each column.

    Attributes:
        covariance: of what the layer reads, `(groups, patch, patch)`, its diagonal positive.
        pull: what the errors had best put out by way of the covariance, `(groups, patch, columns)`.
    """

    covariance: FloatArray
    pull: FloatArray

    def slope(self, errors: FloatArray) -> FloatArray:
        """Half the gradient, of the errors' shape `(groups, patch, columns)`."""
        return np.asarray(self.covariance @ errors - self.pull)

    def of(self, errors: FloatArray) -> FloatArray:
        """By column, `(groups, columns)`; 0 without errors, less than that if they help."""
        return np.asarray((errors * (self.slope(errors) - self.pull)).sum(axis=1))


def rounded_together(
    wanted: FloatArray,
    start: FloatArray,
    units: FloatArray,
    loss: Loss,
    nearest: Callable[[FloatArray], FloatArray],
    is_fixed: npt.NDArray[np.bool_],
    sweeps: int = SWEEPS,
) -> FloatArray:
    """Integers of a grid whose loss is a local minimum, never greater than the start's.

    Args:
        wanted: the weights, `(groups, patch, columns)`.
        start: integers of the grid.
        units: what one of them is worth, `(groups, 1, columns)`.
        loss: of errors of the weights.
        nearest: brings values in units to the grid's nearest integers.
        is_fixed: which integers stay as they start.
        sweeps: over all weights, at most; the loss falls with each.
    """
    found = start.copy()
    covariance = loss.covariance
    variance = np.diagonal(covariance, axis1=1, axis2=2)[:, :, None]
    slope = loss.slope(found * units - wanted) / units
    for _ in range(sweeps):
        moved = False
        for low in range(0, found.shape[1], BLOCK):
            block = slice(low, low + BLOCK)
            within, own = covariance[:, block, block], slope[:, block].copy()
            changes = np.zeros_like(own)
            for index in range(own.shape[1]):
                at = low + index
                best = nearest(found[:, at] - own[:, index] / variance[:, at])
                change = np.where(is_fixed[:, at], 0.0, best - found[:, at])
                found[:, at] += change
                changes[:, index] = change
                own += within[:, :, index, None] * change[:, None, :]
            if changes.any():
                moved = True
                slope += covariance[:, :, block] @ changes
        if not moved:
            break
    return found
