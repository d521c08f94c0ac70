"""From a QKeras model to the integer graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.integer_graph import IntegerGraph, infer
from hwflow.layers import kinds, quantized_kind
from hwflow.layers.activation import quantized_input
from hwflow.layers.base import Expression, RawWeights, Rectification
from hwflow.layers.rectification import rectified
from hwflow.layers.reshaping import not_channels
from hwflow.opset import Frame2D, Operation, Padding, Tensor
from hwflow.quantize import qkeras
from hwflow.quantize.float_graph import output_layers


def lower(model: Any, name: str) -> IntegerGraph:
    """The integer graph of a QKeras model; its tensors bear the names of the Keras layers.

    Args:
        model: functional QKeras model with one input, which a QActivation reads.
        name: of the graph.

    Raises:
        DesignError: naming every layer that has no integer equivalent and every tensor that is
            not quantized.
    """
    context = _Context()
    made: dict[str, str] = {}
    faults: list[Fault] = []
    for layer in model.layers:
        class_name = type(layer).__name__
        if class_name == "InputLayer":
            continue
        sources = sources_of(layer)
        if any(source not in made and not _is_input(model, source) for source in sources):
            continue  # what feeds it was refused: one fault is enough
        try:
            made[layer.name] = _lowered(model, layer, [made.get(s) for s in sources], context)
        except DesignError as error:
            faults += error.faults
    if faults:
        raise DesignError(faults)
    outputs = [made[output] for output in output_layers(model)]
    for output in outputs:
        tensor = context.tensor(output)
        if tensor.divisor != 1:
            raise DesignError(f"output {output!r} of average pooling is not quantized")
    return IntegerGraph.build(name, context.operations, outputs)


def _lowered(model: Any, layer: Any, sources: list[str | None], context: _Context) -> str:
    class_name = type(layer).__name__
    kind = quantized_kind(class_name)
    if kind is None:
        known = sorted({name for kind in kinds() for name in kind.quantized_classes})
        raise DesignError(
            Fault(
                "",
                f"layer {layer.name!r} ({class_name})",
                f"has no integer equivalent; supported are {', '.join(known)}",
            )
        )
    if None in sources:
        if class_name != "QActivation":
            raise DesignError(f"layer {layer.name!r} reads the input, which is not quantized")
        return quantized_input(layer, context)
    return kind.lower(layer, [source for source in sources if source is not None], context)


def sources_of(layer: Any) -> list[str]:
    """Names of the layers that a layer reads."""
    (node,) = layer.inbound_nodes[:1]
    layers = node.inbound_layers
    return [s.name for s in (layers if isinstance(layers, list | tuple) else [layers])]


def _is_input(model: Any, name: str) -> bool:
    return type(model.get_layer(name)).__name__ == "InputLayer"


class _Context:
    """Collects the operations, and the tensors that they make."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.tensors: dict[str, Tensor] = {}
        self.padded: dict[str, tuple[str, Padding]] = {}
        self.rectified: dict[str, tuple[str, Rectification]] = {}
        self.expressions: dict[str, Expression] = {}
        self.arranged: dict[str, tuple[str, IntArray]] = {}

    def add(self, operation: Operation) -> str:
        self.tensors[operation.name] = infer(operation, self.tensors)
        self.operations.append(operation)
        return operation.name

    def tensor(self, name: str) -> Tensor:
        if name in self.padded and name not in self.tensors:  # what reads it has no windows
            source, padding = self.padded[name]
            self.tensor(source)
            self.add(Frame2D(name, (source,), padding))
        if name in self.arranged:
            raise not_channels(name)
        if name in self.expressions:
            raise DesignError(f"layer {name!r}: only a quantizer can read it: add a QActivation")
        if name in self.rectified and name not in self.tensors:
            source, rectification = self.rectified[name]
            self.add(rectified(name, source, self.tensor(source), rectification))
        return self.tensors[name]

    def format_of(self, quantizer: Any, what: str) -> FixedPoint:
        return qkeras.format_of(quantizer, what)

    def computes(self, quantizer: Any) -> bool:
        return qkeras.computes(quantizer)

    def raw_weights(self, layer: Any, role: str) -> RawWeights:
        owner = role.replace("_kernel", "")
        quantizer = getattr(layer, f"{owner}_quantizer_internal", None)
        what = f"the {role} of layer {layer.name!r}"
        return qkeras.raw_weights(getattr(layer, role), quantizer, what)

    def take_padding(self, name: str) -> tuple[str, Padding]:
        return self.padded.get(name, (name, (0, 0, 0, 0)))

    def take_rectification(self, name: str) -> tuple[str, Rectification | None]:
        return self.rectified.get(name, (name, None))

    def rectify(self, layer: str, source: str, rectification: Rectification) -> str:
        self.rectified[layer] = (source, rectification)
        return layer

    def expression(self, name: str) -> Expression | None:
        return self.expressions.get(name)

    def as_expression(self, name: str) -> Expression:
        if name in self.expressions:
            return self.expressions[name]
        source, rectification = self.take_rectification(name)
        if rectification is None:
            return Expression(name, lambda values: values)
        return Expression(source, rectification.evaluate)

    def express(self, layer: str, expression: Expression) -> str:
        self.expressions[layer] = expression
        return layer

    def arrangement(self, name: str) -> tuple[str, IntArray]:
        if name in self.arranged:
            return self.arranged[name]
        return name, np.arange(np.prod(self.tensor(name).shape))

    def arrange(self, layer: str, source: str, places: IntArray) -> str:
        self.arranged[layer] = (source, places)
        return layer

    def pad(self, layer: str, source: str, padding: Padding) -> str:
        self.padded[layer] = (source, padding)
        return layer
