"""The fitted weights, the errors and the ranges that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

FILE_NAME = "coefficients.json"


@dataclass(frozen=True)
class Coefficients:
    """What calibration left.

    Attributes:
        weights: `pool/figure` to the weight of each term.
        errors: `family/regime/figure`, and `family/figure` as a fallback, to the relative
            standard deviation of residuals.
        ranges: `family` to input name to least and greatest value seen.
        after_route: figure to the median ratio of logic synthesis to high-level synthesis and
            the relative standard deviation of that ratio.
    """

    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    after_route: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary, sorted."""
        return {
            "after_route": {key: list(pair) for key, pair in sorted(self.after_route.items())},
            "errors": dict(sorted(self.errors.items())),
            "ranges": {
                family: {name: list(pair) for name, pair in sorted(ranges.items())}
                for family, ranges in sorted(self.ranges.items())
            },
            "weights": {
                key: dict(sorted(weights.items())) for key, weights in sorted(self.weights.items())
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Coefficients:
        """The way back from `to_json`."""
        return cls(
            weights=data["weights"],
            errors=data["errors"],
            ranges={
                family: {name: (pair[0], pair[1]) for name, pair in ranges.items()}
                for family, ranges in data["ranges"].items()
            },
            after_route={key: (pair[0], pair[1]) for key, pair in data["after_route"].items()},
        )

    def dumps(self) -> str:
        """The file's text."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n"


@cache
def shipped() -> Coefficients:
    """The coefficients of this version of the package."""
    text = resources.files("hwflow.estimate").joinpath(FILE_NAME).read_text(encoding="utf-8")
    return Coefficients.from_json(json.loads(text))
