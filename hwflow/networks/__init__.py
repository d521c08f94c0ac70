"""The network families, one a file, found by their folder; and a design's network, with weights.

A new family is one new module here that defines `FAMILY`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from hwflow.errors import DesignError, Fault
from hwflow.networks.family import Family, Network

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Family", "Network", "families", "load_network"]


class NetworkSection(Protocol):
    """What `load_network` reads of a design's `network`: a family or a file."""

    @property
    def family(self) -> str | None: ...
    @property
    def parameters(self) -> BaseModel | None: ...
    @property
    def file(self) -> Path | str | None: ...


class WeightsSection(Protocol):
    """What `load_network` reads of a design's `weights`.

    `source` is `random`, `model` (those of network.file) or `file`; None leaves it to what else is
    given.
    """

    @property
    def source(self) -> str | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def file(self) -> Path | str | None: ...


class Design(Protocol):
    """What `load_network` reads of a design."""

    @property
    def network(self) -> NetworkSection: ...
    @property
    def weights(self) -> WeightsSection: ...


@lru_cache(maxsize=1)
def families() -> Mapping[str, Family]:
    """Every family by its name, sorted. Loads no TensorFlow."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        family = getattr(importlib.import_module(f"{__name__}.{module.name}"), "FAMILY", None)
        if isinstance(family, Family):
            found[family.name] = family
    return MappingProxyType(dict(sorted(found.items())))


def load_network(design: Design) -> Network:
    """The design's network with its weights, flat: see `hwflow.networks.flatten`.

    The weights of a family's network are those of `weights.file`, else seeded random ones. The
    user's own model keeps the weights of its file, unless `weights.file` gives others or
    `weights.source: random` asks for random ones.

    Raises:
        DesignError: if the family does not exist, its parameters do not fit one another, or a
            file cannot be read or does not fit the network.
    """
    from hwflow.networks.flatten import flattened
    from hwflow.networks.random_weights import randomise
    from hwflow.networks.weights import apply_weights, require_finite

    section, weights = design.network, design.weights
    if section.file is not None:
        from hwflow.networks.keras_file import load_model

        file = Path(section.file)
        model = load_model(file)
        structure, where = f"file {file.name}", str(file)
        is_drawn = weights.source == "random"
    else:
        family = _family(section.family)
        parameters = section.parameters or family.parameters()
        try:
            model = family.build(parameters)
        except ValueError as error:
            raise DesignError(Fault("", "network", str(error))) from error
        structure, where = f"family {family.name}", ""
        is_drawn = True
    if weights.file is not None:
        apply_weights(model, Path(weights.file))
        origin = f"weights of {Path(weights.file).name}"
    elif is_drawn:
        randomise(model, weights.seed)
        origin = f"random weights, seed {weights.seed}"
    else:
        require_finite(model, where)
        origin = "its own weights"
    return Network(flattened(model), f"{structure}, {origin}", int(model.count_params()))


def _family(name: str | None) -> Family:
    known = families()
    if name is None or name not in known:
        raise DesignError(
            Fault("", "network.family", f"must be one of {', '.join(known)}, not {name!r}")
        )
    return known[name]
