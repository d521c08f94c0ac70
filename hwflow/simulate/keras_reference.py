"""The Keras witnesses: the QKeras model itself, and its evaluation in float64.

float32 holds every integer up to 2**24, so a QKeras layer is exact while its sums stay below that
in the unit of its products. `float32_exact` proves for which tensors that holds; the others are
compared with the same model evaluated in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import BLOCK
from hwflow.integer_graph import IntegerGraph
from hwflow.layers.base import pair
from hwflow.layers.elementwise import UNARY
from hwflow.layers.rectification import is_rectification
from hwflow.opset import (
    Add,
    Conv2D,
    Input,
    Requantize,
    Softmax,
    Tensor,
    TopKIndices,
    TopKValues,
    UpsampleBilinear2D,
)
from hwflow.quantize import qkeras
from hwflow.quantize.inference import stream

LARGEST_EXACT = 1 << 24
"""float32 represents every integer up to this one."""

FloatArray = npt.NDArray[Any]


def float32_exact(graph: IntegerGraph) -> frozenset[str]:
    """The tensors that float32 Keras provably computes without a rounding error.

    A convolution's bound counts every partial sum in any order: the sum of the products' magnitudes
    plus the bias. A division is exact enough while its relative error cannot carry a quotient over
    the middle between two results.
    """
    exact: set[str] = set()
    for operation in graph.operations:
        tensor = graph.tensors[operation.name]
        if any(source not in exact for source in operation.inputs):
            continue
        peak = max(abs(int(tensor.interval.low.min())), abs(int(tensor.interval.high.max())))
        if isinstance(operation, Conv2D):
            source = graph.tensors[operation.inputs[0]].interval
            reach = np.maximum(np.abs(source.low), np.abs(source.high))
            groups = operation.groups
            magnitudes = np.abs(operation.weights).sum(axis=(0, 1))  # (inputs, filters)
            filters = magnitudes.shape[1] // groups
            sums = [
                reach[g * len(magnitudes) : (g + 1) * len(magnitudes)]
                @ magnitudes[:, g * filters : (g + 1) * filters]
                for g in range(groups)
            ]
            products = np.concatenate(sums) << operation.shifts
            peak = int(np.max(products + np.abs(operation.biases)))
        elif isinstance(operation, UpsampleBilinear2D):
            # TensorFlow interpolates by fractions, of which only those of powers of two are exact
            peak = 2 * peak if tensor.divisor == 1 else LARGEST_EXACT + 1
        elif isinstance(operation, Add):  # Keras adds one after another: the parts of the sum count
            peak = sum(
                graph.tensors[source].interval.peak << shift
                for source, shift in zip(operation.inputs, operation.shifts, strict=True)
            )
        elif isinstance(operation, Requantize):
            source_tensor = graph.tensors[operation.inputs[0]]
            shift = max(0, operation.fraction_bits - operation.format.fraction_bits)
            denominator = operation.divisor << shift
            if operation.divisor > 1 and 4 * denominator * (peak + 1) > LARGEST_EXACT:
                continue
            interval = source_tensor.interval
            raw = max(abs(int(interval.low.min())), abs(int(interval.high.max())))
            peak = max(
                peak, raw << max(0, -operation.fraction_bits + operation.format.fraction_bits)
            )
        if peak <= LARGEST_EXACT:
            exact.add(operation.name)
    return frozenset(exact)


class KerasReference:
    """Runs the QKeras model and gives the tensors that the integer graph has too.

    Args:
        model: the QKeras model.
        graph: its integer graph; tensors bear the names of Keras layers.
        only: tensors of interest; by default all that the model has.
    """

    def __init__(self, model: Any, graph: IntegerGraph, only: Iterable[str] | None = None) -> None:
        import keras

        self.model = model
        self.graph = graph
        layers = {layer.name: layer for layer in model.layers}
        heads = {op.name: op.inputs[0] for op in graph.operations if op.is_head}
        known = [name for name in graph.tensors if name in layers or name in heads]
        self.names = known if only is None else [name for name in known if name in set(only)]
        read = {heads.get(name, name) for name in self.names}
        tapped = [name for name in graph.tensors if name in read]
        outputs = [layers[name].output for name in tapped]
        self._tapped = tapped
        self._taps = keras.Model(model.inputs, outputs)

    def evaluate(self, images: npt.NDArray[np.float32]) -> dict[str, FloatArray]:
        """float32 tensors by name, shape `(N, H, W, C)`.

        Args:
            images: preprocessed, shape `(N, H, W, C)`.
        """
        return dict(self.stream(images))

    def stream(self, images: npt.NDArray[np.float32]) -> Iterator[tuple[str, FloatArray]]:
        """Yields each of those tensors when it is computed; what is not in use any more is freed.

        Args:
            images: preprocessed, shape `(N, H, W, C)`.
        """
        for index, values in stream(self._taps, images):
            name = self._tapped[index]
            shaped = values.reshape(len(images), *self.graph.tensors[name].shape)
            if name in self.names:
                yield name, shaped
            for head, result in heads_of(self.graph, {name: shaped}).items():
                if head in self.names:
                    yield head, result


def heads_of(graph: IntegerGraph, tensors: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """What the heads of a graph make of Keras's logits, by TensorFlow itself where it has them.

    A softmax is evaluated as it is defined (`opset.Softmax`), from the real logits: exponentials
    anew, sums and quotients in whole numbers.

    Args:
        graph: with the heads.
        tensors: of Keras, shape `(N, H, W, C)`.
    """
    import tensorflow as tf

    found: dict[str, FloatArray] = {}
    for operation in graph.operations:
        if not operation.is_head or operation.inputs[0] not in tensors:
            continue
        (source,) = operation.inputs
        logits = np.asarray(tensors[source])
        if isinstance(operation, TopKIndices | TopKValues):
            best = tf.math.top_k(logits, operation.k)
            is_value = isinstance(operation, TopKValues)
            found[operation.name] = np.asarray(best.values if is_value else best.indices)
        elif isinstance(operation, Softmax):
            reals = logits.astype(np.float64)
            reals -= reals.max(axis=-1, keepdims=True)
            parts = np.rint(np.exp(reals) * float(operation.table[0])).astype(np.int64)
            one = 1 << operation.format.fraction_bits
            totals = parts.sum(axis=-1, keepdims=True)
            doubled = 2 * parts * one + totals  # half a unit more, to be rounded down
            rounded = doubled // (2 * totals)
            rounded -= (doubled % (2 * totals) == 0) & (rounded % 2 == 1)
            found[operation.name] = rounded / one
    return found


def matches(
    values: FloatArray, raw: npt.NDArray[np.integer[Any]], tensor: Tensor
) -> npt.NDArray[np.bool_]:
    """Where Keras's values are what the integers say: equality, no tolerance.

    Args:
        values: of Keras, float32 or float64.
        raw: integers of the same shape.
        tensor: what an integer is worth. A sum that is yet to be divided (average pooling) equals
            Keras's quotient as that float type rounds it.
    """
    given, integers = values.reshape(-1), raw.reshape(-1)
    result = np.empty(given.size, np.bool_)
    for start in range(0, given.size, BLOCK):
        part = slice(start, start + BLOCK)
        expected = tensor.format.to_float(integers[part])
        if tensor.divisor != 1:
            expected = expected.astype(values.dtype) / values.dtype.type(tensor.divisor)
        result[part] = given[part] == expected
    return result.reshape(raw.shape)


def to_raw(values: FloatArray, tensor: Tensor) -> npt.NDArray[np.float64]:
    """Keras's values in the unit of a tensor: whole numbers unless a quantizer is missing."""
    return np.asarray(values, np.float64) * 2.0**tensor.format.fraction_bits * tensor.divisor


