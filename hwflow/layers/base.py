"""What a layer kind is, and what it is given to do its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.opset import Operation, Padding, Tensor


@dataclass(frozen=True)
class FloatNode:
    """One layer of the float network, after flattening and folding.

    Attributes:
        name: of the layer; unique.
        kind: Keras class name.
        inputs: names of the nodes that it reads.
        config: the Keras layer's configuration.
        weights: float arrays by their role (`kernel`, `bias`), batch norm already folded in.
        shape: of the output, without the batch: `(H, W, C)` or `(C,)`.
        source: the Keras layer of the original model whose output this node's output equals.
        input_shapes: of what it reads, each like `shape`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any]
    weights: Mapping[str, npt.NDArray[np.float64]]
    shape: tuple[int, ...]
    source: str
    input_shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Rectification:
    """A ReLU that has no format of its own: `min(max(x, 0), maximum)`.

    Attributes:
        maximum: real value, or nothing.
    """

    maximum: float | None = None

    def limit(self, target: FixedPoint) -> int | None:
        """The greatest raw integer it leaves in a format, if that is below the format's own."""
        if self.maximum is None:
            return None
        greatest = int(target.quantize(self.maximum))
        return greatest if greatest < target.maximum else None

    def evaluate(self, values: Any) -> Any:
        """The ReLU of float values of any shape."""
        import tensorflow as tf

        high = float("inf") if self.maximum is None else self.maximum
        return tf.clip_by_value(values, 0.0, high)


@dataclass(frozen=True)
class Expression:
    """A function of a single quantized tensor, element by element.

    Attributes:
        source: the tensor.
        evaluate: the layers' own function, from values of any shape to as many.
    """

    source: str
    evaluate: Callable[[Any], Any]


@dataclass(frozen=True)
class RawWeights:
    """Quantized weights: each is worth `values * 2**shifts` units of the format.

    Attributes:
        values: raw integers.
        format: of the values where the shift is 0.
        shifts: shape of `values`, 0 or more and 0 somewhere; or nothing, if all are 0.
    """

    values: IntArray
    format: FixedPoint
    shifts: IntArray | None = None

    @property
    def aligned(self) -> IntArray:
        """The raw integers in the unit of the format."""
        return self.values if self.shifts is None else self.values << self.shifts

    def to_float(self) -> npt.NDArray[np.float64]:
        """The real values."""
        return self.format.to_float(self.aligned)

    def reshaped(self, *shape: int) -> RawWeights:
        """The same in another shape."""
        shifts = None if self.shifts is None else self.shifts.reshape(shape)
        return RawWeights(self.values.reshape(shape), self.format, shifts)


class QuantizedBuilder(Protocol):
    """Hands a layer kind what it needs to add itself to the QKeras model."""

    def weight_quantizers(self, node: FloatNode) -> tuple[Any, Any]:
        """The QKeras quantizers of the kernel and the bias."""

    def stored_weights(self, node: FloatNode) -> list[npt.NDArray[np.float64]]:
        """Kernel and bias, already quantized, as the QKeras layer is to store them."""

    def activation_quantizer(self, name: str) -> Any:
        """The QKeras quantizer of a tensor that has a declared format."""

    def activation_format(self, name: str) -> FixedPoint:
        """The declared format of a tensor."""


class LoweringContext(Protocol):
    """Hands a layer kind what it needs to add its operations to the integer graph."""

    def add(self, operation: Operation) -> str:
        """Appends an operation; returns its name."""

    def tensor(self, name: str) -> Tensor:
        """What is known of the tensor that an operation made."""

    def format_of(self, quantizer: Any, what: str) -> FixedPoint:
        """The exact format of a QKeras quantizer; DesignError naming `what` if it has none."""

    def computes(self, quantizer: Any) -> bool:
        """Whether a QKeras quantizer does more than round: a table holds its results."""

    def raw_weights(self, layer: Any, role: str) -> RawWeights:
        """A layer's quantized kernel or bias."""

    def take_padding(self, name: str) -> tuple[str, Padding]:
        """The tensor below a ZeroPadding2D layer and its padding (zeros if there is none)."""

    def pad(self, layer: str, source: str, padding: Padding) -> str:
        """Announces a ZeroPadding2D layer, which its consumers absorb."""

    def take_rectification(self, name: str) -> tuple[str, Rectification | None]:
        """The tensor below a ReLU layer, and what that does to it (nothing if it is none)."""

    def rectify(self, layer: str, source: str, rectification: Rectification) -> str:
        """Announces a ReLU layer, which quantizers that read it absorb."""

    def expression(self, name: str) -> Expression | None:
        """What a layer computes of a single tensor, if it is no tensor of the graph itself."""

    def as_expression(self, name: str) -> Expression:
        """The same for any layer; a tensor of the graph is its own expression."""

    def arrangement(self, name: str) -> tuple[str, IntArray]:
        """The tensor whose values a layer has moved, and the place there of each, in flat order."""

    def arrange(self, layer: str, source: str, places: IntArray) -> str:
        """Announces a layer that moves a tensor's values, for further such layers to read."""

    def express(self, layer: str, expression: Expression) -> str:
        """Announces a layer that quantizers tabulate."""


