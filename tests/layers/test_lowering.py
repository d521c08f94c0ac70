"""Float layers as QKeras layers, and those as integer operations: every value equal."""

from __future__ import annotations

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow
from hwflow.integer_graph import IntegerGraph
from hwflow.keras_models import save_keras
from hwflow.layers.base import Rectification, same_padding
from hwflow.layers.elementwise import FUNCTIONS
from hwflow.networks.blocks import hard_swish
from hwflow.opset import Conv2D, Input, Multiply, Requantize, Table
from hwflow.quantize.float_graph import read
from hwflow.quantize.lower import lower
from hwflow.simulate.keras_reference import evaluate_float64, matches
from tests.support.quantized_chain import (
    Widths,
    assert_equals_keras,
    pictures,
    quantized,
    raw_input,
)


def sequence(*layers, shape=(7, 6, 4), seed=0):
    """A model of layers one after another, with random weights."""
    import keras

    inputs = keras.Input(shape, name="input")
    tensor = inputs
    for layer in layers:
        tensor = layer(tensor)
    model = keras.Model(inputs, tensor, name="sequence")
    randomly(model, seed)
    return model


def randomly(model, seed=0):
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        values = [
            generator.uniform(0.5, 1.5, w.shape)
            if "variance" in w.name or "gamma" in w.name
            else generator.normal(0.0, 0.4, w.shape)
            for w in layer.weights
        ]
        layer.set_weights(values)


def exact(model, widths=None):
    """Checks the chain; returns the integer graph."""
    images = pictures(model)
    made, graph = quantized(model, widths, images)
    compared = assert_equals_keras(made, graph, images)
    assert set(graph.outputs) <= compared
    return graph


def test_a_relu_joined_with_negative_values_still_rectifies():
    import keras

    image = keras.Input((4, 5, 3), name="input")
    left = keras.layers.ReLU(name="left_relu")(keras.layers.Conv2D(6, 1, name="left")(image))
    right = keras.layers.Conv2D(3, 1, name="right")(image)
    model = keras.Model(image, keras.layers.Concatenate(name="joined")([left, right]))
    randomly(model)
    graph = exact(model, Widths(weights=12, activations=12, inputs=12))
    values = graph.evaluate(raw_input(graph, pictures(model)))["joined"]
    assert values[..., :6].min() == 0
    assert values[..., 6:].min() < 0
    found = graph.tensors["joined"].format.to_float(values)
    np.testing.assert_allclose(found, model(pictures(model)), atol=0.02)


def padding_of(graph, name):
    return graph.operation(name).padding


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (7, 10)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D"])
def test_same_padding_is_keras_own(kind, strides, size):
    from keras import layers

    settings = {"strides": strides, "padding": "same", "name": "layer"}
    if kind == "Conv2D":
        layer = layers.Conv2D(3, 3, **settings)
    else:
        layer = layers.DepthwiseConv2D(3, **settings)
    graph = exact(sequence(layer, shape=(*size, 3)))
    assert padding_of(graph, "layer") == same_padding(size, (3, 3), strides)
    if strides == (2, 2):
        odd = tuple(length % 2 for length in size)
        assert padding_of(graph, "layer") == (odd[0], 1, odd[1], 1)


