"""Output heads in hardware: arg-max, top-k and softmax of a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Operation, Softmax, Tensor, TopKIndices, TopKValues

WIDEST_LOGITS = 24
"""Bits of logits that a softmax takes."""


class Head(Protocol):
    """What a design says of one output."""

    @property
    def head(self) -> str: ...
    @property
    def k(self) -> int: ...
    @property
    def width(self) -> int: ...


def head_faults(
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    head_of: Callable[[str], Head],
    fault: Callable[[str, str], Fault],
) -> list[Fault]:
    """Heads that the outputs cannot have.

    Args:
        shapes: name and shape of each output of the network.
        head_of: what the design says of an output.
        fault: makes a fault of a key path of the design and a message.
    """
    return [
        fault("outputs.k", f"must be at most the {shape[-1]} channels of output {name!r}, not {k}")
        for name, shape in shapes
        if head_of(name).head == "top_k" and (k := head_of(name).k) > shape[-1]
    ]


def with_heads(graph: IntegerGraph, heads: Sequence[Head]) -> IntegerGraph:
    """The graph with a head behind each output.

    An output without one stays as it is. Arg-max puts out indices, top-k indices and values.

    Args:
        graph: of the network.
        heads: of its outputs, in their order.

    Raises:
        DesignError: if an output cannot have its head.
    """
    operations = list(graph.operations)
    outputs: list[str] = []
    for output, head in zip(graph.outputs, heads, strict=True):
        added = _operations(output, graph.tensors[output], head)
        outputs += [operation.name for operation in added] or [output]
        known = {operation.name for operation in operations}
        operations += [operation for operation in added if operation.name not in known]
    return IntegerGraph.build(graph.name, operations, outputs)


def _operations(output: str, tensor: Tensor, head: Head) -> list[Operation]:
    if head.head == "argmax":
        return [TopKIndices(f"{output}_argmax", (output,), 1)]
    if head.head == "top_k":
        name = f"{output}_top{head.k}"
        return [
            TopKIndices(f"{name}_indices", (output,), head.k),
            TopKValues(f"{name}_values", (output,), head.k),
        ]
    if head.head == "softmax":
        return [softmax(f"{output}_softmax", output, tensor, head.width)]
    return []


def softmax(name: str, source: str, tensor: Tensor, width: int) -> Softmax:
    """A softmax whose results are within three quarters of a unit of the real ones.

    The exponential of a distance `d` is `exp(-d * lsb)` times `2**t`, rounded. With `n` channels
    the errors of the exponentials move a share by at most `n * 2**-(t + 1)`: let `s` be the real
    exponentials (the greatest is 1), `S >= 1` their sum, and `e` and `E` the errors of one and of
    the sum; the share is off by `(e * S - s * E) / (S * (2**t * S + E))`, where `|e| <= 1/2`,
    `|E| <= (n - 1) / 2` and `2**t * S + E >= 2**t`, since that of the greatest is exact. Here
    `t = F + 1 + ceil(log2(n))`, so that is a quarter of a unit; rounding adds half of one.

    Args:
        name: of the operation.
        source: the logits.
        tensor: of the logits.
        width: of the results: one bit for 1, and `F = width - 1` after the point.

    Raises:
        DesignError: if the logits are too wide.
    """
    if tensor.format.width > WIDEST_LOGITS:
        raise DesignError(
            f"output {source!r}: a softmax takes logits of at most {WIDEST_LOGITS} bits, "
            f"not {tensor.format.width}"
        )
    fraction_bits = width - 1
    scale = fraction_bits + 1 + (tensor.shape[2] - 1).bit_length()
    farthest = int(tensor.interval.high.max()) - int(tensor.interval.low.min())
    table = exponentials(np.arange(farthest + 1), tensor.format.fraction_bits, scale)
    used = int(np.count_nonzero(table))
    target = FixedPoint(width, 1, False, Rounding.RND_CONV, Overflow.SAT)
    return Softmax(name, (source,), table[: used + 1], target)


def exponentials(distances: Any, fraction_bits: int, scale: int) -> IntArray:
    """`exp(-distance * 2**-fraction_bits) * 2**scale`, rounded.

    Args:
        distances: whole numbers, not negative.
        fraction_bits: of their unit.
        scale: bits of the result's unit.
    """
    reals = np.exp(-np.asarray(distances, np.float64) * 2.0**-fraction_bits)
    return np.asarray(np.rint(reals * 2.0**scale), np.int64)
