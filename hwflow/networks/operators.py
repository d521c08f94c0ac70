"""TensorFlow functions that a model calls on tensors (`tf.nn.relu(x)`, `x + y`) as Keras layers.

Keras keeps each such call as a `TFOpLambda` layer that names the function. Those below stand for
layers that exist; nothing else is run, for a file may name any function of TensorFlow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwflow.networks.blocks import channel_slice

CLASSES = ("TFOpLambda", "SlicingOpLambda")
"""Keras's layers for calls of functions, and for slices."""


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function in a model.

    Attributes:
        name: for the layer that takes its place.
        arguments: values by parameter name, in the function's own order; tensors among them.
        shape: of the result, without the batch.
    """

    name: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]

    def operands(self, count: int) -> list[Any]:
        """The first arguments."""
        return list(self.arguments.values())[:count]

    @property
    def operand(self) -> Any:
        """The first argument."""
        return self.operands(1)[0]

    def part(self, name: str) -> str:
        """Name of a layer that is one of several in the call's place."""
        return f"{self.name}_{name}"


class UntranslatableError(ValueError):
    """The call has no layers that stand for it; says what must hold."""


Translation = Callable[[FunctionCall], Any]


def translated(function: str, call: FunctionCall) -> Any:
    """The tensor that layers in the place of a call make, or all of them in order.

    Args:
        function: as Keras names it, `nn.relu`.
        call: its arguments.

    Raises:
        UntranslatableError: if the function, or its arguments, stand for no layer.
    """
    if function not in FUNCTIONS:
        raise UntranslatableError(f"the function tf.{function} is not supported. {ADVICE}")
    return FUNCTIONS[function](call)


ADVICE = "Use layers of Keras instead"


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "_keras_history")


def _number(value: Any) -> float:
    """A constant operand."""
    numbers = np.asarray(value, np.float64)
    if numbers.size != 1:
        raise UntranslatableError(
            f"only a single number can be joined with a tensor, not one of shape {numbers.shape}"
        )
    return float(numbers.ravel()[0])


def _activation(name: str) -> Translation:
    def translate(call: FunctionCall) -> Any:
        from keras.layers import Activation

        return Activation(name, name=call.name)(call.operand)

    return translate


def _relu(maximum: float | None) -> Translation:
    def translate(call: FunctionCall) -> Any:
        from keras.layers import ReLU

        return ReLU(maximum, name=call.name)(call.operand)

    return translate


def _leaky_relu(call: FunctionCall) -> Any:
    from keras.layers import LeakyReLU

    slope = _number(call.arguments.get("alpha", 0.2))
    return LeakyReLU(slope, name=call.name)(call.operand)


def _gelu(call: FunctionCall) -> Any:
    if call.arguments.get("approximate"):
        raise UntranslatableError("gelu must not be approximate")
    return _activation("gelu")(call)


def _softmax(call: FunctionCall) -> Any:
    from keras.layers import Softmax

    axis = call.arguments.get("axis")
    return Softmax(-1 if axis is None else int(axis), name=call.name)(call.operand)


def _scaled(tensor: Any, scale: float, offset: float, name: str) -> Any:
    from keras.layers import Rescaling

    return Rescaling(scale, offset, name=name)(tensor)


def _joined(layer: str, tensors: list[Any], name: str) -> Any:
    import keras

    return getattr(keras.layers, layer)(name=name)(tensors)


def _add(call: FunctionCall) -> Any:
    left, right = call.operands(2)
    if _is_tensor(left) and _is_tensor(right):
        return _joined("Add", [left, right], call.name)
    tensor, constant = (left, right) if _is_tensor(left) else (right, left)
    return _scaled(tensor, 1.0, _number(constant), call.name)


def _subtract(call: FunctionCall) -> Any:
    left, right = call.operands(2)
    if not _is_tensor(right):
        return _scaled(left, 1.0, -_number(right), call.name)
    if not _is_tensor(left):
        return _scaled(right, -1.0, _number(left), call.name)
    return _joined("Add", [left, _scaled(right, -1.0, 0.0, call.part("negative"))], call.name)


def _multiply(call: FunctionCall) -> Any:
    left, right = call.operands(2)
    if _is_tensor(left) and _is_tensor(right):
        return _joined("Multiply", [left, right], call.name)
    tensor, constant = (left, right) if _is_tensor(left) else (right, left)
    return _scaled(tensor, _number(constant), 0.0, call.name)