def test_batch_norm_is_folded_into_each_kind_of_layer():
    from keras import layers

    graph = exact(
        sequence(
            layers.Conv2D(6, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="conv_bn"),
            layers.ReLU(6.0, name="conv_relu"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise"),
            layers.BatchNormalization(name="depthwise_bn"),
            layers.ReLU(6.0, name="depthwise_relu"),
            layers.GlobalAveragePooling2D(keepdims=True, name="mean"),
            layers.Conv2D(5, 1, name="head"),
            layers.Reshape((5,), name="flat"),
            layers.Dense(3, name="dense"),
            layers.BatchNormalization(name="dense_bn"),
        )
    )
    kinds = [operation.kind for operation in graph.operations]
    assert kinds.count("conv2d") == 4
    assert graph.tensors[graph.outputs[0]].shape == (1, 1, 3)


def test_pooled_pixels_are_flattened_in_keras_order():
    from keras import layers

    exact(
        sequence(
            layers.AveragePooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(4, name="dense"),
        )
    )


def test_a_reshape_that_moves_values_is_refused():
    from keras import layers

    model = sequence(layers.Conv2D(4, 1, name="conv"), layers.Reshape((6, 7, 4), name="turned"))
    with pytest.raises(DesignError, match="layer 'turned': only the channels of a pixel"):
        quantized(model)


def test_residual_addition_of_tensors_in_different_units():
    import keras
    from keras import layers

    inputs = keras.Input((5, 5, 4), name="input")
    left = layers.Conv2D(4, 1, name="left")(inputs)
    right = layers.Conv2D(4, 1, name="right")(layers.ReLU(6.0, name="left_relu")(left))
    model = keras.Model(inputs, layers.Add(name="sum")([left, right]), name="residual")
    randomly(model)
    kernel, bias = model.get_layer("right").get_weights()
    model.get_layer("right").set_weights([16 * kernel, bias])
    graph = exact(model)
    units = {graph.tensors[s].format.fraction_bits for s in graph.operation("sum").inputs}
    assert len(units) == 2


# --- ReLU6 -------------------------------------------------------------------------------------


def loud(model, gain=8.0):
    """Weights so large that ReLU6 clips."""
    for layer in model.layers:
        layer.set_weights([gain * weights for weights in layer.get_weights()])
    return model


@pytest.mark.parametrize("width", [4, 8, 12])
def test_relu6_clips_at_six_exactly(width):
    from keras import layers

    model = loud(sequence(layers.Conv2D(5, 3, name="conv"), layers.ReLU(6.0, name="relu")))
    images = pictures(model)
    made, graph = quantized(model, Widths(activations=width), images)
    assert_equals_keras(made, graph, images)
    target = graph.tensors["relu"].format
    assert target.integer_bits == 3
    assert graph.operation("relu").maximum == 6 << target.fraction_bits
    assert graph.tensors["relu"].interval.high.max() == 6 << target.fraction_bits
    clipped = made.predict_on_batch(images)
    assert clipped.max() == 6.0
    assert np.count_nonzero(clipped == 6.0) > 10


@pytest.mark.parametrize("width", [4, 8])
def test_relu6_needs_no_constant_where_the_format_ends_below_six(width):
    from keras import layers

    model = sequence(layers.Conv2D(5, 1, name="conv"), layers.ReLU(6.0, name="relu"))
    model.get_layer("conv").set_weights([0.05 * w for w in model.get_layer("conv").get_weights()])
    graph = exact(model, Widths(activations=width))
    assert graph.operation("relu").maximum is None
    assert "relu_limit" not in graph.tensors


def test_a_maximum_off_the_grid_is_rounded_as_keras_does():
    from keras import layers

    model = loud(sequence(layers.Conv2D(5, 3, name="conv"), layers.ReLU(2.7, name="relu")))
    graph = exact(model, Widths(activations=4))
    assert graph.operation("relu").maximum == graph.tensors["relu"].format.quantize(2.7)


def test_relu6_survives_saving_with_keras_and_qkeras_alone(tmp_path):
    from keras import layers
    from qkeras.utils import load_qmodel

    model = loud(sequence(layers.Conv2D(5, 3, name="conv"), layers.ReLU(6.0, name="relu")))
    images = pictures(model)
    made, graph = quantized(model, images=images)
    save_keras(made, tmp_path / "quantized.h5")
    loaded = load_qmodel(str(tmp_path / "quantized.h5"), compile=False)
    assert_equals_keras(loaded, lower(loaded, "loaded"), images)
    assert graph.to_files() == lower(loaded, graph.name).to_files()


def test_a_file_of_the_graph_keeps_the_maximum(tmp_path):
    operations = [
        Input("x", (), (1, 1, 2), FixedPoint(8, 4)),
        Requantize("y", ("x",), FixedPoint(8, 3, signed=False), 4, maximum=192),
        Requantize("z", ("y",), FixedPoint(6, 3, signed=False), 5),
    ]
    graph = IntegerGraph.build("limits", operations, ["z"])
    for name, content in graph.to_files().items():
        (tmp_path / name).write_bytes(content)
    loaded = IntegerGraph.load(tmp_path)
    assert [getattr(op, "maximum", None) for op in loaded.operations] == [None, 192, None]
    raw = np.arange(-128, 128).reshape(-1, 1, 1, 2)
    values = loaded.evaluate({"x": raw})
    np.testing.assert_array_equal(values["y"], np.clip(2 * raw, 0, 192))
    assert values["z"].max() == loaded.tensors["z"].interval.high.max() == 48


@pytest.mark.parametrize(
    ("maximum", "overflow", "message"),
    [
        (256, Overflow.SAT, r"its maximum of 256 is not in ufixed<8,3>"),
        (-1, Overflow.SAT, r"its maximum of -1 is not in ufixed<8,3>"),
        (192, Overflow.WRAP, r"a maximum needs saturation, not WRAP"),
    ],
)
def test_maxima_that_make_no_sense_are_refused(maximum, overflow, message):
    target = FixedPoint(8, 3, signed=False, overflow=overflow)
    with pytest.raises(DesignError, match=message):
        IntegerGraph.build(
            "limits",
            [
                Input("x", (), (1, 1, 1), FixedPoint(8, 4)),
                Requantize("y", ("x",), target, 4, maximum=maximum),
            ],
            ["y"],
        )


@pytest.mark.parametrize("fraction_bits", [-4, 0, 3, 9])
@pytest.mark.parametrize("maximum", [6.0, 2.7, 1.0])
def test_clipping_may_follow_rounding(maximum, fraction_bits):
    """What the hardware does, min(q(x), q(m)), is what Keras does, q(min(x, m))."""
    target = FixedPoint(10, 10 - fraction_bits, signed=False)
    x = np.arange(-4096, 4096) / 256
    limit = Rectification(maximum).limit(target)
    expected = target.quantize(np.minimum(np.maximum(x, 0), maximum))
    found = target.quantize(x)
    np.testing.assert_array_equal(found if limit is None else np.minimum(found, limit), expected)


# --- models that are QKeras already ------------------------------------------------------------


def qkeras_model(*after, bits="quantized_bits(6,1,alpha=1)"):
    import keras
    from qkeras import QActivation, QConv2D

    inputs = keras.Input((6, 6, 3), name="input")
    tensor = QActivation("quantized_bits(8,2,alpha=1)", name="image")(inputs)
    tensor = QConv2D(4, 3, kernel_quantizer=bits, bias_quantizer=bits, name="conv")(tensor)
    for layer in after:
        tensor = layer(tensor)
    model = keras.Model(inputs, tensor, name="theirs")
    generator = np.random.default_rng(3)
    for layer in model.layers:
        layer.set_weights([generator.normal(0.0, 1.0, w.shape) for w in layer.get_weights()])
    return model


def relu(maximum=None, name="relu"):
    from keras.layers import ReLU

    return ReLU(maximum, name=name)


def quantizer(text, name="quantizer"):
    from qkeras import QActivation

    return QActivation(text, name=name)


@pytest.mark.parametrize("maximum", [None, 6.0])
@pytest.mark.parametrize(
    "text", ["quantized_bits(7,3,alpha=1)", "quantized_relu(7,3)", "quantized_bits(5,4,1,alpha=1)"]
)
def test_a_relu_before_any_quantizer(text, maximum):
    model = qkeras_model(relu(maximum), quantizer(text))
    graph = lower(model, "theirs")
    assert_equals_keras(model, graph, pictures(model))
    assert not graph.tensors["quantizer"].format.signed
    assert "relu" not in graph.tensors


@pytest.mark.parametrize("maximum", [None, 6.0])
def test_a_relu_after_the_quantizer_that_a_layer_reads(maximum):
    from qkeras import QConv2D

    bits = "quantized_bits(5,1,alpha=1)"
    head = QConv2D(2, 2, kernel_quantizer=bits, bias_quantizer=bits, name="head")
    model = qkeras_model(quantizer("quantized_bits(8,4,alpha=1)"), relu(maximum), head)
    graph = lower(model, "theirs")
    assert {"relu", "head"} <= assert_equals_keras(model, graph, pictures(model))
    assert graph.tensors["relu"].interval.high.max() == (6 << 3 if maximum else 127)


def test_a_relu_at_the_end_is_an_output():
    model = qkeras_model(quantizer("quantized_bits(8,4,alpha=1)"), relu(6.0))
    graph = lower(model, "theirs")
    assert graph.outputs == ("relu",)
    assert_equals_keras(model, graph, pictures(model))


def test_a_maximum_that_no_integer_is_worth_is_refused():
    model = qkeras_model(quantizer("quantized_bits(4,3,alpha=1)"), relu(1.3))
    with pytest.raises(DesignError, match=r"'relu': its maximum of 1.2999.* is no multiple"):
        lower(model, "theirs")


def test_a_function_needs_a_quantized_input():
    from keras.layers import Activation

    model = qkeras_model(Activation("tanh", name="tanh"), quantizer("quantized_bits(8,0,alpha=1)"))
    with pytest.raises(DesignError, match=r"'quantizer': the function before it needs a quantized"):
        lower(model, "theirs")


def test_a_function_needs_a_quantizer_after_it():
    from keras.layers import Activation

    model = qkeras_model(quantizer("quantized_bits(8,2,alpha=1)"), Activation("tanh", name="tanh"))
    with pytest.raises(DesignError, match=r"layer 'tanh': only a quantizer can read it"):
        lower(model, "theirs")


# --- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_keras_is_a_table_of_all_its_inputs(function):
    from keras import layers

    model = sequence(layers.Activation(function, name="function"), shape=(16, 16, 1))
    every = np.linspace(-2, 2, 257)[:256].reshape(1, 16, 16, 1).astype(np.float32)
    made, graph = quantized(model, Widths(inputs=8), every)
    assert "function" in assert_equals_keras(made, graph, every)
    (entry,) = (op for op in graph.operations if op.name == "function")
    if function in ("relu", "linear"):
        assert isinstance(entry, Requantize)
    else:
        assert isinstance(entry, Table)
        assert entry.values.size == 256
        assert len(np.unique(graph.evaluate(raw_input(graph, every))["input_quantized"])) == 256


FUNCTION_LAYERS = {
    "ELU": {"alpha": 0.7},
    "LeakyReLU": {"alpha": 0.1},
    "ThresholdedReLU": {"theta": 0.4},
    "ReLU": {"max_value": 1.5, "negative_slope": 0.3, "threshold": 0.2},
    "Rescaling": {"scale": -0.3, "offset": 0.1},
}


@pytest.mark.parametrize("class_name", FUNCTION_LAYERS)
def test_layers_of_one_value_are_tables_too(class_name):
    from keras import layers

    options = FUNCTION_LAYERS[class_name]
    model = sequence(
        layers.Conv2D(3, 1, name="conv"),
        getattr(layers, class_name)(name="function", **options),
        layers.Conv2D(2, 1, name="head"),
        shape=(4, 5, 2),
    )
    images = pictures(model)
    made, graph = quantized(model, images=images)
    assert "function" in assert_equals_keras(made, graph, images)
    assert [op.kind for op in graph.operations].count("table") == 1
    assert graph.tensors["function"].interval.low.min() < 0 or class_name == "ThresholdedReLU"
    values = evaluate_float64(made, graph, images)
    raw = graph.evaluate(raw_input(graph, images))
    assert all(matches(values[name], raw[name], graph.tensors[name]).all() for name in values)


def test_layers_that_compute_one_function_become_one_table():
    import keras
    from keras import layers

    inputs = keras.Input((5, 5, 3), name="input")
    conv = layers.Conv2D(4, 3, name="conv")(inputs)
    swished = hard_swish(conv, name="hswish")
    squared = layers.Multiply(name="square")([swished, swished])
    total = layers.Add(name="total")([squared, swished])
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="head")(total), name="functions")
    randomly(model)
    graph = exact(model)
    assert [op.kind for op in graph.operations] == [
        *("input", "conv2d", "requantize", "table", "conv2d", "requantize")
    ]


