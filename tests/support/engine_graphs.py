"""Integer graphs for the engine's tests: small random ones of every operation and format."""

from __future__ import annotations

import math
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
    Input,
    MaxPool2D,
    Operation,
    Requantize,
    SumPool2D,
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
            return float(sums.max()) * reach[0] * 2.0**operation.product_shift + 2.0**32
        if isinstance(operation, SumPool2D):
            return reach[0] * operation.window[0] * operation.window[1]
        if isinstance(operation, Add | Concatenate):
            return sum(
                peak * 2.0**shift for peak, shift in zip(reach, operation.shifts, strict=True)
            )
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
    kind = draw(st.sampled_from(["conv", "conv", "requantize", "max", "sum", "add", "concat"]))
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
        cls = MaxPool2D if kind == "max" else SumPool2D
        return builder.add(cls(name, (source,), window, strides, padding))
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
        )
    )


class NetworkBuilder:
    """Builds whole int8 networks out of random weights, with ReLU as unsigned formats."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.operations: list[Operation] = []
        self.fraction_bits: dict[str, int] = {}
        self.channels: dict[str, int] = {}

    def input(self, shape: tuple[int, int, int], image_format: FixedPoint) -> str:
        self.operations.append(Input("x", (), shape, image_format))
        return self._known("x", image_format.fraction_bits, shape[2])

    def conv(
        self,
        name: str,
        source: str,
        filters: int,
        kernel: int,
        stride: int = 1,
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        depthwise: bool = False,
        activation: FixedPoint | None = None,
    ) -> str:
        """A convolution and the requantization of its sums (ReLU unless told otherwise)."""
        channels = self.channels[source]
        inputs = 1 if depthwise else channels
        weights = self.random.integers(-127, 128, (kernel, kernel, inputs, filters))
        kept = activation or FixedPoint(8, 4, signed=False)
        # Weights of this size keep the spread of activations about the same, rather wider.
        spread = math.log2(73 * math.sqrt(kernel * kernel * inputs / 2))
        weight_format = FixedPoint(8, 8 - math.floor(spread))
        unit = self.fraction_bits[source] + weight_format.fraction_bits
        biases = self.random.integers(-(1 << 8), 1 << 8, filters)
        self.operations.append(
            Conv2D(
                f"{name}_sum",
                (source,),
                weights,
                biases,
                weight_format,
                (stride, stride),
                padding,
                channels if depthwise else 1,
            )
        )
        self.operations.append(Requantize(name, (f"{name}_sum",), kept, unit))
        return self._known(name, kept.fraction_bits, filters)

    def max_pool(self, name: str, source: str, window: int, stride: int) -> str:
        self.operations.append(MaxPool2D(name, (source,), (window, window), (stride, stride)))
        return self._known(name, self.fraction_bits[source], self.channels[source])

    def concatenate(self, name: str, *sources: str) -> str:
        self.operations.append(Concatenate(name, sources, (0,) * len(sources)))
        channels = sum(self.channels[source] for source in sources)
        return self._known(name, self.fraction_bits[sources[0]], channels)

    def add(self, name: str, left: str, right: str, kept: FixedPoint) -> str:
        unit = self.fraction_bits[left]
        self.operations.append(Add(f"{name}_sum", (left, right), (0, 0)))
        self.operations.append(Requantize(name, (f"{name}_sum",), kept, unit))
        return self._known(name, kept.fraction_bits, self.channels[left])

    def average(self, name: str, source: str, size: int) -> str:
        unit = self.fraction_bits[source]
        kept = FixedPoint(8, 4, signed=False)
        self.operations.append(SumPool2D(f"{name}_sum", (source,), (size, size), (size, size)))
        self.operations.append(Requantize(name, (f"{name}_sum",), kept, unit, size * size))
        return self._known(name, kept.fraction_bits, self.channels[source])

    def build(self, name: str, output: str) -> IntegerGraph:
        return IntegerGraph.build(name, self.operations, [output])

    def _known(self, name: str, fraction_bits: int, channels: int) -> str:
        self.fraction_bits[name] = fraction_bits
        self.channels[name] = channels
        return name


def squeezenet(size: int = 224, classes: int = 1000) -> IntegerGraph:
    """SqueezeNet v1.1's shape with random int8 weights."""
    net = NetworkBuilder()
    x = net.input((size, size, 3), FixedPoint(8, 0, signed=False))
    x = net.conv("conv1", x, 64, 3, 2)
    x = net.max_pool("pool1", x, 3, 2)
    side = ((size - 3) // 2 + 1 - 3) // 2 + 1
    for index, squeeze in enumerate([16, 16, 32, 32, 48, 48, 64, 64], start=2):
        s = net.conv(f"fire{index}_squeeze", x, squeeze, 1)
        left = net.conv(f"fire{index}_1x1", s, 4 * squeeze, 1)
        right = net.conv(f"fire{index}_3x3", s, 4 * squeeze, 3, padding=(1, 1, 1, 1))
        x = net.concatenate(f"fire{index}", left, right)
        if index in (3, 5):
            x = net.max_pool(f"pool{index}", x, 3, 2)
            side = (side - 3) // 2 + 1
    x = net.conv("conv10", x, classes, 1)
    return net.build("squeezenet", net.average("logits", x, side))


def mobilenet(size: int = 224, classes: int = 1000) -> IntegerGraph:
    """MobileNetV1's shape with random int8 weights; its padding is TensorFlow's."""
    net = NetworkBuilder()
    x = net.input((size, size, 3), FixedPoint(8, 0, signed=False))
    x = net.conv("conv1", x, 32, 3, 2, (0, 1, 0, 1))
    side = size // 2
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    plan += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for index, (filters, stride) in enumerate(plan, start=1):
        padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        x = net.conv(f"dw{index}", x, net.channels[x], 3, stride, padding, depthwise=True)
        x = net.conv(f"pw{index}", x, filters, 1)
        side //= stride
    x = net.average("pool", x, side)
    x = net.conv("logits", x, classes, 1, activation=FixedPoint(16, 8))
    return net.build("mobilenet", x)


def mobilenet_v2(size: int = 224, classes: int = 1000) -> IntegerGraph:
    """MobileNetV2's shape with random int8 weights: signed bottlenecks and residual additions."""
    signed = FixedPoint(8, 4)
    net = NetworkBuilder()
    x = net.input((size, size, 3), FixedPoint(8, 0, signed=False))
    x = net.conv("conv1", x, 32, 3, 2, (0, 1, 0, 1))
    side = size // 2
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    plan += [(6, 160, 3, 2), (6, 320, 1, 1)]
    index = 0
    for expansion, filters, repeats, first_stride in plan:
        for repeat in range(repeats):
            index += 1
            stride = first_stride if repeat == 0 else 1
            padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
            y = x
            if expansion != 1:
                y = net.conv(f"expand{index}", x, expansion * net.channels[x], 1)
            y = net.conv(f"dw{index}", y, net.channels[y], 3, stride, padding, depthwise=True)
            y = net.conv(f"project{index}", y, filters, 1, activation=signed)
            side //= stride
            x = net.add(f"add{index}", x, y, signed) if repeat else y
    x = net.conv("conv_last", x, 1280, 1)
    x = net.average("pool", x, side)
    x = net.conv("logits", x, classes, 1, activation=FixedPoint(16, 8))
    return net.build("mobilenet_v2", x)