def evaluate_float64(
    model: Any,
    graph: IntegerGraph,
    images: npt.NDArray[np.float32],
    keep: Callable[[str], bool] = lambda name: True,
) -> dict[str, npt.NDArray[np.float64]]:
    """The tensors of `stream_float64`, which takes the same, by name.

    Raises:
        DesignError: for a layer that it does not know.
    """
    return dict(stream_float64(model, graph, images, keep))


def stream_float64(
    model: Any,
    graph: IntegerGraph,
    images: npt.NDArray[np.float32],
    keep: Callable[[str], bool] = lambda name: True,
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """The QKeras model evaluated in float64, layer by layer: exact up to 2**53.

    Weights come from the layers' own quantizers; tensors are quantized in NumPy. A tensor is freed
    once it has been read for the last time.

    Args:
        model: the QKeras model.
        graph: tells which tensors are of interest, and their shapes.
        images: preprocessed, shape `(N, H, W, C)`.
        keep: which of them to yield.

    Yields:
        A tensor's name and its values, shape `(N, H, W, C)`.

    Raises:
        DesignError: for a layer that it does not know.
    """
    values: dict[str, npt.NDArray[np.float64]] = {}
    last_use = {name: layer.name for layer in model.layers for name in _sources(layer)}
    for layer in model.layers:
        names = _sources(layer)
        result = _of_layer(layer, [values[name] for name in names], graph, images)
        values[layer.name] = result
        for name in {*names, layer.name}:
            if last_use.get(name, layer.name) == layer.name:
                del values[name]
        if layer.name not in graph.tensors:
            continue
        shaped = {layer.name: result.reshape(len(images), *graph.tensors[layer.name].shape)}
        for name, array in (shaped | heads_of(graph, shaped)).items():
            if keep(name):
                yield name, array


def _of_layer(
    layer: Any, inputs: list[Any], graph: IntegerGraph, images: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    kind = type(layer).__name__
    if kind == "InputLayer":
        return np.asarray(images, np.float64)
    evaluate = _EVALUATORS.get(kind)
    if kind in _TABULATED and layer.name not in graph.tensors and not _rectifies(layer):
        evaluate = _function
    if evaluate is None:
        raise DesignError(f"layer {layer.name!r} ({kind}) cannot be evaluated in float64")
    return np.asarray(evaluate(layer, inputs), np.float64)


def _sources(layer: Any) -> list[str]:
    """Names of the layers that a layer reads."""
    sources = layer.inbound_nodes[0].inbound_layers
    return [s.name for s in (sources if isinstance(sources, list | tuple) else [sources])]


def _weights(layer: Any, role: str) -> npt.NDArray[np.float64]:
    owner = role.replace("_kernel", "")
    return qkeras.raw_weights(
        getattr(layer, role), getattr(layer, f"{owner}_quantizer_internal"), layer.name
    ).to_float()


def _activated(layer: Any, sums: Any) -> npt.NDArray[np.float64]:
    result = np.asarray(sums, np.float64)
    if layer.use_bias:
        result = result + _weights(layer, "bias")
    activation = layer.activation
    if activation is not None and getattr(activation, "__name__", "") != "linear":
        target = qkeras.format_of(activation, layer.name)
        result = target.to_float(target.quantize(result))
    return result


def _convolution(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    import tensorflow as tf

    strides = pair(layer.strides)
    sums = tf.nn.conv2d(
        tf.constant(inputs[0]),
        _weights(layer, "kernel"),
        strides,
        layer.padding.upper(),
        dilations=layer.dilation_rate,
    )
    return _activated(layer, sums)


def _depthwise(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    import tensorflow as tf

    strides = pair(layer.strides)
    sums = tf.nn.depthwise_conv2d(
        tf.constant(inputs[0]),
        _weights(layer, "depthwise_kernel"),
        (1, *strides, 1),
        layer.padding.upper(),
        dilations=layer.dilation_rate,
    )
    return _activated(layer, sums)


def _dense(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    return _activated(layer, inputs[0] @ _weights(layer, "kernel"))


def _quantizer(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    if isinstance(layer.quantizer, FunctionType) or qkeras.computes(layer.quantizer):
        return _function(layer, inputs)
    target = qkeras.format_of(layer.quantizer, layer.name)
    return target.to_float(target.quantize(inputs[0]))


def _keras_layer(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    """Layers that only move, compare, add or average: the same class in float64."""
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    return np.asarray(copy(inputs[0] if len(inputs) == 1 else inputs), np.float64)


def _upsampling(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    """Nearest or bilinear, in whole weights that are divided once."""
    (values,) = inputs
    divisor = 1
    for axis in (1, 2):
        size, made = values.shape[axis], int(layer.output_shape[axis])
        factor = made // size
        if layer.get_config()["interpolation"] == "nearest":
            values = values.take(np.arange(made) // factor, axis)
            continue
        places = 2 * np.arange(made) + 1 - factor  # in parts of two factors
        row = np.floor_divide(places, 2 * factor)
        weights = (places - 2 * factor * row).reshape((-1,) + (1,) * (3 - axis))
        above = values.take(np.maximum(row, 0), axis)
        below = values.take(np.minimum(row + 1, size - 1), axis)
        values = above * (2 * factor - weights) + below * weights
        divisor *= 2 * factor
    return np.asarray(values, np.float64) / divisor


def _function(layer: Any, inputs: list[Any]) -> npt.NDArray[np.float64]:
    """A part of a function of quantized values: what the tables hold is Keras's float32 result."""
    values = [np.asarray(value, np.float32) for value in inputs]
    return np.asarray(layer(values[0] if len(values) == 1 else values), np.float64)


def _rectifies(layer: Any) -> bool:
    if type(layer).__name__ == "ReLU":
        return is_rectification(layer.get_config())
    return getattr(getattr(layer, "activation", None), "__name__", "") in (
        "relu",
        "relu6",
        "linear",
    )


_TABULATED = (*UNARY, "Add", "Multiply")
"""Layers that make up functions, which tables hold: those that are no tensors of the graph."""

_EVALUATORS: Mapping[str, Any] = {
    "QConv2D": _convolution,
    "QDepthwiseConv2D": _depthwise,
    "QDense": _dense,
    "QActivation": _quantizer,
    **dict.fromkeys(("UpSampling2D", "Resizing"), _upsampling),
    **dict.fromkeys(
        (
            "MaxPooling2D",
            "AveragePooling2D",
            "GlobalAveragePooling2D",
            "Add",
            "Concatenate",
            "ZeroPadding2D",
            "Flatten",
            "Reshape",
            "Permute",
            "Cropping2D",
            "Cropping3D",
            "ReLU",
            "Multiply",
            "Activation",
        ),
        _keras_layer,
    ),
}


def inputs_of(graph: IntegerGraph) -> tuple[Input, ...]:
    """The input operations of a graph."""
    return tuple(op for op in graph.operations if isinstance(op, Input))