@dataclass(frozen=True)
class LayerKind:
    """How the layers of one kind become QKeras layers, and those become integer operations.

    Attributes:
        name: of the kind.
        float_classes: Keras classes that `quantize` takes.
        quantized_classes: Keras and QKeras classes that `lower` takes.
        computes: whether its output has more bits than its input, so that it must be quantized;
            or what tells it of a float node.
        is_activation: whether a format is declared for its output.
        reads_quantized: whether it can read nothing but tensors that have a declared format.
        weights: roles of its weights, in the order in which Keras stores them.
        parsed_by_hls4ml: whether hls4ml's own parser understands its quantized layers in full; of
            others it is told their place and their shape alone.
        channel_axes: how many of the kernel's last axes count its output channels.
        check: returns what about a float node cannot be built, or nothing.
        quantize: adds the layer to the QKeras model: (node, input tensors, builder) -> tensor.
        lower: adds the operations of a QKeras layer: (layer, input names, context) -> name.
    """

    name: str
    float_classes: tuple[str, ...]
    quantized_classes: tuple[str, ...]
    quantize: Callable[[FloatNode, Sequence[Any], QuantizedBuilder], Any]
    lower: Callable[[Any, Sequence[str], LoweringContext], str]
    computes: bool | Callable[[FloatNode], bool] = False
    is_activation: bool = False
    reads_quantized: bool = False
    weights: tuple[str, ...] = ()
    parsed_by_hls4ml: bool = True
    channel_axes: int = 1
    check: Callable[[FloatNode], str | None] = field(default=lambda node: None)

    def computes_in(self, node: FloatNode) -> bool:
        """Whether the output of a node of this kind has more bits than its input."""
        return self.computes(node) if callable(self.computes) else self.computes


def pair(value: Any) -> tuple[int, int]:
    """A Keras size given as one number or two, as two."""
    if isinstance(value, int):
        return (value, value)
    first, second = value
    return (int(first), int(second))


def pooling(kind: Any, node: FloatNode, tensor: Any) -> Any:
    """A tensor through a pooling layer of Keras with a node's window.

    Args:
        kind: the layer's class, `MaxPooling2D` or `AveragePooling2D`.
        node: whose settings and name it gets.
        tensor: what it pools.
    """
    layer = kind(
        pair(node.config["pool_size"]),
        strides=pair(node.config["strides"]),
        padding=node.config["padding"],
        name=node.name,
    )
    return layer(tensor)


def same_padding(
    size: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]
) -> Padding:
    """What `padding='same'` adds: the larger half below and to the right (as TensorFlow does)."""
    amounts = []
    for length, extent, stride in zip(size, window, strides, strict=True):
        outputs = -(-length // stride)
        total = max((outputs - 1) * stride + extent - length, 0)
        amounts += [total // 2, total - total // 2]
    top, bottom, left, right = amounts
    return (top, bottom, left, right)


def layer_padding(
    layer: Any, size: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]
) -> Padding:
    """The padding of a Keras layer; none where it has no `padding` argument.

    Args:
        layer: of Keras.
        size: of its input.
        window: rows and columns over which its window reaches.
        strides: rows, columns.

    Raises:
        DesignError: for a padding other than valid and same.
    """
    padding = getattr(layer, "padding", "valid")
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        return same_padding(size, window, strides)
    raise DesignError(f"layer {layer.name!r}: padding must be valid or same, not {padding!r}")


def added_padding(first: Padding, second: Padding) -> Padding:
    """Two paddings, one around the other."""
    top, bottom, left, right = (a + b for a, b in zip(first, second, strict=True))
    return (top, bottom, left, right)
