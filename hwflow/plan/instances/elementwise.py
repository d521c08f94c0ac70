"""What is done with each value by itself: requantization, tables, products of two tensors."""

from __future__ import annotations

import numpy as np

from hwflow.opset import Multiply, Requantize, Table
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.streams import Memory


@builds(Requantize)
def requantize(it: Instance) -> str:
    """A requantization that could not be fused into what makes its input."""
    operation = it.operation
    assert isinstance(operation, Requantize)
    return it.streamed(
        "requantize_stream",
        (it.input(),),
        accumulator=it.source().format,
        target=operation.format,
        divisor=operation.divisor,
        maximum=operation.maximum,
    )


@builds(Table)
def table(it: Instance) -> str:
    """Every value looked up in a table that stands in memory."""
    operation = it.operation
    assert isinstance(operation, Table)
    entries = operation.values.size
    # the kernel looks up bit patterns, of which those of negative numbers come last
    values = np.roll(operation.values, -operation.offset)
    rom = Memory("table", entries, it.lanes * operation.format.width, "lutram")
    return it.streamed(
        "table",
        (it.input(),),
        also={"entries": entries},
        memories=(rom,),
        constants={"table": values},
    )


@builds(Multiply)
def product(it: Instance) -> str:
    """The product of two tensors in step, or of a tensor and a gate of one pixel."""
    streams = (it.input(0), it.input(1))
    same = it.source(0).shape == it.source(1).shape
    return it.streamed("multiply" if same else "scale", streams, **it.sums())
