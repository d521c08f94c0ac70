"""A figure and how much it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

FIGURES = (
    "lut",
    "ff",
    "dsp",
    "bram_18k",
    "uram",
    "latency_cycles",
    "initiation_interval_cycles",
)
"""Every figure of an estimate, in the order in which it is reported."""

CYCLES = ("latency_cycles", "initiation_interval_cycles")


class Source(str, Enum):
    """Where a figure comes from."""

    RULE = "rule"  # derived from the template, nothing fitted
    FITTED = "fitted"  # terms derived from the template, their weights fitted to real results
    CSYNTH = "csynth"  # read from a high-level synthesis report
    VIVADO = "vivado"  # read from a logic synthesis or implementation report


class Stage(str, Enum):
    """Which tool's report the figure speaks of."""

    CSYNTH = "csynth"
    VIVADO = "vivado"


@dataclass(frozen=True)
class Figure:
    """One estimated quantity.

    Attributes:
        value: the estimate; none where there is a `reason`.
        uncertainty: one standard deviation relative to `max(value, 1)`, from residuals on
            repositories that were not fitted; none when there is no value.
        source: how it was found.
        reason: why there is no value.
        outside: which inputs are outside the range of the calibration data.
    """

    value: int | None
    uncertainty: float | None = None
    source: Source | None = None
    reason: str | None = None
    outside: tuple[str, ...] = ()


def unknown(reason: str) -> Figure:
    """A figure that cannot be given."""
    return Figure(None, reason=reason)


@dataclass(frozen=True)
class Estimate:
    """All figures of one row, as high-level synthesis will report them (stage `csynth`).

    Attributes:
        family: name of the estimator, none when no estimator knows the row.
        figures: by the names in `FIGURES`.
        after_route: `lut ff dsp bram_18k` as logic synthesis will leave them (stage `vivado`).
        notes: remarks for a person.
    """

    family: str | None
    figures: dict[str, Figure]
    after_route: dict[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def none(cls, reason: str, family: str | None = None) -> Estimate:
        """An estimate without figures, all for the same reason."""
        return cls(family, {name: unknown(reason) for name in FIGURES})

    def value(self, name: str) -> int | None:
        """The value of a figure, none when it is unknown."""
        return self.figures[name].value

    def all_figures(self) -> tuple[Figure, ...]:
        """The figures of both stages."""
        return (*self.figures.values(), *self.after_route.values())

    def to_json(self) -> dict[str, Any]:
        """A flat dictionary: each figure, then what qualifies it under `<figure>_...` keys."""
        out: dict[str, Any] = {"family": self.family, "stage": Stage.CSYNTH.value}
        for name in FIGURES:
            figure = self.figures[name]
            out[name] = figure.value
            out[f"{name}_uncertainty"] = figure.uncertainty
            out[f"{name}_source"] = figure.source.value if figure.source else None
            if figure.outside:
                out[f"{name}_outside"] = list(figure.outside)
            if figure.reason:
                out[f"{name}_reason"] = figure.reason
        reasons = {figure.reason for figure in self.figures.values() if figure.value is None}
        out["reason"] = "; ".join(sorted(r for r in reasons if r)) or None
        outside = {name for figure in self.figures.values() for name in figure.outside}
        out["outside_calibration"] = sorted(outside)
        for name, figure in self.after_route.items():
            out[f"{name}_vivado"] = figure.value
            out[f"{name}_vivado_uncertainty"] = figure.uncertainty
            out[f"{name}_vivado_source"] = figure.source.value if figure.source else None
        out["notes"] = list(self.notes)
        return out
