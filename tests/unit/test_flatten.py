"""Models within models, shared layers and functions of TensorFlow: flat, and the same network."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.networks.flatten import flattened, leaves, models_within
from tests.support.quantized_chain import assert_equals_keras, pictures, quantized

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
L = keras.layers


def randomized(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    for weights in model.weights:
        low = 0.3 if "variance" in weights.name else -0.6
        weights.assign(rng.uniform(low, 1.2, weights.shape))
    return model


def assert_same(model: Any, tolerance: float = 0.0) -> Any:
    """The flat model, whose outputs are those of the model to the last bit (or to a tolerance)."""
    flat = flattened(randomized(model))
    images = pictures(model, count=3)
    expected, found = model(images).numpy(), flat(images).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert models_within(flat) == frozenset()
    assert all(len(layer.inbound_nodes) == 1 for layer in flat.layers)
    return flat


def names(model: Any) -> list[str]:
    return [layer.name for layer in model.layers]


def block(name: str = "block") -> Any:
    inputs = keras.Input((6, 5, 3))
    x = L.Conv2D(3, 3, padding="same", name="conv")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, L.ReLU(6.0, name="act")(x), name=name)


def image() -> Any:
    return keras.Input((6, 5, 3), name="image")


def test_a_flat_model_is_returned_as_it_is() -> None:
    model = block()
    assert flattened(model) is model


def test_models_within_models_are_opened() -> None:
    inner = block("inner")
    middle = keras.Sequential([inner, L.Conv2D(3, 1, name="conv")], name="middle")
    x = given = image()
    x = L.Conv2D(3, 1, name="stem")(middle(x))
    flat = assert_same(keras.Model(given, x))
    assert names(flat) == ["image", "conv", "norm", "act", "middle_conv", "stem"]


def test_a_layer_that_is_called_twice_becomes_two_with_the_same_weights() -> None:
    shared = L.Conv2D(3, 1, name="shared")
    given = image()
    x = shared(L.ReLU(name="relu")(shared(given)))
    flat = assert_same(keras.Model(given, x))
    assert names(flat) == ["image", "shared", "relu", "shared_2"]
    first, second = (flat.get_layer(name).get_weights() for name in ("shared", "shared_2"))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_is_called_twice_has_two_of_each_layer() -> None:
    inner = block()
    given = image()
    x = L.Conv2D(3, 1, name="conv")(inner(inner(given)))
    model = keras.Model(given, x)
    flat = assert_same(model)
    assert names(flat) == [
        *("image", "block_conv", "norm", "act", "block_conv_2", "norm_2", "act_2", "conv")
    ]
    assert [layer.name for layer in leaves(model)].count("conv") == 2


def test_numbers_avoid_names_that_the_model_has() -> None:
    shared = L.Conv2D(3, 1, name="conv")
    given = image()
    x = shared(shared(L.Conv2D(3, 1, name="conv_2")(given)))
    assert names(assert_same(keras.Model(given, x))) == ["image", "conv_2", "conv", "conv_3"]


def test_inner_models_of_several_inputs_and_outputs_are_wired_right() -> None:
    left, right = keras.Input((6, 5, 3)), keras.Input((6, 5, 3))
    mixed = L.Add(name="mix")([left, L.Conv2D(3, 1, name="inner_conv")(right)])
    inner = keras.Model([left, right], [L.ReLU(name="up")(mixed), L.ReLU(name="down")(right)])
    given = image()
    up, down = inner([L.Conv2D(3, 1, name="stem")(given), given])
    assert_same(keras.Model(given, L.Concatenate(name="out")([down, up, down])))


def test_every_call_is_a_tensor_that_keras_and_the_integers_agree_on() -> None:
    shared = L.Conv2D(3, 3, padding="same", name="shared")
    inner = block()
    given = image()
    x = shared(inner(shared(given)))
    model = keras.Model(given, L.GlobalAveragePooling2D(name="mean")(inner(x)))
    images = pictures(model)
    made, graph = quantized(flattened(randomized(model)), images=images)
    compared = assert_equals_keras(made, graph, images)
    assert {"shared", "shared_2", "conv", "conv_2", "act", "act_2", "mean"} <= compared


# --- functions of TensorFlow ---------------------------------------------------------------------

Function = Callable[[Any], Any]

FUNCTIONS: dict[str, Function] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "leaky relu": lambda x: tf.nn.leaky_relu(x, 0.25),
    "hard swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "hard sigmoid": lambda x: tf.nn.relu6(3 + x) * (1 / 6),
    "silu": tf.nn.silu,
    "gelu": keras.activations.gelu,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.math.tanh,
    "exp": tf.exp,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "softplus": tf.math.softplus,
    "softsign": tf.nn.softsign,
    "a number minus": lambda x: 2.5 - x,
    "minus a number": lambda x: tf.subtract(x, 0.5),
    "negative": lambda x: -x,
    "square": tf.square,
    "a lower bound": lambda x: tf.maximum(x, -0.25),
    "an upper bound": lambda x: tf.minimum(0.25, x),
    "bounds": lambda x: tf.clip_by_value(x, -0.5, 0.75),
    "bounds from zero": lambda x: tf.clip_by_value(x, 0.0, 0.5),
    "nothing": lambda x: tf.identity(x)[:, :, ...] + x,
    "two tensors added": lambda x: tf.add(x, tf.nn.relu(x)),
    "two tensors subtracted": lambda x: x - tf.nn.relu(x),
    "concatenation": lambda x: tf.concat([x, tf.nn.relu(x)], axis=3),
    "padding": lambda x: tf.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]]),
    "mean of pixels": lambda x: tf.reduce_mean(x, axis=[1, 2], keepdims=True),
    "largest pixels": lambda x: tf.reduce_max(x, axis=(-2, -3)),
    "another shape": lambda x: tf.reshape(x, [-1, 90]),
    "one axis less": lambda x: tf.squeeze(tf.reduce_mean(x, [1, 2], keepdims=True), [1, 2]),
    "channels": lambda x: x[..., 1:],
    "channels from the end": lambda x: x[:, :, :, -2:-1] + 0.0,
    "halves": lambda x: tf.concat(tf.split(tf.concat([x, x], 3), 2, axis=-1)[::-1], axis=3),
    "parts": lambda x: tf.split(x, [1, -1], axis=3)[1],
    "a channel shuffle": lambda x: tf.reshape(
        tf.transpose(tf.reshape(tf.concat([x, x], 3), [-1, 6, 5, 2, 3]), [0, 1, 2, 4, 3]),
        [-1, 6, 5, 6],
    ),
    "one axis more": lambda x: tf.expand_dims(tf.reduce_mean(x, [1, 2]), 1),
}


@pytest.mark.parametrize("what", FUNCTIONS)
def test_functions_become_layers(what: str) -> None:
    given = image()
    model = keras.Model(given, FUNCTIONS[what](given))
    flat = assert_same(model, tolerance=1e-6)
    assert not any("OpLambda" in type(layer).__name__ for layer in flat.layers)


REFUSED: dict[str, tuple[Function, str]] = {
    "another function": (lambda x: tf.sin(x), "the function tf.math.sin is not supported. Use"),
    "numbers for channels": (
        lambda x: tf.add(x, [1.0, 2.0, 3.0]),
        "only a single number can be joined",
    ),
    "a slice": (lambda x: x[:, 1:], "only channels can be cut from a feature map"),
    "every other channel": (lambda x: x[..., ::2], "neighbouring channels, not 0:3:2 of 3"),
    "split rows": (lambda x: tf.split(x, 2, axis=1)[0], "can be split, not axis 1"),
    "turned": (lambda x: tf.transpose(x), "the batch must stay the first axis, not [3, 2, 1, 0]"),
    "a quotient": (lambda x: x / (x + 9.0), "a tensor can be divided by a number only"),
    "the greater": (lambda x: tf.maximum(x, -x), "the greater or smaller of two tensors"),
    "padding by ones": (
        lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1),
        "padding must be with zeros, not CONSTANT with 1",
    ),
    "reflection": (
        lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"),
        "padding must be with zeros, not REFLECT",
    ),
    "padded channels": (
        lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 1]]),
        "rows and columns can be padded only",
    ),
    "mean of rows": (lambda x: tf.reduce_mean(x, 1), "the axes must be height and width, [1, 2]"),
    "empty bounds": (
        lambda x: tf.clip_by_value(x, 1.0, 0.0),
        "the upper bound must be above the lower, not 0.0 and 1.0",
    ),
}


def test_functions_that_stand_for_no_layer_are_refused_all_at_once() -> None:
    given = image()
    conv = L.Conv2D(3, 1, name="stem")(given)
    outputs = [function(conv) for function, _ in REFUSED.values()]
    with pytest.raises(DesignError) as caught:
        flattened(keras.Model(given, outputs))
    texts = [str(fault) for fault in caught.value.faults]
    for (_, message), text in itertools.product(REFUSED.values(), [str(caught.value)]):
        assert message in text
    assert len(texts) == len(REFUSED)
    assert all(text.startswith("layer 'tf.") for text in texts)


def test_normalised_rows_are_refused() -> None:
    given = image()
    rows = L.Normalization(axis=1, mean=np.zeros(6), variance=np.ones(6), name="rows")
    with pytest.raises(DesignError, match=r"must normalise channels, axis -1, .* not axis \(1,\)"):
        flattened(keras.Model(given, rows(given)))


def test_what_is_wrong_within_a_model_is_named_with_it() -> None:
    inputs = keras.Input((6, 5, 3))
    inner = keras.Model(inputs, L.PReLU(name="slopes")(inputs), name="inner")
    given = image()
    model = keras.Model(given, inner(given))
    randomized(model)
    with pytest.raises(DesignError, match=r"layer 'inner, slopes' \(PReLU\): must have one slope"):
        flattened(model)


# --- layers that are several ---------------------------------------------------------------------

COMPOSED: dict[str, Function] = {
    "a separable convolution": lambda x: L.SeparableConv2D(
        4, 3, strides=2, padding="same", depth_multiplier=2, activation="relu", name="it"
    )(x),
    "a separable convolution without bias": lambda x: L.SeparableConv2D(
        4, 3, use_bias=False, name="it"
    )(x),
    "a dilated separable convolution": lambda x: L.SeparableConv2D(
        4, 3, dilation_rate=2, padding="same", name="it"
    )(x),
    "a dense layer on pixels": lambda x: L.Dense(4, activation="tanh", name="it")(x),
    "the largest pixels": lambda x: L.GlobalMaxPooling2D(name="it")(x),
    "the largest pixels kept": lambda x: L.GlobalMaxPooling2D(keepdims=True, name="it")(x),
    "three added": lambda x: L.Add(name="it")([x, L.ReLU(name="r")(x), x]),
    "three multiplied": lambda x: L.Multiply(name="it")([x, L.ReLU(name="r")(x), x]),
    "four concatenated": lambda x: L.Concatenate(name="it")([x, L.ReLU(name="r")(x), x, x]),
    "a difference": lambda x: L.Subtract(name="it")([x, L.ReLU(name="r")(x)]),
    "an average": lambda x: L.Average(name="it")([x, L.ReLU(name="r")(x)]),
    "normalised channels": lambda x: L.Normalization(
        mean=[0.1, -0.2, 0.3], variance=[0.5, 2.0, 0.0], name="it"
    )(x),
    "normalised values": lambda x: L.Normalization(
        axis=None, mean=0.25, variance=4.0, invert=True, name="it"
    )(x),
    "statistics that were learnt": lambda x: L.Normalization(name="it")(x),
    "a slope for all": lambda x: L.PReLU(shared_axes=[1, 2, 3], name="it")(x),
}


@pytest.mark.parametrize("what", COMPOSED)
def test_composed_layers_become_several(what: str) -> None:
    given = image()
    flat = assert_same(keras.Model(given, COMPOSED[what](given)), tolerance=1e-5)
    assert "it" in names(flat)