def _divide(call: FunctionCall) -> Any:
    left, right = call.operands(2)
    if _is_tensor(right):
        raise UntranslatableError("a tensor can be divided by a number only")
    return _scaled(left, 1.0 / _number(right), 0.0, call.name)


def _square(call: FunctionCall) -> Any:
    return _joined("Multiply", [call.operand, call.operand], call.name)


def _negative(call: FunctionCall) -> Any:
    return _scaled(call.operand, -1.0, 0.0, call.name)


def _clipped(tensor: Any, low: float | None, high: float | None, call: FunctionCall) -> Any:
    """`min(max(tensor, low), high)` by ReLU and shifts."""
    from keras.layers import ReLU

    if low is None:
        assert high is not None  # high - relu(high - x)
        below = ReLU(name=call.part("relu"))(_scaled(tensor, -1.0, high, call.part("distance")))
        return _scaled(below, -1.0, high, call.name)
    reach = None if high is None else high - low
    if reach is not None and reach <= 0:
        raise UntranslatableError(f"the upper bound must be above the lower, not {high} and {low}")
    if low == 0:
        return ReLU(reach, name=call.name)(tensor)
    above = ReLU(reach, name=call.part("relu"))(_scaled(tensor, 1.0, -low, call.part("distance")))
    return _scaled(above, 1.0, low, call.name)


def _bound(is_lower: bool) -> Translation:
    def translate(call: FunctionCall) -> Any:
        left, right = call.operands(2)
        if _is_tensor(left) and _is_tensor(right):
            raise UntranslatableError("the greater or smaller of two tensors is not supported")
        tensor, constant = (left, right) if _is_tensor(left) else (right, left)
        limit = _number(constant)
        low, high = (limit, None) if is_lower else (None, limit)
        return _clipped(tensor, low, high, call)

    return translate


def _clip(call: FunctionCall) -> Any:
    tensor, low, high = call.operands(3)
    return _clipped(tensor, _number(low), _number(high), call)


def _concatenate(call: FunctionCall) -> Any:
    from keras.layers import Concatenate

    tensors = list(call.arguments["values"])
    if not all(_is_tensor(tensor) for tensor in tensors):
        raise UntranslatableError("a constant cannot be concatenated")
    axis = int(_number(call.arguments["axis"]))
    if axis == len(call.shape):  # counted with the batch
        axis = -1
    return Concatenate(axis, name=call.name)(tensors)


def _reshape(call: FunctionCall) -> Any:
    """Any function that only gives the values another shape."""
    from keras.layers import Reshape

    if None in call.shape:
        raise UntranslatableError(f"the result must have a fixed shape, not {call.shape}")
    return Reshape(call.shape, name=call.name)(call.operand)


def _pad(call: FunctionCall) -> Any:
    from keras.layers import ZeroPadding2D

    tensor, paddings = call.operands(2)
    mode = str(call.arguments.get("mode", "CONSTANT"))
    value = call.arguments.get("constant_values", 0)
    amounts = np.asarray(paddings)
    if mode.upper() != "CONSTANT" or _number(value) != 0:
        raise UntranslatableError(f"padding must be with zeros, not {mode} with {value}")
    if amounts.shape != (4, 2) or np.any(amounts[[0, 3]]):
        raise UntranslatableError(f"rows and columns can be padded only, not {amounts.tolist()}")
    rows, columns = (tuple(int(n) for n in pair) for pair in amounts[1:3])
    return ZeroPadding2D((rows, columns), name=call.name)(tensor)


def _over_pixels(call: FunctionCall) -> bool:
    """Whether a reduction is over height and width of a feature map; its `keepdims`."""
    axes = call.arguments.get("axis")
    wanted = () if axes is None else np.atleast_1d(axes).tolist()
    rank = len(call.operand.shape)
    if rank != 4 or sorted(axis % rank for axis in wanted) != [1, 2]:
        raise UntranslatableError(f"the axes must be height and width, [1, 2], not {axes}")
    return bool(call.arguments.get("keepdims"))


def _mean(call: FunctionCall) -> Any:
    from keras.layers import GlobalAveragePooling2D

    return GlobalAveragePooling2D(keepdims=_over_pixels(call), name=call.name)(call.operand)


