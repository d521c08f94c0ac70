"""Who gets which format: the narrowest error for the widths that the design asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault, of_layers
from hwflow.fixed_point import FixedPoint
from hwflow.layers import float_kind
from hwflow.layers.base import FloatNode
from hwflow.quantize.float_graph import FloatGraph

CANDIDATES = 5
"""Integer bits tried below those that hold the largest value."""

MAXIMUM_WIDTH = 24
"""float32, in which Keras stores weights and tensors, holds no wider integer exactly."""


FEW_VALUES = {"binary": (1, 1), "ternary": (2, 2), "powers_of_two": (2, 5)}
"""Least and greatest width of weights that do not take every integer of their width."""

NO_ZERO = ("binary", "powers_of_two")
"""Values of which none is zero."""


class WidthSpec(Protocol):
    """A width of the design, and the integer bits if they are given by hand."""

    @property
    def width(self) -> int: ...

    @property
    def integer_bits(self) -> int | None: ...


class WeightSpec(WidthSpec, Protocol):
    """The same for weights: their values, their scales, and what is done to them before."""

    @property
    def values(self) -> str: ...

    @property
    def scale(self) -> str: ...

    @property
    def curve(self) -> str: ...

    @property
    def density(self) -> float | None: ...

    @property
    def shared(self) -> int | None: ...


class LayerWidths(Protocol):
    """The widths of one layer."""

    @property
    def weights(self) -> WeightSpec: ...

    @property
    def biases(self) -> WidthSpec: ...

    @property
    def activations(self) -> WidthSpec: ...


class Quantization(Protocol):
    """The design's quantization section."""

    @property
    def input(self) -> WidthSpec: ...

    def for_layer(self, name: str) -> LayerWidths:
        """The widths that hold for a layer."""

    def place_of(self, key: str, name: str) -> str:
        """Where in the design that of `key` stands, such as `weights.width`."""


@dataclass(frozen=True)
class Point:
    """A place where a tensor gets a declared format.

    Attributes:
        name: of the quantizer in the QKeras model.
        node: name of the float node whose output is quantized there.
        width: bits of the format.
        integer_bits: given by hand, or nothing.
        layer: whose activations have that width; empty for the network's input.
        group: points with the same group share one format (they are concatenated).
    """

    name: str
    node: str
    width: int
    integer_bits: int | None
    layer: str
    group: str


def points_of(graph: FloatGraph, quantization: Quantization) -> tuple[Point, ...]:
    """Where the network's tensors are quantized, in order of execution.

    The input is; so is every activation, and every computing layer that no activation alone reads.
    """
    points: list[Point] = []

    def add(name: str, node: str, spec: WidthSpec, layer: str) -> None:
        points.append(Point(name, node, spec.width, spec.integer_bits, layer, node))

    for node in graph.nodes:
        kind = float_kind(node.kind)
        if node.kind == "InputLayer":
            add(f"{node.name}_quantized", node.name, quantization.input, "")
            continue
        assert kind is not None  # what has none was refused on reading
        own = quantization.for_layer(node.name).activations
        if kind.is_activation:
            source = node.inputs[0]
            if own != quantization.for_layer("").activations:
                add(node.name, node.name, own, node.name)
            else:
                add(node.name, node.name, quantization.for_layer(source).activations, source)
        elif kind.computes_in(node) and not feeds_activation(graph, node):
            add(f"{node.name}_quantized", node.name, own, node.name)
    return _grouped(graph, points)


def feeds_activation(graph: FloatGraph, node: FloatNode) -> bool:
    """Whether one activation, and nothing else, reads a node's output."""
    consumers = graph.consumers(node.name)
    kind = float_kind(consumers[0].kind) if len(consumers) == 1 else None
    if kind is None or not kind.is_activation or kind.reads_quantized:
        return False
    return node.name not in graph.outputs


def _grouped(graph: FloatGraph, points: Iterable[Point]) -> tuple[Point, ...]:
    """Gives points that meet in a concatenation the same group, so that nothing is widened."""
    order = list(points)
    origin = {point.node: {point.node} for point in order}
    leader = {point.node: point.node for point in order}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for node in graph.nodes:
        if node.name in origin:
            continue
        origin[node.name] = set().union(*(origin.get(source, set()) for source in node.inputs))
        if node.kind == "Concatenate":
            first, *others = sorted(find(name) for name in origin[node.name])
            for other in others:
                leader[other] = first
    return tuple(replace(point, group=find(point.node)) for point in order)


def output_groups(graph: FloatGraph, points: Iterable[Point]) -> frozenset[str]:
    """The groups of the points whose tensors the network puts out, moved or joined at most."""
    groups = {point.node: point.group for point in points}
    found = set()
    waiting = list(graph.outputs)
    while waiting:
        name = waiting.pop()
        if name in groups:
            found.add(groups[name])
        else:
            waiting += graph.node(name).inputs
    return frozenset(found)


def integer_bits_to_hold(low: float, high: float) -> int:
    """QKeras's count of integer bits (the sign not included) that hold values from low to high."""
    largest = max(high, -low)
    if largest <= 0:
        return 0
    bits = math.ceil(math.log2(largest))
    # the greatest value of the format is one unit short of the power of two
    return bits + 1 if high >= 2.0**bits else bits


