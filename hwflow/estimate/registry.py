"""The estimators, found by their folder: one file in `families` is one kernel family.

A module of that folder that defines `FAMILY` is an estimator; nothing else has to be told.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache

from hwflow.estimate.rows import Row


class Family(ABC):
    """An estimator of one kernel family.

    A figure is either a rule (a number that follows from the template) or a sum of terms, each a
    physical quantity of the layer, whose weights were fitted to real results.

    Attributes:
        name: unique; what a result is filed under.
        functions: the template functions that it estimates.
        uses_weights: whether the layer has weights, so that their type and zeros matter.
    """

    name: str
    functions: frozenset[str]
    uses_weights: bool = False

    def missing(self, row: Row) -> str | None:
        """Why this row cannot be estimated, or none."""
        return None

    def regime(self, row: Row, figure: str) -> str:
        """Rows whose errors are alike: tool, strategy, stream or not."""
        return row.tool_family

    def pool(self, row: Row, figure: str) -> str:
        """Name of the fitted weights; families may share a pool whose terms they share."""
        return f"{self.name}_{self.regime(row, figure)}"

    def rule(self, row: Row, figure: str) -> float | None:
        """The figure where it follows from the template, else none."""
        return None

    def fallback(self, row: Row, figure: str) -> float | None:
        """A rough figure for where no fitted weights are near, else none."""
        return None

    @abstractmethod
    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        """Quantities whose weighted sum is the figure; asked only where there is no rule."""

    def ranges(self, row: Row) -> Mapping[str, float]:
        """Inputs that must lie within the calibration data for the error to hold."""
        return {}


@cache
def families() -> tuple[Family, ...]:
    """Every estimator, by name.

    Raises:
        ValueError: if two bear the same name or claim the same function.
    """
    package = importlib.import_module("hwflow.estimate.families")
    found: list[Family] = []
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda item: item.name):
        family = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "FAMILY", 0)
        if isinstance(family, Family):
            found.append(family)
    names = [family.name for family in found]
    functions = [function for family in found for function in family.functions]
    for what, values in (("name", names), ("function", functions)):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"two estimators have the {what} {', '.join(twice)}")
    return tuple(sorted(found, key=lambda family: family.name))


def family_of(row: Row) -> Family | None:
    """The estimator of a row, or none."""
    function = row.function
    if row.kind == "model_1layer" and not function:
        function = "conv_2d_cl" if row.count("kh", "kw") else "dense"
    return next((family for family in families() if function in family.functions), None)
