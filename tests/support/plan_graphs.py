"""Small integer graphs and their plans, for the tests of `hwflow.plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph, infer
from hwflow.opset import (
    Add,
    Concatenate,
    Conv2D,
    Frame2D,
    Input,
    MaxPool2D,
    Operation,
    Padding,
    Requantize,
    SelectChannels,
    Shape,
    Softmax,
    SumPool2D,
    TopKIndices,
    TopKValues,
    UpsampleBilinear2D,
    UpsampleNearest2D,
    common_divisor,
)
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.streams import StreamGraph

ACTIVATION = FixedPoint(8, 4, signed=False)
WEIGHT = FixedPoint(8, 2)


@dataclass(frozen=True)
class Layer:
    """What a design says of a layer."""

    reuse_factor: int | None = None
    storage: str = "auto"
    multiplier: str = "auto"


class Builder:
    """Appends operations; each method returns the name of the tensor it makes."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.operations: list[Operation] = []
        self.tensors: dict[str, object] = {}
        self.append(Input("image", (), shape, ACTIVATION))

    def append(self, operation: Operation) -> str:
        self.operations.append(operation)
        self.tensors[operation.name] = infer(operation, self.tensors)  # type: ignore[arg-type]
        return operation.name

    def shape(self, tensor: str) -> Shape:
        return self.tensors[tensor].shape  # type: ignore[attr-defined, no-any-return]

    def requantize(self, source: str, name: str = "") -> str:
        tensor = self.tensors[source]
        return self.append(
            Requantize(
                name or f"{source}_relu",
                (source,),
                ACTIVATION,
                tensor.format.fraction_bits,  # type: ignore[attr-defined]
                tensor.divisor,  # type: ignore[attr-defined]
            )
        )

    def convolution(
        self,
        source: str,
        name: str,
        filters: int,
        kernel: tuple[int, int] = (1, 1),
        strides: tuple[int, int] = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        groups: int = 1,
        dilation: tuple[int, int] = (1, 1),
    ) -> str:
        channels = self.shape(source)[2] // groups
        made = self.append(
            Conv2D(
                name,
                (source,),
                weights=self.random.integers(-128, 128, (*kernel, channels, filters)),
                biases=self.random.integers(-500, 500, filters),
                weight_format=WEIGHT,
                strides=strides,
                padding=padding,
                groups=groups,
                dilation=dilation,
            )
        )
        return self.requantize(made)

    def max_pool(self, source: str, name: str, window: int = 3, stride: int = 2) -> str:
        return self.append(MaxPool2D(name, (source,), (window, window), (stride, stride)))

    def average(self, source: str, name: str) -> str:
        height, width, _ = self.shape(source)
        made = self.append(SumPool2D(name, (source,), (height, width), (1, 1)))
        return self.requantize(made)

    def mean(self, source: str, name: str, window: int, stride: int, padding: Padding) -> str:
        """An average that does not count its padding."""
        both = ((window, window), (stride, stride), padding)
        divisor = common_divisor(self.shape(source), *both)
        return self.requantize(self.append(SumPool2D(name, (source,), *both, divisor)))

    def select(self, source: str, name: str, channels: tuple[int, ...]) -> str:
        return self.append(SelectChannels(name, (source,), channels))

    def concatenate(self, sources: Sequence[str], name: str) -> str:
        return self.append(Concatenate(name, tuple(sources), (0,) * len(sources)))

    def add(self, sources: Sequence[str], name: str) -> str:
        return self.requantize(self.append(Add(name, tuple(sources), (0,) * len(sources))))

    def build(self, *outputs: str) -> IntegerGraph:
        return IntegerGraph.build("tiny", self.operations, outputs or (self.operations[-1].name,))


def fire(size: int = 12, channels: int = 8, squeeze: int = 4, expand: int = 8) -> IntegerGraph:
    """A fire module: squeeze, two expansions, concatenation."""
    build = Builder((size, size, channels))
    squeezed = build.convolution("image", "squeeze", squeeze)
    one = build.convolution(squeezed, "expand1x1", expand)
    three = build.convolution(squeezed, "expand3x3", expand, (3, 3), padding=(1, 1, 1, 1))
    return build.build(build.concatenate([one, three], "concat"))


