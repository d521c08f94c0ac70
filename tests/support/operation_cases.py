"""Random cases of single operations, every kind of the registry, packed into programs.

A case is an operation on inputs of its own, alone or with the requantization that follows it. Many
cases make one program, so that a million of them take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    KINDS,
    Add,
    Concatenate,
    Conv2D,
    Frame2D,
    Input,
    MaxPool2D,
    Multiply,
    Operation,
    Requantize,
    SelectChannels,
    Softmax,
    SumPool2D,
    Table,
    Tensor,
    TopKIndices,
    TopKValues,
    UpsampleBilinear2D,
    UpsampleNearest2D,
    common_divisor,
)

Random = np.random.Generator
Made = tuple[list[Input], Operation]
Generator = Callable[[Random, str], Made]

_EDGES = (1, 2, 7, 9, 15, 16, 17, 24, 31, 32)
_CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 33, 48, 63, 64, 65)


def random_format(random: Random, widest: int = 32) -> FixedPoint:
    """A format of any width up to `widest`, with any rounding and overflow."""
    kind = random.random()
    if kind < 0.35:
        width = 8
    elif kind < 0.6:
        width = int(random.choice(_EDGES))
    else:
        width = int(random.integers(1, widest + 1))
    return FixedPoint(
        min(width, widest),
        int(random.integers(-6, 34)),
        bool(random.random() < 0.5),
        list(Rounding)[random.integers(len(Rounding))],
        list(Overflow)[random.integers(len(Overflow))],
    )


def random_shape(random: Random) -> tuple[int, int, int]:
    """A small shape whose channels meet every remainder of a vector's length."""
    return int(random.integers(1, 6)), int(random.integers(1, 6)), int(random.choice(_CHANNELS))


def random_values(random: Random, low: int, high: int, shape: Sequence[int]) -> IntArray:
    """Integers of a range: uniform, the extremes alone, or small ones."""
    kind = random.random()
    if kind < 0.5:
        return random.integers(low, high, tuple(shape), np.int64, endpoint=True)
    few = {low, high} | ({0, -1, 1, low + 1, high - 1} if kind < 0.8 else set())
    inside = np.array(sorted(value for value in few if low <= value <= high), np.int64)
    return inside[random.integers(len(inside), size=tuple(shape))]


def _one(random: Random, name: str, widest: int = 32) -> Input:
    return Input(f"{name}x", (), random_shape(random), random_format(random, widest))


def _aligned(random: Random, name: str, count: int) -> tuple[list[FixedPoint], tuple[int, ...]]:
    """Formats of inputs, and the shifts that bring them to one unit."""
    shifts = [int(random.integers(0, 14)) for _ in range(count)]
    if random.random() < 0.5:
        shifts = [0] * count
    unit = int(random.integers(-4, 20))
    formats = []
    for shift in shifts:
        drawn = random_format(random)
        formats.append(replace(drawn, integer_bits=drawn.width - unit + shift))
    return formats, tuple(shifts)


def _input_case(random: Random, name: str) -> Made:
    return [], replace(_one(random, name, 64 if random.random() < 0.1 else 32), name=name)


