"""Who gets which format: the narrowest error for the widths that the design asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault
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


@dataclass(frozen=True)
class Point:
    """A place where a tensor gets a declared format.

    Attributes:
        name: of the quantizer in the QKeras model.
        node: name of the float node whose output is quantized there.
        width: bits of the format.
        integer_bits: given by hand, or nothing.
        group: points with the same group share one format (they are concatenated).
    """

    name: str
    node: str
    width: int
    integer_bits: int | None
    group: str


def points_of(graph: FloatGraph, quantization: Quantization) -> tuple[Point, ...]:
    """Where the network's tensors are quantized, in order of execution.

    The input is; so is every activation, and every computing layer that no activation alone reads.
    """
    points: list[Point] = []
    for node in graph.nodes:
        kind = float_kind(node.kind)
        if node.kind == "InputLayer":
            spec = quantization.input
            points.append(
                Point(f"{node.name}_quantized", node.name, spec.width, spec.integer_bits, node.name)
            )
            continue
        assert kind is not None  # what has none was refused on reading
        if kind.is_activation:
            source = graph.node(node.inputs[0])
            own = quantization.for_layer(node.name).activations
            above = quantization.for_layer(source.name).activations
            spec = own if own != quantization.for_layer("").activations else above
            points.append(Point(node.name, node.name, spec.width, spec.integer_bits, node.name))
        elif kind.computes_in(node) and not feeds_activation(graph, node):
            spec = quantization.for_layer(node.name).activations
            points.append(
                Point(f"{node.name}_quantized", node.name, spec.width, spec.integer_bits, node.name)
            )
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
    return tuple(Point(p.name, p.node, p.width, p.integer_bits, find(p.node)) for p in order)


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
    faults = []
    for node in graph.nodes:
        kind = float_kind(node.kind)
        if kind is None or not kind.weights:
            continue
        widths = quantization.for_layer(node.name)
        few = FEW_VALUES.get(widths.weights.values)
        if few is not None:
            low, high = few
            if not low <= widths.weights.width <= high:
                wanted = f"from {low} to {high}" if low < high else str(low)
                faults.append(
                    fault(
                        "quantization.weights.width",
                        f"must be {wanted} for the {widths.weights.values} weights of layer "
                        f"{node.name!r}, not {widths.weights.width}",
                    )
                )
            elif widths.weights.integer_bits is not None:
                faults.append(
                    fault(
                        "quantization.weights.integer_bits",
                        f"must not be given for {widths.weights.values} weights (layer "
                        f"{node.name!r}): they have a scale instead",
                    )
                )
        for role, spec in (("weights", widths.weights), ("biases", widths.biases)):
            if role == "weights" and few is not None:
                continue
            if not 2 <= spec.width <= MAXIMUM_WIDTH:
                faults.append(
                    fault(
                        f"quantization.{role}.width",
                        f"must be from 2 to {MAXIMUM_WIDTH} for layer {node.name!r}, not "
                        f"{spec.width}: one bit needs `values: binary`, and Keras stores "
                        f"weights in float32",
                    )
                )
    for point in points:
        least = 2 if point.name.endswith("_quantized") else 1
        if not least <= point.width <= MAXIMUM_WIDTH:
            faults.append(
                fault(
                    "quantization.activations.width",
                    f"must be from {least} to {MAXIMUM_WIDTH} for tensor {point.name!r}, not "
                    f"{point.width}",
                )
            )
    unique = {str(item): item for item in faults}
    return list(unique.values())


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raises a DesignError with the faults, if there are any."""
    found = list(faults)
    if found:
        raise DesignError(found)


Formats = Mapping[str, FixedPoint]
"""Formats of tensors by the name of their quantizer."""
