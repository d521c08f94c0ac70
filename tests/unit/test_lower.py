"""From a QKeras model to the integer graph: what is named, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.opset import Conv2D, Frame2D, MaxPool2D, Requantize
from hwflow.quantize.lower import lower

keras = pytest.importorskip("keras")
qkeras = pytest.importorskip("qkeras")
L = keras.layers


def bits(width: int, integer: int = 0, **options: Any) -> Any:
    return qkeras.quantized_bits(width, integer, alpha=1.0, **options)


def conv(name: str, filters: int = 2, **options: Any) -> Any:
    options = {"kernel_quantizer": bits(4), "bias_quantizer": bits(6, 2), **options}
    return qkeras.QConv2D(filters, 3, name=name, **options)


def entry(shape: tuple[int, ...] = (6, 6, 2)) -> tuple[Any, Any]:
    image = keras.Input(shape, name="image")
    return image, qkeras.QActivation(bits(8, 2), name="image_quantized")(image)


def test_a_convolution_with_its_own_activation_has_an_accumulator() -> None:
    image, x = entry()
    x = conv("fused", activation=qkeras.quantized_relu(5, 2))(x)
    graph = lower(keras.Model(image, x), "g")
    assert list(graph.tensors) == ["image_quantized", "fused_accumulator", "fused"]
    assert graph.outputs == ("fused",)
    made = graph.operation("fused_accumulator")
    assert isinstance(made, Conv2D)
    assert made.weight_format == FixedPoint(4, 1)
    assert graph.tensors["fused_accumulator"].format.fraction_bits == 5 + 3
    relu = graph.operation("fused")
    assert isinstance(relu, Requantize)
    assert relu.format == FixedPoint(5, 2, False)


def test_biases_finer_than_the_products_shift_the_products() -> None:
    image, x = entry()
    layer = conv("c", bias_quantizer=bits(14, 1))
    x = layer(x)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    graph = lower(keras.Model(image, x), "g")
    made = graph.operation("c")
    assert isinstance(made, Conv2D)
    assert made.product_shift == (14 - 1 - 1) - (5 + 3)
    assert graph.tensors["c"].format.fraction_bits == 12
    expected = FixedPoint(14, 2).quantize(layer.get_weights()[1])
    np.testing.assert_array_equal(made.biases, expected)


def channel_scaled(alpha: Any) -> Any:
    return qkeras.quantized_bits(4, 0, alpha=alpha)


@pytest.mark.parametrize(
    ("alpha", "fraction_bits", "shifts"),
    [
        ([[[[0.25, 2.0]]]], 5 + 3 + 2, [0, 3]),
        ([4.0, 1.0], 5 + 3, [2, 0]),
        (np.array([0.5, 0.5]), 5 + 3 + 1, None),
    ],
)
def test_alpha_by_channel_shifts_the_products(alpha: Any, fraction_bits: int, shifts: Any) -> None:
    image, x = entry()
    layer = conv("c", kernel_quantizer=channel_scaled(alpha))
    x = layer(x)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    graph = lower(keras.Model(image, x), "g")
    made = graph.operation("c")
    assert isinstance(made, Conv2D)
    assert graph.tensors["c"].format.fraction_bits == fraction_bits
    found = None if made.channel_shifts is None else made.channel_shifts.tolist()
    assert found == shifts
    plain = FixedPoint(4, 1).quantize(layer.get_weights()[0])
    np.testing.assert_array_equal(made.weights, plain)


def test_alpha_that_differs_within_a_channel_is_refused() -> None:
    image, x = entry()
    alpha = [[[[1.0], [2.0]]]]  # by input channel
    x = conv("c", kernel_quantizer=channel_scaled(alpha))(x)
    with pytest.raises(DesignError, match="'c': alpha must be the same throughout an output chan"):
        lower(keras.Model(image, x), "g")


def test_layers_without_a_bias_have_zeros() -> None:
    image, x = entry()
    graph = lower(keras.Model(image, conv("c", use_bias=False)(x)), "g")
    made = graph.operation("c")
    assert isinstance(made, Conv2D)
    assert made.biases.tolist() == [0, 0]


def test_everything_that_cannot_be_lowered_is_named_at_once() -> None:
    image, x = entry()
    a = conv("no_kernel", kernel_quantizer=None)(x)
    b = conv("no_bias", bias_quantizer=None)(x)
    c = conv("auto", kernel_quantizer=qkeras.quantized_bits(4, 0, alpha="auto"))(x)
    e = L.LayerNormalization(name="up")(x)
    f = L.Conv2D(2, 3, name="plain")(x)
    g = qkeras.QActivation("stochastic_ternary()", name="drawn")(x)
    model = keras.Model(image, [a, b, c, e, f, g])
    with pytest.raises(DesignError) as caught:
        lower(model, "g")
    wanted = [
        "the kernel of layer 'no_kernel' has no quantizer",
        "the bias of layer 'no_bias' has no quantizer",
        "the kernel of layer 'auto': alpha must be a constant power of two, not 'auto'",
        "layer 'up' (LayerNormalization): has no integer equivalent; supported are",
        "layer 'plain' (Conv2D): has no integer equivalent",
        "layer 'drawn': stochastic rounding has no hardware equivalent",
    ]
    assert len(caught.value.faults) == len(wanted)
    for text in wanted:
        assert text in str(caught.value)


def test_an_input_that_is_not_quantized_is_refused() -> None:
    image = keras.Input((6, 6, 2), name="image")
    with pytest.raises(DesignError, match="layer 'c' reads the input, which is not quantized"):
        lower(keras.Model(image, conv("c")(image)), "g")


def test_an_output_of_average_pooling_must_be_quantized() -> None:
    image, x = entry()
    x = L.GlobalAveragePooling2D(name="mean")(x)
    with pytest.raises(DesignError, match="output 'mean' of average pooling is not quantized"):
        lower(keras.Model(image, x), "g")


PADDED: dict[str, Callable[[Any], Any]] = {
    "a quantizer": lambda x: qkeras.QActivation(bits(8, 2), name="it")(x),
    "a maximum of what may be negative": lambda x: L.MaxPooling2D(2, name="it")(x),
    "a sum with itself": lambda x: L.Add(name="it")([x, x]),
}


@pytest.mark.parametrize("what", PADDED)
@pytest.mark.parametrize("sides", [((1, 0), (2, 1)), ((3, 3), (0, 2))])
def test_zeros_that_no_window_takes_in_are_pixels(what: str, sides: Any) -> None:
    image, x = entry((5, 4, 2))
    model = keras.Model(image, PADDED[what](L.ZeroPadding2D(sides, name="pad")(x)))
    graph = lower(model, "g")
    pad = graph.operation("pad")
    assert isinstance(pad, Frame2D)
    assert pad.padding == (*sides[0], *sides[1])
    raw = np.random.default_rng(0).integers(-128, 128, (3, 5, 4, 2))
    found = graph.evaluate({"image_quantized": raw})["it"]
    values = FixedPoint(8, 3).to_float(raw).astype(np.float32)
    np.testing.assert_array_equal(graph.tensors["it"].format.to_float(found), model(values))


def test_a_maximum_of_zeros_alone_is_zero() -> None:
    image, x = entry((3, 4, 2))
    x = qkeras.QActivation(qkeras.quantized_relu(4, 2), name="relu")(x)
    x = L.MaxPooling2D(2, name="pool")(L.ZeroPadding2D(2, name="pad")(x))
    graph = lower(keras.Model(image, x), "g")
    raw = np.full((1, 3, 4, 2), 127)
    found = graph.evaluate({"image_quantized": raw})["pool"]
    assert not found[0, 0].any()
    assert found[0, 1, 1].all()


def test_a_maximum_takes_in_the_zeros_around_it() -> None:
    image, x = entry((5, 4, 2))
    x = qkeras.QActivation(qkeras.quantized_relu(4, 2), name="relu")(x)
    x = L.ZeroPadding2D(((1, 0), (2, 1)), name="pad")(x)
    x = L.MaxPooling2D(3, strides=2, name="pool")(x)
    model = keras.Model(image, x)
    graph = lower(model, "g")
    assert "pad" not in graph.tensors
    pool = graph.operation("pool")
    assert isinstance(pool, MaxPool2D)
    assert pool.padding == (1, 0, 2, 1)
    raw = np.random.default_rng(0).integers(-128, 128, (3, 5, 4, 2))
    found = graph.evaluate({"image_quantized": raw})["pool"]
    values = FixedPoint(8, 3).to_float(raw).astype(np.float32)
    np.testing.assert_array_equal(FixedPoint(4, 2, False).to_float(found), model(values))


def test_what_follows_a_refused_layer_is_not_a_fault_of_its_own() -> None:
    image, x = entry()
    x = L.Permute((2, 1, 3), name="up")(x)
    x = conv("after")(x)
    with pytest.raises(DesignError) as caught:
        lower(keras.Model(image, qkeras.QActivation(bits(4), name="quantized")(x)), "g")
    assert len(caught.value.faults) == 1
    assert "'up'" in str(caught.value)
