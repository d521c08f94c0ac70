"""Quantization schemes by name: what a design's `quantization.preset` lays its own keys over.

A preset is a file of this folder, found by its name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A quantization scheme.

    Attributes:
        about: a sentence.
        source: where it comes from.
        quantization: keys of the design's section.
    """

    about: str
    source: str
    quantization: Mapping[str, Any]


NAMES: tuple[str, ...] = tuple(
    sorted(
        entry.name[: -len(".yaml")]
        for entry in resources.files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    )
)
"""Of all presets."""


@functools.cache
def preset(name: str) -> Preset:
    """The preset of that name, one of `NAMES`."""
    import yaml

    text = (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    return Preset(**yaml.safe_load(text))


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, that of `above`."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = laid_over(under, value) if both and under is not None else value
    return result
