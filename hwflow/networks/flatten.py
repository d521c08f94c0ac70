"""A user's model as a flat one: nothing but layers of Keras or QKeras, each called once.

Models used as layers are opened, a layer that is called several times becomes as many layers with
the same weights, and functions of TensorFlow and composed layers become the layers they stand for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.layers.copies import clone, config_of
from hwflow.networks import operators


def flattened(model: Any) -> Any:
    """The same network, of layers that are each called once; flat models are returned as they are.

    A layer keeps its name where no other has it; else that of the model that it is in goes before
    it. The second call of a layer is `<name>_2`. What stands for a function of TensorFlow is named
    as Keras names that, with underscores for what C++ does not take: `tf_nn_relu_1`.

    Args:
        model: functional Keras or QKeras model.

    Raises:
        DesignError: naming every layer whose call has no such equivalent, and why.
    """
    if _is_flat(model):
        return model
    return _Flattener(model).build()


def leaves(model: Any) -> Iterator[Any]:
    """Every layer of a model that is no model, those within models too; each once."""
    seen = set()
    for layer in model.layers:
        for leaf in leaves(layer) if _is_model(layer) else (layer,):
            if id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf


def models_within(model: Any) -> frozenset[str]:
    """The names of the models that are layers of a model, at any depth."""
    found = [layer for layer in model.layers if _is_model(layer)]
    return frozenset(layer.name for layer in found).union(*(models_within(m) for m in found))


def _is_model(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model)


def _nodes(model: Any) -> list[Any]:
    """The calls of layers that make up a model, in the order of execution."""
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _is_flat(model: Any) -> bool:
    nodes = _nodes(model)
    return len(nodes) == len({id(node.layer) for node in nodes}) and not any(
        _is_model(node.layer)
        or type(node.layer).__name__ in operators.CLASSES
        or (not node.is_input and _is_composed(node.layer, node.call_args[0]))
        for node in nodes
    )


def _is_composed(layer: Any, tensors: Any) -> bool:
    """Whether several layers stand for one that reads these tensors."""
    class_name = type(layer).__name__
    if class_name == "Multiply":
        return len(tensors) > 2
    if class_name in ("Dense", "QDense"):
        return len(tensors.shape) > 2
    return class_name in COMPOSITIONS


class _Flattener:
    """Calls every layer of a model anew, one copy a call."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.reserved = {_word(layer.name) for layer in model.layers if not _is_model(layer)}
        self.taken: set[str] = set()
        self.names: dict[int, str] = {}  # of each layer's first call, by its identity
        self.faults: list[Fault] = []

    def build(self) -> Any:
        import keras

        inputs = []
        for tensor in self.model.inputs:
            name = tensor.node.layer.name
            self.taken.add(_word(name))
            inputs.append(keras.Input(tuple(tensor.shape[1:]), name=name))
        outputs = self.replay(self.model, inputs, ())
        if self.faults:
            raise DesignError(self.faults)
        return keras.Model(inputs, outputs, name=self.model.name)

    def replay(self, model: Any, inputs: list[Any], path: tuple[str, ...]) -> list[Any]:
        """Calls the layers of a model on tensors.

        Args:
            model: the whole, or one within it.
            inputs: its inputs.
            path: names of the models that it is in, and its own.

        Returns:
            Its outputs; none after a fault.
        """
        import tensorflow as tf

        tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        for node in _nodes(model):
            if node.is_input or any(id(source) not in tensors for source in node.keras_inputs):
                continue
            args, kwargs = _replaced((node.call_args, node.call_kwargs), tensors)
            if _is_model(node.layer):
                results = self.replay(node.layer, tf.nest.flatten(args), (*path, node.layer.name))
            else:
                results = self.call(node, args, kwargs, path)
            outputs = tf.nest.flatten(node.outputs)
            if len(results) == len(outputs):
                tensors |= {id(old): new for old, new in zip(outputs, results, strict=True)}
        return [tensors[id(output)] for output in model.outputs if id(output) in tensors]

    def call(
        self, node: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: tuple[str, ...]
    ) -> list[Any]:
        """The tensors of one call; none after a fault."""
        import tensorflow as tf

        layer = node.layer
        class_name = type(layer).__name__
        try:
            if class_name in operators.CLASSES:
                function = str(layer.get_config()["function"])
                call = operators.FunctionCall(
                    self.name(layer, _word(layer.name), path),
                    _arguments(layer, args, kwargs),
                    tuple(tf.nest.flatten(node.outputs)[0].shape[1:]),
                )
                return list(tf.nest.flatten(operators.translated(function, call)))
            name = self.name(layer, layer.name, path)
            if len(args) != 1:
                raise operators.UntranslatableError("must be called on its inputs alone")
            if _is_composed(layer, args[0]):
                return [COMPOSITIONS[class_name](layer, name, args[0])]
            return [clone(layer, name, args[0])]
        except operators.UntranslatableError as error:
            where = ", ".join((*path, layer.name))
            self.faults.append(Fault("", f"layer {where!r} ({class_name})", str(error)))
            return []

    def name(self, layer: Any, wanted: str, path: tuple[str, ...]) -> str:
        """A name for a call of a layer that no other call has."""
        first = self.names.get(id(layer))
        if first is None:
            candidates = ["_".join((*path[start:], wanted)) for start in range(len(path), -1, -1)]
            candidates += _numbered(candidates[-1], 2, len(self.taken))
        else:
            candidates = _numbered(first, 2, len(self.taken))
        for candidate in candidates:
            word = _word(candidate)
            is_own = not path and word == _word(layer.name)
            if word not in self.taken and (is_own or word not in self.reserved):
                self.taken.add(word)
                self.names.setdefault(id(layer), candidate)
                return candidate
        raise AssertionError(wanted)  # there are more candidates than names


