"""Stages: an operation with the requantization fused into it; and the names that C++ knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Add,
    Concatenate,
    Conv2D,
    Multiply,
    Operation,
    Requantize,
    SumPool2D,
    UpsampleBilinear2D,
)

FUSIBLE = (Conv2D, SumPool2D, Add, Multiply, Concatenate, UpsampleBilinear2D)
"""Operations whose kernels requantize their results."""


def identifier(name: str) -> str:
    """A C++ identifier made of a layer's name."""
    word = re.sub(r"\W+", "_", name).strip("_")
    return f"layer_{word}" if not word or word[0].isdigit() else word


def stream_name(tensor: str) -> str:
    """The C++ name of the stream in which a tensor leaves its producer."""
    return f"{identifier(tensor)}_out"


@dataclass(frozen=True)
class Stage:
    """An operation, and the requantization fused into it."""

    operation: Operation
    fused: Requantize | None

    @property
    def tensor(self) -> str:
        """The tensor that leaves it."""
        return self.fused.name if self.fused else self.operation.name


def fused_requantizations(graph: IntegerGraph) -> dict[str, Requantize]:
    """By the name of an operation: the requantization that alone reads it."""
    fused: dict[str, Requantize] = {}
    for operation in graph.operations:
        if not isinstance(operation, Requantize):
            continue
        source = operation.inputs[0]
        fusible = isinstance(graph.operation(source), FUSIBLE)
        if fusible and len(graph.consumers(source)) == 1 and source not in graph.outputs:
            fused[source] = operation
    return fused


def stages_of(graph: IntegerGraph) -> Sequence[Stage]:
    """Pairs every requantization with the operation that it alone reads."""
    fused = fused_requantizations(graph)
    names = {operation.name for operation in fused.values()}
    return [
        Stage(operation, fused.get(operation.name))
        for operation in graph.operations
        if operation.name not in names
    ]