def candidates(low: float, high: float, least: int | None) -> range:
    """The numbers of integer bits worth trying, fewest first.

    Args:
        low: the least value.
        high: the greatest value.
        least: the fewest that can be expressed, or nothing.
    """
    top = integer_bits_to_hold(low, high)
    if least is not None:
        top = max(top, least)
        return range(max(top - CANDIDATES, least), top + 1)
    return range(top - CANDIDATES, top + 1)


def squared_error(values: npt.NDArray[Any], target: FixedPoint) -> float:
    """The summed squared difference between values and what a format makes of them.

    Args:
        values: real values of any shape.
        target: rounds half to even and saturates.
    """
    scale = values.dtype.type(2.0**target.fraction_bits)
    rounded = np.rint(values * scale)
    np.clip(rounded, target.minimum, target.maximum, out=rounded)
    rounded /= scale
    rounded -= values
    flat = rounded.ravel().astype(np.float64)
    return float(flat @ flat)


def bias_format(
    values: npt.NDArray[np.float64], width: int, integer_bits: int | None, product_fraction: int
) -> FixedPoint:
    """A format that holds every bias, no finer than the products that it is added to.

    Args:
        values: the biases.
        width: the most bits it may have.
        integer_bits: given by hand (sign included), or nothing.
        product_fraction: fraction bits of the products.
    """
    if integer_bits is None:
        low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        integer_bits = integer_bits_to_hold(low, high) + 1
    fraction = min(width - integer_bits, product_fraction)
    narrowed = max(integer_bits + fraction, 2)
    return FixedPoint(narrowed, narrowed - fraction)


def width_faults(
    graph: FloatGraph,
    points: Iterable[Point],
    quantization: Quantization,
    fault: Callable[[str, str], Fault],
) -> list[Fault]:
    """Widths that QKeras or float32 cannot represent, as faults of the design.

    Args:
        graph: the network.
        points: its quantized tensors.
        quantization: the design's section.
        fault: makes a fault of a key path and a message.
    """
    told: list[tuple[str, Fault]] = []

    def tell(key: str, layer: str, message: str) -> None:
        told.append((layer, fault(quantization.place_of(key, layer), message)))

    for node in graph.nodes:
        kind = float_kind(node.kind)
        if kind is None or not kind.weights:
            continue
        widths = quantization.for_layer(node.name)
        values, width = widths.weights.values, widths.weights.width
        few = FEW_VALUES.get(values)
        if few is not None:
            low, high = few
            if not low <= width <= high:
                wanted = f"from {low} to {high}" if low < high else str(low)
                message = f"must be {wanted} for the {values} weights of {{layers}}, not {width}"
                tell("weights.width", node.name, message)
            elif widths.weights.integer_bits is not None:
                message = (
                    f"must not be given for the {values} weights of {{layers}}, which have a scale"
                )
                tell("weights.integer_bits", node.name, message)
        if values in NO_ZERO and (widths.weights.density or 1) < 1:
            message = f"must not be given for the {values} weights of {{layers}}: none can be 0"
            tell("weights.density", node.name, message)
        for role, spec in (("weights", widths.weights), ("biases", widths.biases)):
            if role == "weights" and few is not None:
                continue
            if not 2 <= spec.width <= MAXIMUM_WIDTH:
                message = (
                    f"must be from 2 to {MAXIMUM_WIDTH} for {{layers}}, not {spec.width}: one bit "
                    f"needs `values: binary`, and Keras stores weights in float32"
                )
                tell(f"{role}.width", node.name, message)
    for point in points:
        least = 2 if point.name.endswith("_quantized") else 1
        if not least <= point.width <= MAXIMUM_WIDTH:
            message = f"must be from {least} to {MAXIMUM_WIDTH} for {{layers}}, not {point.width}"
            told.append((point.node, fault(place_of(point, "width", quantization), message)))
    return of_layers(told)


def place_of(point: Point, key: str, quantization: Quantization) -> str:
    """Where the design has the `width` or the `integer_bits` of a point."""
    if not point.layer:
        return f"quantization.input.{key}"
    return quantization.place_of(f"activations.{key}", point.layer)


def sign_faults(
    points: Iterable[Point],
    formats: Mapping[str, FixedPoint],
    quantization: Quantization,
    fault: Callable[[str, str], Fault],
) -> list[Fault]:
    """Integer bits given by hand that leave none for the sign, as faults of the design.

    Args:
        points: quantized tensors.
        formats: theirs, by name.
        quantization: the design's section.
        fault: makes a fault of a key path and a message.
    """
    return of_layers(
        (
            point.node,
            fault(
                place_of(point, "integer_bits", quantization),
                "must be at least 1 for {layers}, whose output has a sign, not "
                f"{point.integer_bits}",
            ),
        )
        for point in points
        if point.integer_bits is not None and formats[point.name].qkeras_integer < 0
    )


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raises a DesignError with the faults, if there are any."""
    found = list(faults)
    if found:
        raise DesignError(found)


Formats = Mapping[str, FixedPoint]
"""Formats of tensors by the name of their quantizer."""
