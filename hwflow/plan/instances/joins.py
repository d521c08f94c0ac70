"""Addition and concatenation."""

from __future__ import annotations

from hwflow.errors import DesignError
from hwflow.opset import Add, Concatenate
from hwflow.plan.instances.base import Instance, builds


@builds(Add, Concatenate)
def join(it: Instance) -> str:
    """One process, however many its inputs are."""
    operation = it.operation
    assert isinstance(operation, Add | Concatenate)
    if len(operation.inputs) == 1:
        raise DesignError(f"{operation.name}: joins a single tensor")
    parts = {}
    for index, shift in enumerate(operation.shifts):
        parts[f"channels{index}"] = it.source(index).shape[2]
        parts[f"shift{index}"] = shift
    streams = tuple(it.input(index) for index in range(len(operation.inputs)))
    return it.streamed(operation.kind, streams, also=parts, **it.sums())