def test_a_function_within_another_keeps_its_own_name():
    import keras
    from keras import layers

    inputs = keras.Input((4, 4, 2), name="input")
    conv = layers.Conv2D(3, 1, name="conv")(inputs)
    rectified = layers.ReLU(name="relu")(conv)
    swished = hard_swish(rectified, name="hswish")
    total = layers.Concatenate(name="all")(
        [rectified, swished, layers.Activation("tanh", name="tanh")(swished)]
    )
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="head")(total), name="functions")
    randomly(model)
    graph = exact(model)
    assert {"relu", "hswish", "tanh"} <= set(graph.tensors)
    assert [op.kind for op in graph.operations].count("table") == 2


def test_squeeze_and_excite_gates_a_feature_map():
    import keras
    from keras import layers

    inputs = keras.Input((5, 4, 6), name="input")
    gate = layers.GlobalAveragePooling2D(name="mean")(inputs)
    gate = layers.Reshape((1, 1, 6), name="pixel")(gate)
    gate = layers.Conv2D(2, 1, activation="swish", name="reduce")(gate)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="expand")(gate)
    model = keras.Model(inputs, layers.Multiply(name="gated")([gate, inputs]), name="gate")
    randomly(model)
    graph = exact(model)
    assert graph.operation("gated").inputs == ("input_quantized", "expand_sigmoid")
    assert graph.tensors["gated"].shape == (5, 4, 6)


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_table_reaches_what_its_inputs_reach(is_signed):
    declared = FixedPoint(4, 2, signed=is_signed)
    values = np.arange(16)[::-1] ** 2 % 11
    graph = IntegerGraph.build(
        "tables",
        [
            Input("x", (), (1, 1, 2), declared),
            Table("y", ("x",), values=values, format=FixedPoint(4, 4, False), is_signed=is_signed),
        ],
        ["y"],
    )
    raw = np.arange(declared.minimum, declared.maximum + 1).reshape(-1, 1, 1, 2)
    found = graph.evaluate({"x": raw})["y"]
    np.testing.assert_array_equal(found.ravel(), values)
    assert graph.tensors["y"].interval.high.tolist() == [values.max()] * 2
    assert graph.tensors["y"].interval.low.tolist() == [0] * 2


