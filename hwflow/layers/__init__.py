"""One module a layer kind: how it lowers, what it needs, which cases prove it.

A module that defines `KIND` is a layer kind; it is found by being in this folder.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from hwflow.layers.base import LayerKind


@functools.cache
def kinds() -> tuple[LayerKind, ...]:
    """Every layer kind, in the order of the modules' names."""
    found = []
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        kind = getattr(importlib.import_module(f"{__name__}.{module}"), "KIND", None)
        if kind is not None:
            found.append(kind)
    return tuple(found)


def float_kind(class_name: str) -> LayerKind | None:
    """The kind that quantizes float Keras layers of a class, if there is one."""
    return next((kind for kind in kinds() if class_name in kind.float_classes), None)


def quantized_kind(class_name: str) -> LayerKind | None:
    """The kind that lowers layers of a QKeras model of a class, if there is one."""
    return next((kind for kind in kinds() if class_name in kind.quantized_classes), None)
