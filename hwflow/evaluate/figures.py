"""What predictions are worth: accuracy with its uncertainty, agreement, confusion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TOP = 5
"""Classes that are kept of each prediction."""

CONFIDENCE = 0.95
_DEVIATIONS = 1.959963984540054
"""Of the normal distribution, within which it lies with that confidence."""

IntMatrix = npt.NDArray[np.int64]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson score interval of a proportion, at 95 % confidence.

    Raises:
        ValueError: if there were no trials.

    Source: E. B. Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927).
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    rate, square = successes / trials, _DEVIATIONS**2 / trials
    centre = rate + square / 2
    spread = math.sqrt(square * (rate * (1 - rate) + square / 4))
    low, high = (centre - spread) / (1 + square), (centre + spread) / (1 + square)
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def top_classes(scores: npt.NDArray[np.float64]) -> IntMatrix:
    """The classes of the greatest scores, greatest first; of equal ones, the lower class first.

    Args:
        scores: shape `(N, C)`.

    Returns:
        Shape `(N, min(C, 5))`.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP].astype(np.int64)


def has_tie(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Where more than one class has the greatest score, shape `(N,)`."""
    return np.asarray((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1)


def proportion(successes: int, trials: int) -> dict[str, Any]:
    """Count, rate and confidence interval, ready for JSON."""
    low, high = wilson(successes, trials)
    return {"count": successes, "rate": successes / trials, "low": low, "high": high}


def accuracy(top: IntMatrix, labels: npt.NDArray[np.int64], classes: int) -> dict[str, Any]:
    """Top-1 and top-5 accuracy; top-5 says nothing of so few classes, and is None then.

    Args:
        top: classes by rank, shape `(N, min(C, 5))`.
        labels: shape `(N,)`.
        classes: of the network.
    """
    right = top == labels[:, None]
    fifth = proportion(int(right.any(axis=1).sum()), len(labels)) if classes > TOP else None
    return {"top1": proportion(int(right[:, 0].sum()), len(labels)), "top5": fifth}


def agreement(first: IntMatrix, second: IntMatrix, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """How often two witnesses have the same top-1 class, and which of them is right where not."""
    one, other = first[:, 0], second[:, 0]
    return {
        "top1": proportion(int((one == other).sum()), len(labels)),
        "first_alone_right": int(((one == labels) & (other != labels)).sum()),
        "second_alone_right": int(((one != labels) & (other == labels)).sum()),
    }


def confusion(top: IntMatrix, labels: npt.NDArray[np.int64], classes: int) -> IntMatrix:
    """Images by class (row) and predicted class (column), shape `(classes, classes)`."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, top[:, 0]), 1)
    return matrix


def most_confused(matrix: IntMatrix, most: int = 10) -> list[tuple[int, int, int]]:
    """The commonest errors: class, predicted class, images; most first, then by class."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    pairs = [
        (int(row), int(column), int(wrong[row, column]))
        for row, column in zip(rows, columns, strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]


def merged_statistics(parts: Sequence[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Statistics of tensors over several batches: extremes of extremes, sums of counts."""
    counts: dict[str, Counter[str]] = {}
    extremes: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, seen in part.items():
            low, high = extremes.get(name, (seen["minimum"], seen["maximum"]))
            extremes[name] = (min(low, seen["minimum"]), max(high, seen["maximum"]))
            total = counts.setdefault(name, Counter())
            for key, value in seen.items():
                if key not in ("minimum", "maximum"):
                    total[key] += value
    return {
        name: {"minimum": low, "maximum": high, **counts[name]}
        for name, (low, high) in extremes.items()
    }