def _numbered(name: str, first: int, others: int) -> list[str]:
    return [f"{name}_{number}" for number in range(first, first + others + 2)]


def _replaced(arguments: Any, tensors: Mapping[int, Any]) -> Any:
    """Arguments of a call, with other tensors."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda value: tensors.get(id(value), value), arguments)


def _word(name: str) -> str:
    """A layer's name with nothing but what C++ takes."""
    return re.sub(r"_+", "_", re.sub(r"\W+", "_", name)).strip("_")


def _arguments(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[Any, Any]:
    """Arguments of a function by its parameters' names; of a slice in their order."""
    if type(layer).__name__ == "SlicingOpLambda":
        return dict(enumerate((*args, *kwargs.values())))
    bound = inspect.signature(layer.function).bind(*args, **kwargs)
    return dict(bound.arguments)


# --- layers that are several ---------------------------------------------------------------------


def _pixelwise(layer: Any, name: str, tensor: Any) -> Any:
    """A dense layer on a feature map: a 1x1 convolution."""
    import keras
    import qkeras

    if len(tensor.shape) != 4:
        raise operators.UntranslatableError(
            f"must read a vector or a feature map, not {tuple(tensor.shape[1:])}"
        )
    config = config_of(layer)
    taken = ("units", "kernel_regularizer", "kernel_constraint", "kernel_range", "bias_range")
    kept = {key: value for key, value in config.items() if key not in taken}
    is_quantized = type(layer).__name__ == "QDense"
    convolution = qkeras.QConv2D if is_quantized else keras.layers.Conv2D
    made = convolution.from_config(
        {**kept, "name": name, "filters": config["units"], "kernel_size": 1}
    )
    result = made(tensor)
    kernel, *bias = layer.get_weights()
    made.set_weights([kernel[np.newaxis, np.newaxis], *bias])
    return result


def _separable(layer: Any, name: str, tensor: Any) -> Any:
    """A depthwise convolution, then a 1x1 convolution."""
    from keras.layers import Conv2D, DepthwiseConv2D

    depthwise_kernel, pointwise_kernel, *bias = layer.get_weights()
    depthwise = DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        depth_multiplier=layer.depth_multiplier,
        use_bias=False,
        name=f"{name}_depthwise",
    )
    pointwise = Conv2D(
        layer.filters, 1, use_bias=layer.use_bias, activation=layer.activation, name=name
    )
    result = pointwise(depthwise(tensor))
    depthwise.set_weights([depthwise_kernel])
    pointwise.set_weights([pointwise_kernel, *bias])
    return result


def _global_maximum(layer: Any, name: str, tensor: Any) -> Any:
    from keras.layers import MaxPooling2D, Reshape

    _, height, width, channels = tensor.shape
    pooled = MaxPooling2D((height, width), name=name if layer.keepdims else f"{name}_pool")(tensor)
    return pooled if layer.keepdims else Reshape((channels,), name=name)(pooled)


def _parametric_relu(layer: Any, name: str, tensor: Any) -> Any:
    from keras.layers import LeakyReLU

    slopes = np.unique(layer.get_weights()[0])
    if slopes.size != 1:
        raise operators.UntranslatableError(
            f"must have one slope for all values, not {slopes.size}: only functions of one value "
            "become tables"
        )
    return LeakyReLU(float(slopes[0]), name=name)(tensor)


def _difference(layer: Any, name: str, tensors: list[Any]) -> Any:
    from keras.layers import Add, Rescaling

    left, right = tensors
    return Add(name=name)([left, Rescaling(-1.0, name=f"{name}_negative")(right)])


def _average(layer: Any, name: str, tensors: list[Any]) -> Any:
    from keras.layers import Add, Rescaling

    return Rescaling(1.0 / len(tensors), name=name)(Add(name=f"{name}_sum")(tensors))


def _product(layer: Any, name: str, tensors: list[Any]) -> Any:
    """Three factors and more multiplied two at a time, from the first on."""
    from keras.layers import Multiply

    total, *others = tensors
    for index, tensor in enumerate(others, 1):
        part = name if index == len(others) else f"{name}_part{index}"
        total = Multiply(name=part)([total, tensor])
    return total


def _normalization(layer: Any, name: str, tensor: Any) -> Any:
    """A batch norm with the layer's statistics; deviations are at least Keras's epsilon."""
    from keras import backend
    from keras.layers import BatchNormalization

    mean, variance = (np.asarray(values, np.float64) for values in (layer.mean, layer.variance))
    if mean.size not in (1, mean.shape[-1]):
        raise operators.UntranslatableError(
            f"must normalise channels, axis -1, or all values alike, not axis {layer.axis}"
        )
    deviation = np.maximum(np.sqrt(variance), backend.epsilon())
    if layer.invert:  # times the deviation, plus the mean
        mean, deviation = -mean / deviation, 1 / deviation
    norm = BatchNormalization(center=False, scale=False, epsilon=0.0, name=name)
    result = norm(tensor)
    channels = (tensor.shape[-1],)
    norm.set_weights([np.broadcast_to(v.ravel(), channels) for v in (mean, deviation**2)])
    return result


COMPOSITIONS: Mapping[str, Callable[[Any, str, Any], Any]] = {
    "Average": _average,
    "Dense": _pixelwise,
    "GlobalMaxPooling2D": _global_maximum,
    "Multiply": _product,
    "Normalization": _normalization,
    "PReLU": _parametric_relu,
    "QDense": _pixelwise,
    "SeparableConv2D": _separable,
    "Subtract": _difference,
}
"""How layers are made of others, by their class."""