def bypass(size: int = 10, channels: int = 4) -> IntegerGraph:
    """A residual block: two 3x3 convolutions and the way around them."""
    build = Builder((size, size, channels))
    same = (1, 1, 1, 1)
    one = build.convolution("image", "conv1", channels, (3, 3), padding=same)
    two = build.convolution(one, "conv2", channels, (3, 3), padding=same)
    return build.build(build.add(["image", two], "add"))


def chain(size: int = 14) -> IntegerGraph:
    """Convolution with stride, pooling, depthwise and pointwise convolution, global average."""
    build = Builder((size, size, 3))
    now = build.convolution("image", "conv1", 8, (3, 3), (2, 2), (0, 1, 0, 1))
    now = build.max_pool(now, "pool1", 3, 2)
    now = build.convolution(now, "depthwise", 8, (3, 3), padding=(1, 1, 1, 1), groups=8)
    now = build.convolution(now, "pointwise", 12)
    return build.build(build.average(now, "mean"))


def dilated(size: int = 7, channels: int = 4) -> IntegerGraph:
    """A map read at three rates, the last beyond its border, joined and filtered depthwise."""
    build = Builder((size, size + 1, channels))

    def read(rate: tuple[int, int], source: str, name: str, groups: int = 1) -> str:
        below, beside = rate
        padding = (below, below, beside, beside)
        return build.convolution(source, name, channels, (3, 3), (1, 1), padding, groups, rate)

    rates = ((2, 2), (1, 3), (size + 1, 2))
    joined = build.concatenate(
        [read(rate, "image", f"rate{i}") for i, rate in enumerate(rates)], "concat"
    )
    narrow = build.convolution(joined, "narrow", channels)
    last = read((2, 1), narrow, "depthwise", groups=channels)
    return build.build(build.convolution(last, "valid", 2, (2, 2), dilation=(2, 3)))


def enlarged(size: int = 5, channels: int = 4) -> IntegerGraph:
    """A map and its halves, enlarged again and joined with it."""
    build = Builder((2 * size, 2 * size, channels))
    small = build.max_pool("image", "small", 2)
    nearest = build.append(UpsampleNearest2D("nearest", (small,), (2, 2)))
    wide = build.append(Frame2D("wide", (nearest,), (2, -1, 1, 0)))
    nearest = build.append(Frame2D("cut", (wide,), (-2, 1, 0, -1)))
    blend = build.requantize(build.append(UpsampleBilinear2D("blend", (small,), (2, 2))))
    return build.build(build.concatenate(["image", nearest, blend], "concat"), blend)


def headed(classes: int = 12) -> IntegerGraph:
    """A classifier of pixels with every head."""
    build = Builder((3, 2, classes))
    build.append(TopKIndices("indices", ("image",), 5))
    build.append(TopKValues("values", ("image",), 1))
    table = np.array([100, 37, 14, 5, 2, 1, 0])
    build.append(Softmax("softmax", ("image",), table, FixedPoint(8, 1, False)))
    return build.build("indices", "values", "softmax", "image")


def units(size: int = 9, channels: int = 12) -> IntegerGraph:
    """Units of ShuffleNet: groups, a shuffle, a mean around a stride, a split, and joins."""
    build = Builder((size, size, channels))
    same = (1, 1, 1, 1)
    shuffled = tuple(np.arange(channels).reshape(3, -1).T.ravel().tolist())
    now = build.convolution("image", "compress", channels, groups=3)
    now = build.select(now, "shuffle", shuffled)
    now = build.convolution(now, "depthwise", channels, (3, 3), (2, 2), same, groups=channels)
    now = build.convolution(now, "expand", channels, groups=3)
    now = build.concatenate([build.mean("image", "mean", 3, 2, same), now], "concat")
    bypass, rest = (
        build.select(now, f"half{side}", tuple(range(side * channels, (side + 1) * channels)))
        for side in (0, 1)
    )
    rest = build.convolution(rest, "grouped", 8, (3, 3), padding=same, groups=2)
    return build.build(build.concatenate([bypass, rest], "join"))


def plan(
    graph: IntegerGraph,
    interval_cycles: int = 100_000,
    layers: Mapping[str, Layer] | None = None,
    **choices: object,
) -> StreamGraph:
    """The processes and streams of a graph."""
    given = layers or {}
    return map_graph(
        graph,
        Choices(
            lambda name: given.get(name, Layer()),
            explicit=lambda name: name in given and given[name].reuse_factor is not None,
            interval_cycles=interval_cycles,
            **choices,  # type: ignore[arg-type]
        ),
    )
