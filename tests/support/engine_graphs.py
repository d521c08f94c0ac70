"""Integer graphs for the engine's tests: small random ones of every operation and format."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Add,
    Concatenate,
    Conv2D,
    Frame2D,
    Input,
    MaxPool2D,
    Operation,
    Requantize,
    SelectChannels,
    Softmax,
    SumPool2D,
    TopKIndices,
    TopKValues,
    UpsampleBilinear2D,
    UpsampleNearest2D,
    common_divisor,
)


class GraphBuilder:
    """Adds operations one at a time and knows every tensor so far."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.graph: IntegerGraph | None = None

    def add(self, operation: Operation) -> str | None:
        """The operation's name, or None if the graph does not allow it."""
        if self._peak(operation) >= 2.0**61:
            return None  # NumPy's int64 would wrap, in the reference and in its intervals
        try:
            graph = IntegerGraph.build("random", [*self.operations, operation], [operation.name])
        except DesignError:
            return None
        self.operations.append(operation)
        self.graph = graph
        return operation.name

    def _peak(self, operation: Operation) -> float:
        """A bound of what the operation can reach."""
        reach = [
            float(np.abs(part).max())
            for name in operation.inputs
            for part in [
                np.stack([self.tensor(name).interval.low, self.tensor(name).interval.high])
            ]
        ]
        if isinstance(operation, Conv2D):
            sums = np.abs(operation.weights.astype(np.float64)).sum(axis=(0, 1, 2))
            return float((sums * 2.0**operation.shifts).max()) * reach[0] + 2.0**32
        if isinstance(operation, SumPool2D):
            return reach[0] * operation.divides_by
        if isinstance(operation, Add | Concatenate):
            return sum(
                peak * 2.0**shift for peak, shift in zip(reach, operation.shifts, strict=True)
            )
        if isinstance(operation, UpsampleBilinear2D):
            return reach[0] * operation.scale
        if isinstance(operation, Requantize):
            left = operation.format.fraction_bits - operation.fraction_bits
            return reach[0] * 2.0 ** max(left, 0)
        return max(reach, default=0.0)

    def tensor(self, name: str) -> Any:
        assert self.graph is not None
        return self.graph.tensors[name]


FORMATS = st.builds(
    FixedPoint,
    width=st.one_of(st.just(8), st.integers(1, 32)),
    integer_bits=st.integers(-3, 12),
    signed=st.booleans(),
    rounding=st.sampled_from(Rounding),
    overflow=st.sampled_from(Overflow),
)


@st.composite
def random_graphs(draw: st.DrawFn) -> tuple[IntegerGraph, dict[str, np.ndarray]]:
    """A graph of one to eight operations with all its tensors as candidates, and its input."""
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    builder = GraphBuilder()
    shape = (draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 20)))
    data_format = draw(FORMATS)
    name = builder.add(Input("x", (), shape, data_format))
    assert name is not None
    names = [name]
    for index in range(draw(st.integers(1, 8))):
        source = draw(st.sampled_from(names[-3:]))
        made = _draw_operation(draw, seed, builder, f"t{index}", source, names)
        if made is not None:
            names.append(made)
    assert builder.graph is not None
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    graph = IntegerGraph.build("random", builder.operations, outputs)
    images = draw(st.integers(0, 3))
    values = seed.integers(
        data_format.minimum, data_format.maximum, (images, *shape), np.int64, endpoint=True
    )
    return graph, {"x": values}