def _conv2d(random: Random, name: str) -> Made:
    x = _one(random, name)
    channels = x.shape[2]
    divisors = [count for count in range(1, channels + 1) if channels % count == 0]
    groups = int(random.choice([1, 1, channels, random.choice(divisors)]))
    filters = groups * int(random.integers(1, max(2, 40 // groups)))
    kernel = (int(random.integers(1, 4)), int(random.integers(1, 4)))
    weight_format = random_format(random)
    high = (1 << (weight_format.width - 1)) - 1
    bits = int(random.choice([0, 8, 16, 31, 40, 61]))
    channel_shifts = random.integers(0, 8, filters) if random.random() < 0.4 else None
    dilation, most = (1, 1), 3
    if random.random() < 0.4:  # with padding, without which few of them would fit
        dilation, most = tuple(int(step) for step in random.integers(1, 6, 2)), 9
    return [x], Conv2D(
        name,
        (x.name,),
        random_values(random, -high - 1, high, (*kernel, channels // groups, filters)),
        random_values(random, -(1 << bits), 1 << bits, (filters,)),
        weight_format,
        (int(random.integers(1, 4)), int(random.integers(1, 4))),
        tuple(int(side) for side in random.integers(0, most, 4)),  # type: ignore[arg-type]
        groups,
        int(random.choice([0, 0, 0, 1, 7, 20])),
        channel_shifts,
        dilation,
    )


def _requantize(random: Random, name: str) -> Made:
    x = _one(random, name, 62)
    return [x], requantization(random, name, x.name, x.format.fraction_bits, 1)


def requantization(
    random: Random, name: str, source: str, fraction_bits: int, divisor: int
) -> Requantize:
    """To a format whose unit is mostly coarser, by up to 40 bits."""
    drawn = random_format(random)
    shift = int(random.choice([0, 1, random.integers(-12, 41), random.integers(0, 12)]))
    chosen = replace(drawn, integer_bits=drawn.width - fraction_bits + shift)
    maximum = None
    if chosen.overflow in (Overflow.SAT, Overflow.SAT_SYM) and random.random() < 0.3:
        maximum = int(random.integers(chosen.minimum, chosen.maximum, endpoint=True))
    return Requantize(name, (source,), chosen, fraction_bits, divisor, maximum)


def _pool(cls: type[MaxPool2D] | type[SumPool2D]) -> Generator:
    def generate(random: Random, name: str) -> Made:
        x = _one(random, name)
        window = tuple(int(side) for side in random.integers(1, 5, 2))
        padding = tuple(int(random.integers(0, side)) for side in window for _ in range(2))
        strides = tuple(int(side) for side in random.integers(1, 4, 2))
        more = ()
        if cls is SumPool2D and random.random() < 0.5:  # padding does not count
            more = (common_divisor(x.shape, window, strides, padding),)  # type: ignore[arg-type]
        return [x], cls(name, (x.name,), window, strides, padding, *more)  # type: ignore[arg-type]

    return generate


def _select_channels(random: Random, name: str) -> Made:
    x = _one(random, name)
    channels = random.integers(0, x.shape[2], int(random.choice(_CHANNELS)))
    if random.random() < 0.5:  # neighbours
        channels = np.unique(channels)
    return [x], SelectChannels(name, (x.name,), tuple(channels.tolist()))


def _frame2d(random: Random, name: str) -> Made:
    x = _one(random, name)
    sides = tuple(int(side) for side in random.integers(-3, 4, 4))
    return [x], Frame2D(name, (x.name,), sides)  # type: ignore[arg-type]


def _add(random: Random, name: str) -> Made:
    formats, shifts = _aligned(random, name, int(random.integers(1, 4)))
    shape = random_shape(random)
    inputs = [Input(f"{name}x{i}", (), shape, f) for i, f in enumerate(formats)]
    return inputs, Add(name, tuple(x.name for x in inputs), shifts)


def _concatenate(random: Random, name: str) -> Made:
    formats, shifts = _aligned(random, name, int(random.integers(1, 4)))
    height, width, _ = random_shape(random)
    inputs = [
        Input(f"{name}x{i}", (), (height, width, int(random.choice(_CHANNELS))), f)
        for i, f in enumerate(formats)
    ]
    return inputs, Concatenate(name, tuple(x.name for x in inputs), shifts)


def _multiply(random: Random, name: str) -> Made:
    x = _one(random, name)
    shape = x.shape if random.random() < 0.5 else (1, 1, x.shape[2])
    y = Input(f"{name}y", (), shape, random_format(random))
    return [x, y], Multiply(name, (x.name, y.name))


def _table(random: Random, name: str) -> Made:
    given = random_format(random, 8 if random.random() < 0.9 else 14)
    x = Input(f"{name}x", (), random_shape(random), given)
    made = random_format(random)
    values = random_values(random, made.minimum, made.maximum, (1 << given.width,))
    return [x], Table(name, (x.name,), values, made, given.signed)


def _upsample(cls: type[UpsampleNearest2D] | type[UpsampleBilinear2D]) -> Generator:
    def generate(random: Random, name: str) -> Made:
        x = _one(random, name)
        factors = tuple(int(factor) for factor in random.integers(1, 6, 2))
        return [x], cls(name, (x.name,), factors)  # type: ignore[arg-type]

    return generate


def _top_k(cls: type[TopKIndices] | type[TopKValues]) -> Generator:
    def generate(random: Random, name: str) -> Made:
        x = _one(random, name)
        most = min(8, x.shape[2])
        return [x], cls(name, (x.name,), int(random.integers(1, most, endpoint=True)))

    return generate


def _softmax(random: Random, name: str) -> Made:
    x = _one(random, name)
    entries = int(random.integers(1, 60))
    table = np.sort(random.integers(1, 1 << int(random.integers(1, 30)), entries))[::-1]
    made = FixedPoint(int(random.integers(1, 20)), 1, False)
    return [x], Softmax(name, (x.name,), np.append(table, 0), made)


GENERATORS: dict[str, Generator] = {
    "input": _input_case,
    "conv2d": _conv2d,
    "requantize": _requantize,
    "select_channels": _select_channels,
    "frame2d": _frame2d,
    "max_pool2d": _pool(MaxPool2D),
    "sum_pool2d": _pool(SumPool2D),
    "add": _add,
    "concatenate": _concatenate,
    "multiply": _multiply,
    "table": _table,
    "upsample_nearest2d": _upsample(UpsampleNearest2D),
    "upsample_bilinear2d": _upsample(UpsampleBilinear2D),
    "top_k_indices": _top_k(TopKIndices),
    "top_k_values": _top_k(TopKValues),
    "softmax": _softmax,
}
"""By kind: what makes a random operation and its inputs."""


def kinds() -> list[str]:
    """The kinds of the registry, with convolutions, which have the most paths, four times.

    Raises:
        LookupError: if a kind has no generator.
    """
    missing = sorted(set(KINDS) - set(GENERATORS))
    if missing:
        raise LookupError(f"tests/support/operation_cases.py has no generator for {missing}")
    return [*KINDS, *["conv2d"] * 3]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        operations: inputs, the operation, and the requantization that follows it, if any.
        tensors: of these.
        kept: results that are compared; without the sums, they are fused.
    """

    operations: tuple[Operation, ...]
    tensors: dict[str, Tensor]
    kept: tuple[str, ...]

    @property
    def operation(self) -> Operation:
        """The one that the case is about."""
        last = self.operations[-1]
        return self.operations[-2] if last.name.endswith("q") else last


def random_case(random: Random, kind: str, name: str) -> Case:
    """A case that the graph allows: drawn again until its values stay within 64 bits."""
    while True:
        try:
            inputs, operation = GENERATORS[kind](random, name)
            tensors: dict[str, Tensor] = {}
            for made in (*inputs, operation):
                tensors[made.name] = made.infer(*(tensors[source] for source in made.inputs))
            operations: tuple[Operation, ...] = (*inputs, operation)
            kept: tuple[str, ...] = (name,)
            tensor = tensors[name]
            if kind not in ("input", "requantize") and random.random() < 0.6:
                tail = requantization(
                    random, f"{name}q", name, tensor.format.fraction_bits, tensor.divisor
                )
                tensors[tail.name] = tail.infer(tensor)
                operations += (tail,)
                kept = (tail.name,) if random.random() < 0.7 else (name, tail.name)
        except ValueError:
            continue
        return Case(operations, tensors, kept)


def program(cases: Sequence[Case]) -> IntegerGraph:
    """All cases side by side; what is kept are its outputs."""
    return IntegerGraph(
        "cases",
        tuple(operation for case in cases for operation in case.operations),
        tuple(name for case in cases for name in case.kept),
        {name: tensor for case in cases for name, tensor in case.tensors.items()},
    )


def random_inputs(random: Random, graph: IntegerGraph, images: int) -> dict[str, IntArray]:
    """Values of every input, shape `(images, H, W, C)`."""
    return {
        op.name: random_values(
            random, op.format.minimum, min(op.format.maximum, 2**63 - 1), (images, *op.shape)
        )
        for op in graph.operations
        if isinstance(op, Input)
    }


def overflow_counts(operation: Operation, given: IntArray) -> tuple[int, int, int]:
    """Values saturated, of those below the range, and wrapped, by NumPy.

    Args:
        operation: that made the tensor.
        given: what it read.
    """
    if not isinstance(operation, Requantize):
        return 0, 0, 0
    kept = operation.format
    wide = replace(
        kept,
        width=64,
        integer_bits=64 - kept.fraction_bits,
        signed=True,
        overflow=Overflow.WRAP,
    )
    exact = wide.rescale(given, operation.fraction_bits, operation.divisor)
    changed = int(np.count_nonzero(kept.overflowed(exact) != exact))
    if kept.overflow is Overflow.WRAP:
        return 0, 0, changed
    return changed, int(np.count_nonzero(exact < kept.minimum)), 0


def described(case: Case) -> str:
    """A case in words, without its constants."""
    parts: list[str] = []
    for operation in case.operations:
        fields: dict[str, Any] = {
            key: value.shape if isinstance(value, np.ndarray) else value
            for key, value in vars(operation).items()
        }
        parts.append(f"{operation.kind} {fields}")
    return "\n  ".join(parts)
