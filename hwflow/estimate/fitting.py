"""Non-negative weights of physical terms, fitted to relative error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ROUNDS = 30
LEAST_SIZE = 24.0
"""Below this the error is taken as absolute: nobody counts single LUTs."""


def fit_terms(
    terms: Sequence[Mapping[str, float]], values: Sequence[float], shares: Sequence[float]
) -> dict[str, float]:
    """Weights that make the sums of terms come close to the values, relatively.

    Minimises the mean absolute error relative to the mean of prediction and value (SMAPE) by
    iteratively reweighted least squares; no weight is negative, so that a larger layer never
    costs less.

    Args:
        terms: the terms of each sample; the same names in all.
        values: what the terms of each sample should add up to, not negative.
        shares: how much each sample counts.

    Returns:
        The weights by name, rounded to four digits; terms without use are left out.
    """
    names = sorted({name for sample in terms for name in sample})
    matrix = np.array([[sample.get(name, 0.0) for name in names] for sample in terms])
    target = np.asarray(values, dtype=np.float64)
    size = np.maximum(np.abs(target), LEAST_SIZE)
    scale = np.max(np.abs(matrix), axis=0)
    scale[scale == 0] = 1.0
    share = np.asarray(shares, dtype=np.float64)
    robust = np.ones_like(target)
    weights = np.zeros(len(names))
    before = weights
    for _ in range(ROUNDS):
        root = np.sqrt(share * robust) / size
        weights = _non_negative(matrix / scale * root[:, None], target * root)
        predicted = matrix / scale @ weights
        size = np.maximum((np.abs(target) + np.abs(predicted)) / 2, LEAST_SIZE)
        error = np.abs(predicted - target) / size
        robust = 1.0 / np.maximum(error, 0.03)
        if np.allclose(weights, before, rtol=1e-7, atol=0.0):
            break
        before = weights
    fitted = weights / scale
    return {
        name: float(f"{weight:.4g}")
        for name, weight in zip(names, fitted, strict=True)
        if weight > 1e-12
    }


def _non_negative(matrix: FloatArray, target: FloatArray) -> FloatArray:
    """Least squares without negative weights (Lawson and Hanson's active sets).

    Source: C. L. Lawson, R. J. Hanson, Solving Least Squares Problems, 1974, chapter 23.
    """
    columns = int(matrix.shape[1])
    # A faint ridge keeps terms that cannot be told apart from running away.
    gram = matrix.T @ matrix + 1e-9 * np.eye(columns)
    right = matrix.T @ target
    passive = np.zeros(columns, dtype=bool)
    weights: FloatArray = np.zeros(columns)
    tolerance = 1e-10 * max(float(np.abs(right).max(initial=0.0)), 1.0)
    for _ in range(10 * columns):
        gradient = right - gram @ weights
        candidates = np.where(passive, -np.inf, gradient)
        best = int(np.argmax(candidates))
        if candidates[best] <= tolerance:
            break
        passive[best] = True
        while True:
            trial = np.zeros(columns)
            trial[passive] = np.linalg.solve(gram[np.ix_(passive, passive)], right[passive])
            if np.all(trial[passive] > 0):
                weights = trial
                break
            falling = passive & (trial <= 0)
            step = np.min(weights[falling] / (weights[falling] - trial[falling] + 1e-300))
            weights = weights + step * (trial - weights)
            passive &= weights > 1e-14
            if not passive.any():
                break
    return weights