def _maximum(call: FunctionCall) -> Any:
    from keras.layers import GlobalMaxPooling2D

    return GlobalMaxPooling2D(keepdims=_over_pixels(call), name=call.name)(call.operand)


def _same(call: FunctionCall) -> Any:
    return call.operand


def _slice(call: FunctionCall) -> Any:
    tensor, slices = call.operands(2)
    parts = list(slices) if isinstance(slices, list | tuple) else [slices]
    whole = {"start": None, "stop": None, "step": None}
    rank = len(tensor.shape)
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [whole] * (rank - len(parts) + 1)
    parts += [whole] * (rank - len(parts))
    if all(part == whole for part in parts):
        return tensor
    *others, last = parts
    if rank != 4 or any(part != whole for part in others) or not isinstance(last, dict):
        raise UntranslatableError("only channels can be cut from a feature map")
    channels = int(tensor.shape[-1])
    start, stop, step = slice(last["start"], last["stop"], last["step"]).indices(channels)
    if step != 1 or start >= stop:
        raise UntranslatableError(
            f"a slice must be of neighbouring channels, not {start}:{stop}:{step} of {channels}"
        )
    return channel_slice(tensor, start, stop, name=call.name)


def _split(call: FunctionCall) -> list[Any]:
    tensor, wanted = call.operands(2)
    rank = len(tensor.shape)
    axis = int(_number(call.arguments.get("axis", 0)))
    if rank != 4 or axis % rank != 3:
        raise UntranslatableError(
            f"only the channels of a feature map can be split, not axis {axis}"
        )
    channels = int(tensor.shape[-1])
    count = np.asarray(wanted)
    sizes = [channels // int(count)] * int(count) if count.ndim == 0 else count.tolist()
    if -1 in sizes:
        sizes[sizes.index(-1)] = channels - sum(sizes) - 1
    ends = np.cumsum([0, *sizes]).tolist()
    return [
        channel_slice(tensor, first, last, name=call.part(str(index)))
        for index, (first, last) in enumerate(itertools.pairwise(ends))
    ]


def _transpose(call: FunctionCall) -> Any:
    from keras.layers import Permute

    tensor = call.operand
    order = call.arguments.get("perm")
    axes = list(range(len(tensor.shape)))[::-1] if order is None else np.asarray(order).tolist()
    if axes[0] != 0:
        raise UntranslatableError(f"the batch must stay the first axis, not {axes}")
    return Permute(tuple(axes[1:]), name=call.name)(tensor)


FUNCTIONS: Mapping[str, Translation] = {
    "nn.relu": _relu(None),
    "nn.relu6": _relu(6.0),
    "nn.leaky_relu": _leaky_relu,
    "nn.softmax": _softmax,
    "nn.elu": _activation("elu"),
    "nn.gelu": _gelu,
    "nn.selu": _activation("selu"),
    "nn.sigmoid": _activation("sigmoid"),
    "nn.silu": _activation("swish"),
    "nn.softplus": _activation("softplus"),
    "nn.softsign": _activation("softsign"),
    "nn.tanh": _activation("tanh"),
    "math.exp": _activation("exponential"),
    "math.sigmoid": _activation("sigmoid"),
    "math.softplus": _activation("softplus"),
    "math.tanh": _activation("tanh"),
    "math.add": _add,
    "__operators__.add": _add,
    "math.subtract": _subtract,
    "math.multiply": _multiply,
    "math.divide": _divide,
    "math.truediv": _divide,
    "math.square": _square,
    "math.negative": _negative,
    "math.maximum": _bound(is_lower=True),
    "math.minimum": _bound(is_lower=False),
    "clip_by_value": _clip,
    "concat": _concatenate,
    "reshape": _reshape,
    "squeeze": _reshape,
    "compat.v1.squeeze": _reshape,
    "expand_dims": _reshape,
    "pad": _pad,
    "compat.v1.pad": _pad,
    "math.reduce_mean": _mean,
    "math.reduce_max": _maximum,
    "identity": _same,
    "stop_gradient": _same,
    "__operators__.getitem": _slice,
    "split": _split,
    "transpose": _transpose,
    "compat.v1.transpose": _transpose,
}
"""What Keras calls the functions that stand for layers."""