def test_a_table_of_another_size_than_its_input_is_refused():
    table = Table(
        "y", ("x",), values=np.zeros(8, np.int64), format=FixedPoint(4, 4), is_signed=True
    )
    with pytest.raises(DesignError, match=r"y: its table is not one of every value of fixed<4,2>"):
        IntegerGraph.build("tables", [Input("x", (), (1, 1, 1), FixedPoint(4, 2)), table], ["y"])


def test_shapes_that_cannot_be_multiplied_are_refused():
    left = Input("x", (), (2, 2, 3), FixedPoint(4, 2))
    right = Input("y", (), (1, 2, 3), FixedPoint(4, 2))
    with pytest.raises(DesignError, match=r"z: cannot multiply shapes \(2, 2, 3\) and"):
        IntegerGraph.build("product", [left, right, Multiply("z", ("x", "y"))], ["z"])


# --- the end of a network ----------------------------------------------------------------------


def test_a_softmax_at_the_end_is_left_out_and_said():
    from keras import layers

    with_own = sequence(
        layers.GlobalAveragePooling2D(name="mean"), layers.Dense(3, "softmax", name="dense")
    )
    with_layer = sequence(
        layers.GlobalAveragePooling2D(name="mean"),
        layers.Dense(3, name="dense"),
        layers.Softmax(name="softmax"),
    )
    for model, name in ((with_own, "dense"), (with_layer, "softmax")):
        assert read(model).notes == (
            f"the softmax of {name!r} is left out: the outputs are its logits "
            "(outputs.head: softmax has the hardware compute it)",
        )
        graph = exact(model)
        assert graph.outputs == ("dense_quantized",)


def test_the_logits_are_calibrated_not_the_probabilities():
    from keras import layers

    model = sequence(
        layers.GlobalAveragePooling2D(name="mean"), layers.Dense(3, "softmax", name="dense")
    )
    kernel, _ = model.get_layer("dense").get_weights()
    model.get_layer("dense").set_weights([kernel, np.array([-30.0, 0.0, 50.0])])
    _, graph = quantized(model)
    target = graph.tensors["dense_quantized"].format
    assert target.signed
    assert target.integer_bits == 7  # holds -30 and 50


def test_a_softmax_within_a_network_is_refused():
    from keras import layers

    model = sequence(
        layers.Dense(3, name="dense"),
        layers.Activation("softmax", name="attention"),
        layers.Dense(2, name="head"),
        shape=(4,),
    )
    with pytest.raises(DesignError, match=r"'attention' \(Activation\): activation 'softmax' is"):
        quantized(model)


def test_a_dense_layer_is_a_convolution_of_one_pixel():
    from keras import layers

    graph = exact(sequence(layers.Dense(3, name="dense"), shape=(4,)))
    dense = graph.operation("dense")
    assert isinstance(dense, Conv2D)
    assert dense.weights.shape == (1, 1, 4, 3)
