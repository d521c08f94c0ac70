"""Comparison of witnesses: integer equality, tensor by tensor, with no tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Operation, Requantize


@dataclass(frozen=True)
class Divergence:
    """The first value of a tensor on which a witness differs from the integer graph.

    Attributes:
        layer: the tensor, which bears its layer's name.
        witness: who differs.
        image: index of the image.
        pixel: row and column.
        channel: index.
        expected: raw integer of the integer graph.
        got: raw value of the witness; not whole where a quantizer is missing.
        mismatches: how many values of the tensor differ in these images.
        values: how many it has.
        cause: the probable one.
    """

    layer: str
    witness: str
    image: int
    pixel: tuple[int, int]
    channel: int
    expected: int
    got: float
    mismatches: int
    values: int
    cause: str

    def __str__(self) -> str:
        got = int(self.got) if float(self.got).is_integer() else self.got
        return (
            f"{self.witness} differs first at layer {self.layer!r}, image {self.image}, pixel "
            f"({self.pixel[0]}, {self.pixel[1]}), channel {self.channel}: {got}, expected "
            f"{self.expected}; {self.mismatches:,} of {self.values:,} values of the layer differ. "
            f"Probable cause: {self.cause}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "layer": self.layer,
            "witness": self.witness,
            "image": self.image,
            "pixel": list(self.pixel),
            "channel": self.channel,
            "expected": self.expected,
            "got": self.got,
            "mismatches": self.mismatches,
            "values": self.values,
            "cause": self.cause,
        }


@dataclass
class Tally:
    """What was compared so far.

    Attributes:
        images: number of images.
        values: values compared, by tensor, over all witnesses.
        mismatches: values that differ, by tensor.
        witnesses: values compared, by witness.
        first: by witness, its divergence that comes first in the graph's order, of the first
            images that have any.
    """

    images: int = 0
    values: dict[str, int] = field(default_factory=dict)
    mismatches: dict[str, int] = field(default_factory=dict)
    witnesses: dict[str, int] = field(default_factory=dict)
    first: dict[str, Divergence] = field(default_factory=dict)

    def add(self, witness: str, tensor: str, values: int, mismatches: int) -> None:
        """Counts one tensor of one witness."""
        self.values[tensor] = self.values.get(tensor, 0) + values
        self.mismatches[tensor] = self.mismatches.get(tensor, 0) + mismatches
        self.witnesses[witness] = self.witnesses.get(witness, 0) + values

    def to_json(self, graph: IntegerGraph) -> dict[str, Any]:
        """The `verification` of `metrics.json`."""
        total = sum(self.mismatches.values())
        compared = sum(self.values.values())
        return {
            "status": "skipped" if not compared else "mismatch" if total else "exact",
            "images": self.images,
            "witnesses": ["integer", *self.witnesses],
            "values_compared": compared,
            "mismatches": total,
            "layers": [
                {
                    "name": name,
                    "values": self.values[name],
                    "mismatches": self.mismatches[name],
                }
                for name in graph.tensors
                if name in self.values
            ],
            "values_by_witness": dict(self.witnesses),
            "divergences": [divergence.to_json() for divergence in self.first.values()],
        }


def compare(
    tally: Tally,
    witness: str,
    graph: IntegerGraph,
    reference: Mapping[str, npt.NDArray[Any]],
    found: Mapping[str, npt.NDArray[Any]],
    equal: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    first_image: int = 0,
) -> None:
    """Compares the tensors of a witness with the integer graph's and adds them to the tally.

    A tensor of each is taken at a time, so that either mapping may read them from files.

    Args:
        tally: grows.
        witness: its name.
        graph: gives order, formats and shapes.
        reference: raw integers of the integer graph, shape `(N, H, W, C)`.
        found: raw values of the witness, the same number of values.
        equal: where they are equal, if that is not plain equality of `found` and `reference`.
        first_image: index of the first image.
    """
    for name in found:
        expected = reference[name]
        got = np.asarray(found[name]).reshape(expected.shape)
        same = got == expected if equal is None else equal[name].reshape(expected.shape)
        mismatches = int(np.size(same) - np.count_nonzero(same))
        tally.add(witness, name, got.size, mismatches)
        if mismatches and _is_earlier(tally.first.get(witness), name, first_image, graph):
            image, row, column, channel = (int(i) for i in np.argwhere(~same)[0])
            tally.first[witness] = Divergence(
                name,
                witness,
                first_image + image,
                (row, column),
                channel,
                int(expected[image, row, column, channel]),
                float(got[image, row, column, channel]),
                mismatches,
                got.size,
                probable_cause(graph, name, reference, got, same),
            )


def _is_earlier(
    before: Divergence | None, name: str, first_image: int, graph: IntegerGraph
) -> bool:
    """Whether a divergence is to be told instead of one that was found before."""
    if before is None:
        return True
    order = list(graph.tensors)
    return before.image >= first_image and order.index(name) < order.index(before.layer)


def probable_cause(
    graph: IntegerGraph,
    name: str,
    reference: Mapping[str, npt.NDArray[Any]],
    got: npt.NDArray[Any],
    same: npt.NDArray[np.bool_],
) -> str:
    """Why a layer may differ although what it read was equal.

    The layer is computed anew with one thing wrong at a time; what reproduces every wrong value is
    the cause.

    Args:
        graph: the integer graph.
        name: of the tensor.
        reference: its tensors.
        got: what the witness has, shape `(N, H, W, C)`.
        same: where it is right.
    """
    if not np.all(np.equal(np.mod(got, 1), 0)):
        return "missing quantizer: values between two representable ones"
    operation = graph.operation(name)
    wrong = got.astype(np.int64)
    image = int(np.argwhere(~same)[0][0])
    for cause, result in _variants(graph, operation, reference, slice(image, image + 1)):
        if np.array_equal(result, wrong[image : image + 1]):
            return cause
    channels = np.unique(np.argwhere(~same)[:, 3])
    if len(channels) <= max(1, got.shape[3] // 16):
        listed = ", ".join(map(str, channels[:4].tolist()))
        more = ", ..." if len(channels) > 4 else ""
        sources = "weights or bias" if _convolution(graph, operation) is not None else "wiring"
        return f"only channels {listed}{more} differ: a wrong {sources} of these channels"
    rows = np.argwhere(~same)
    height, width = got.shape[1:3]
    if min(height, width) > 2 and np.all(
        (rows[:, 1] == 0)
        | (rows[:, 1] == height - 1)
        | (rows[:, 2] == 0)
        | (rows[:, 2] == width - 1)
    ):
        return "only the border differs: wrong padding"
    tensor_format = graph.tensors[name].format
    if np.max(np.abs(wrong - reference[name])) == 1:
        return "off by one everywhere: wrong rounding"
    if wrong.min() < tensor_format.minimum or wrong.max() > tensor_format.maximum:
        return f"values beyond the range of {tensor_format}: wrong width or missing saturation"
    return "the layer's arithmetic: weights, order of channels or kernel"


def _convolution(graph: IntegerGraph, operation: Operation) -> Conv2D | None:
    """The convolution that a tensor comes from, directly or through its requantization."""
    if isinstance(operation, Conv2D):
        return operation
    if isinstance(operation, Requantize):
        return _convolution(graph, graph.operation(operation.inputs[0]))
    return None


def _variants(
    graph: IntegerGraph,
    operation: Operation,
    reference: Mapping[str, npt.NDArray[Any]],
    images: slice,
) -> Iterator[tuple[str, IntArray]]:
    """Results of an operation with one thing wrong, with the name of that thing."""
    if not isinstance(operation, Requantize):
        return
    source = operation.inputs[0]
    sums = reference[source][images].astype(np.int64)
    declared = operation.format

    def attempt(target: FixedPoint, values: IntArray = sums) -> IntArray:
        return replace(operation, format=target).evaluate(values)

    if operation.maximum is not None:
        cause = f"the maximum of {operation.maximum} is missing"
        yield cause, replace(operation, maximum=None).evaluate(sums)
    maker = graph.operation(source)
    if isinstance(maker, Conv2D) and maker.channel_shifts is not None:
        products = (sums - maker.biases) >> maker.channel_shifts
        yield "scales of the channels ignored", attempt(declared, products + maker.biases)
    for overflow in Overflow:
        if overflow is not declared.overflow:
            cause = f"overflow: {overflow.value} instead of {declared.overflow.value}"
            yield cause, attempt(replace(declared, overflow=overflow))
    for rounding in Rounding:
        if rounding is not declared.rounding:
            cause = f"rounding: {rounding.value} instead of {declared.rounding.value}"
            yield cause, attempt(replace(declared, rounding=rounding))
    for change in (*range(-declared.width + 1, 0), *range(1, 9)):
        width = declared.width + change
        if 1 <= width <= 64:
            cause = f"wrong width: {width} bits instead of {declared.width}"
            integer_bits = declared.integer_bits + change
            yield cause, attempt(replace(declared, width=width, integer_bits=integer_bits))
    for bits in (-3, -2, -1, 1, 2, 3):
        cause = f"wrong shift: {abs(bits)} bit(s) too {'far' if bits > 0 else 'little'}"
        shifted = replace(operation, fraction_bits=operation.fraction_bits + bits)
        yield cause, shifted.evaluate(sums)
    accumulator = graph.tensors[source].format
    for width in range(accumulator.width - 1, max(1, accumulator.width - 12), -1):
        narrow = FixedPoint(width, width, accumulator.signed, Rounding.TRN, Overflow.WRAP)
        cause = f"accumulator overflow: {width} bits instead of {accumulator.width}"
        yield cause, attempt(declared, narrow.overflowed(sums))
