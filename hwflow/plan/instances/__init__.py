"""The processes of each operation; one module a family of operations.

A module that decorates a function with `builds` is found by being in this folder.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from hwflow.opset import Operation
from hwflow.plan.instances.base import BUILDERS, Builder


@functools.cache
def builders() -> Mapping[type[Operation], Builder]:
    """By the class of an operation: what adds its processes and returns its tensor's stream."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return BUILDERS