def _draw_operation(
    draw: st.DrawFn,
    seed: np.random.Generator,
    builder: GraphBuilder,
    name: str,
    source: str,
    names: list[str],
) -> str | None:
    tensor = builder.tensor(source)
    if tensor.divisor != 1:
        return builder.add(
            Requantize(name, (source,), draw(FORMATS), tensor.format.fraction_bits, tensor.divisor)
        )
    kinds = ["conv", "conv", "requantize", "max", "sum", "add", "concat", "nearest", "bilinear"]
    kinds += ["indices", "values", "softmax", "select", "frame"]
    kind = draw(st.sampled_from(kinds))
    if kind == "frame":
        sides = tuple(draw(st.integers(-2, 2)) for _ in range(4))
        return builder.add(Frame2D(name, (source,), sides))  # type: ignore[arg-type]
    if kind == "select":
        channels = st.integers(0, tensor.shape[2] - 1)
        chosen = draw(st.lists(channels, min_size=1, max_size=30))
        if draw(st.booleans()):  # neighbours
            chosen = sorted(set(chosen))
        return builder.add(SelectChannels(name, (source,), tuple(chosen)))
    if kind in ("indices", "values"):
        top = TopKIndices if kind == "indices" else TopKValues
        return builder.add(top(name, (source,), draw(st.integers(1, tensor.shape[2]))))
    if kind == "softmax":
        table = np.sort(seed.integers(1, 1 << draw(st.integers(1, 30)), draw(st.integers(1, 40))))
        table = np.append(table[::-1], 0)
        return builder.add(
            Softmax(name, (source,), table, FixedPoint(draw(st.integers(1, 24)), 1, False))
        )
    if kind in ("nearest", "bilinear"):
        upsampling = UpsampleNearest2D if kind == "nearest" else UpsampleBilinear2D
        factors = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        if tensor.shape[0] * tensor.shape[1] > 64:  # small enough to be quick
            factors = (1, 1)
        return builder.add(upsampling(name, (source,), factors))
    if kind == "conv":
        return _draw_conv(draw, seed, builder, name, source)
    if kind == "requantize":
        kept = draw(FORMATS)
        return builder.add(Requantize(name, (source,), kept, tensor.format.fraction_bits))
    if kind in ("max", "sum"):
        window = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        padding = (
            draw(st.integers(0, window[0] - 1)),
            draw(st.integers(0, window[0] - 1)),
            draw(st.integers(0, window[1] - 1)),
            draw(st.integers(0, window[1] - 1)),
        )
        strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        if kind == "max":
            return builder.add(MaxPool2D(name, (source,), window, strides, padding))
        divisor = None
        if draw(st.booleans()):  # padding does not count
            try:
                divisor = common_divisor(tensor.shape, window, strides, padding)
            except ValueError:  # no window fits
                return None
        return builder.add(SumPool2D(name, (source,), window, strides, padding, divisor))
    others = [
        other
        for other in names
        if builder.tensor(other).divisor == 1
        and builder.tensor(other).shape[: 2 if kind == "concat" else 3]
        == tensor.shape[: 2 if kind == "concat" else 3]
    ]
    chosen = (source, *draw(st.lists(st.sampled_from(others), max_size=2)))
    units = [builder.tensor(other).format.fraction_bits for other in chosen]
    shifts = tuple(max(units) - unit for unit in units)
    return builder.add((Add if kind == "add" else Concatenate)(name, chosen, shifts))


def _draw_conv(
    draw: st.DrawFn,
    seed: np.random.Generator,
    builder: GraphBuilder,
    name: str,
    source: str,
) -> str | None:
    channels = builder.tensor(source).shape[2]
    groups = draw(
        st.sampled_from([1, 1, channels, draw(st.integers(1, channels))]).filter(
            lambda count: channels % count == 0
        )
    )
    filters = groups * draw(st.integers(1, max(1, 24 // groups)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    width = draw(st.one_of(st.sampled_from([4, 8, 8, 16]), st.integers(1, 32)))
    high = (1 << (width - 1)) - 1
    weights = seed.integers(-high - 1, high, (*kernel, channels // groups, filters), endpoint=True)
    biases = seed.integers(-(1 << 12), 1 << 12, filters)
    return builder.add(
        Conv2D(
            name,
            (source,),
            weights,
            biases,
            FixedPoint(width, draw(st.integers(-2, 4))),
            (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            tuple(draw(st.integers(0, 2)) for _ in range(4)),  # type: ignore[arg-type]
            groups,
            draw(st.sampled_from([0, 0, 0, 1, 5])),
            draw(st.sampled_from([None, None, seed.integers(0, 9, filters)])),
            draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)])),
        )
    )
