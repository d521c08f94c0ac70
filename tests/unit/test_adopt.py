"""A user's own QKeras model: what is built of it gives the same value for every tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.networks.flatten import flattened
from hwflow.opset import Conv2D, SumPool2D, Table
from hwflow.quantize.adopt import adopt, is_quantized
from hwflow.quantize.lower import lower
from hwflow.sections import Format
from hwflow.simulate.keras_reference import evaluate_float64, matches
from tests.support.quantized_chain import assert_equals_keras, pictures, raw_input

keras = pytest.importorskip("keras")
qkeras = pytest.importorskip("qkeras")
L = keras.layers

Layers = Callable[[Any], Any]

BITS = "quantized_bits(4, 0, alpha=1)"
WIDE = "quantized_bits(8, 2, alpha=1)"


def own_model(layers: Layers, shape: tuple[int, ...] = (6, 5, 3), seed: int = 0) -> Any:
    """A model of layers on a quantized input, with weights of which some are clipped."""
    given = keras.Input(shape, name="image")
    x = qkeras.QActivation("quantized_bits(8, 1, alpha=1)", name="image_bits")(given)
    model = keras.Model(given, layers(x), name="theirs")
    rng = np.random.default_rng(seed)
    for weights in model.weights:
        low = 0.2 if "variance" in weights.name else -0.9
        weights.assign(rng.uniform(low, 0.9, weights.shape))
    return model


def adopted(model: Any) -> tuple[Any, IntegerGraph, list[str]]:
    notes: list[str] = []
    made = adopt(flattened(model), Format(), pictures(model), notes.append)
    return made, lower(made, "theirs"), notes


def assert_exact(model: Any, *names: str) -> IntegerGraph:
    """Both models, in float32 and float64, agree with the integers; on the tensors named too."""
    made, graph, _ = adopted(model)
    images = pictures(model)
    assert_equals_keras(made, graph, images)
    assert set(names) <= assert_equals_keras(flattened(model), graph, images)
    raw = graph.evaluate(raw_input(graph, images))
    for name, values in evaluate_float64(made, graph, images).items():
        assert matches(values, raw[name], graph.tensors[name]).all(), name
    for name in names:
        assert len(np.unique(raw[name])) > 1, name
    return graph


def conv(name: str = "conv", **options: Any) -> Any:
    settings = {
        "kernel_quantizer": BITS,
        "kernel_initializer": "zeros",
        "bias_quantizer": WIDE,
        **options,
    }
    return qkeras.QConv2D(4, 3, name=name, **settings)


def act(text: Any, name: str = "act") -> Any:
    return qkeras.QActivation(text, name=name)


# --- weights -------------------------------------------------------------------------------------

KERNELS = {
    "quantized_bits(4, 0)": 8,  # QKeras makes the scale of each filter a power of two
    "quantized_bits(4, 0, alpha='auto_po2')": 8,
    "quantized_bits(5, 1, alpha=0.25)": 5,
    "quantized_bits(1, 0, alpha=1)": 2,
    "binary(alpha=1)": 2,
    "binary(alpha=0.5)": 2,
    "binary()": 4,
    "binary(use_01=True, alpha=1)": 2,
    "ternary(alpha=1)": 2,
    "ternary(alpha='auto_po2')": 4,
    "quantized_po2(4)": 9,
    "quantized_po2(4, max_value=1)": 10,
    "quantized_relu_po2(3)": 12,
    "quantized_relu(4, 0)": 5,
    "quantized_tanh(4)": 4,
}


def test_weights_of_every_quantizer_are_exact_integers() -> None:
    names = {quantizer: f"conv_{index}" for index, quantizer in enumerate(KERNELS)}
    convolutions = [conv(name, kernel_quantizer=text) for text, name in names.items()]
    graph = assert_exact(own_model(lambda x: [layer(x) for layer in convolutions]), *names.values())
    found = {}
    for quantizer, name in names.items():
        made = graph.operation(name)
        assert isinstance(made, Conv2D)
        assert made.weight_format.width <= KERNELS[quantizer], quantizer
        found[quantizer] = set(made.weights.ravel().tolist())
        assert len(found[quantizer]) > 1, quantizer
    assert found["binary(alpha=1)"] == {-1, 1}
    assert found["ternary(alpha=1)"] == {-1, 0, 1}


REFUSED_KERNELS = {
    "quantized_bits(4, 0, alpha='auto')": "that quantized_bits gives are on no fixed-point grid",
    "binary(alpha='auto')": "that binary gives are on no fixed-point grid of at most 24 bits",
    "stochastic_ternary()": "stochastic rounding has no hardware equivalent",
    "quantized_bits(4, 0, alpha=1, use_stochastic_rounding=True)": "stochastic rounding",
    "bernoulli()": "stochastic rounding has no hardware equivalent",
    "quantized_po2(8)": "that quantized_po2 gives are on no fixed-point grid of at most 24 bits",
}


@pytest.mark.parametrize("quantizer", REFUSED_KERNELS)
def test_weights_on_no_grid_are_refused(quantizer: str) -> None:
    model = own_model(conv(kernel_quantizer=quantizer))
    kernel, bias = model.get_layer("conv").get_weights()
    model.get_layer("conv").set_weights([kernel * 10.0 ** -np.arange(0, 16, 4), bias])
    with pytest.raises(DesignError, match=REFUSED_KERNELS[quantizer]) as caught:
        adopted(model)
    (fault,) = caught.value.faults
    assert "the kernel of layer 'conv'" in str(fault)
    assert 'Write kernel_quantizer="quantized_bits(8, 0, alpha=1)"' in str(fault)


# --- layers --------------------------------------------------------------------------------------


def folded(kind: Any, **options: Any) -> Any:
    return kind(
        kernel_size=3,
        strides=2,
        padding="same",
        bias_quantizer="quantized_bits(10, 3, alpha=1)",
        **options,
    )


DEPTHWISE = {"depthwise_quantizer": BITS, "depthwise_initializer": "zeros"}
KERNEL = {"kernel_quantizer": BITS, "kernel_initializer": "zeros"}
POINTWISE = {"pointwise_quantizer": BITS, "pointwise_initializer": "zeros"}
LAYERS: dict[str, Callable[[str], Any]] = {
    "folded": lambda name: folded(qkeras.QConv2DBatchnorm, filters=4, name=name, **KERNEL),
    "folded_without_bias": lambda name: folded(
        qkeras.QConv2DBatchnorm, filters=4, use_bias=False, name=name, **KERNEL
    ),
    "folded_batch_statistics": lambda name: folded(
        qkeras.QConv2DBatchnorm,
        filters=4,
        folding_mode="batch_stats_folding",
        activation="quantized_relu(6, 2)",
        name=name,
        **KERNEL,
    ),
    "folded_depthwise": lambda name: folded(
        qkeras.QDepthwiseConv2DBatchnorm, name=name, **DEPTHWISE
    ),
    "depthwise": lambda name: qkeras.QDepthwiseConv2D(
        3, depth_multiplier=2, bias_quantizer=WIDE, name=name, **DEPTHWISE
    ),
    "depthwise_without_bias": lambda name: qkeras.QDepthwiseConv2D(
        3, use_bias=False, name=name, **DEPTHWISE
    ),
    "separable": lambda name: qkeras.QSeparableConv2D(
        4, 3, bias_quantizer=WIDE, name=name, **POINTWISE, **DEPTHWISE
    ),
    "separable_with_activation": lambda name: qkeras.QSeparableConv2D(
        4,
        3,
        use_bias=False,
        activation="quantized_bits(6, 2, alpha=1)",
        name=name,
        **{**POINTWISE, "pointwise_quantizer": "ternary(alpha=1)"},
        **DEPTHWISE,
    ),
    "dilated": lambda name: conv(name, dilation_rate=(1, 2)),
    "dilated_depthwise": lambda name: qkeras.QDepthwiseConv2D(
        3, dilation_rate=(2, 2), padding="same", bias_quantizer=WIDE, name=name, **DEPTHWISE
    ),
    "dilated_separable": lambda name: qkeras.QSeparableConv2D(
        4, 3, dilation_rate=(2, 2), bias_quantizer=WIDE, name=name, **POINTWISE, **DEPTHWISE
    ),
    "dilated_folded": lambda name: qkeras.QConv2DBatchnorm(
        4, 3, dilation_rate=2, bias_quantizer=WIDE, name=name, **KERNEL
    ),
    "activation": lambda name: conv(name, activation="quantized_relu(4, 1)"),
    "symmetric": lambda name: conv(name, activation="quantized_bits(4, 1, 1, alpha=1)"),
    "hard_tanh": lambda name: conv(name, activation="quantized_tanh(4)"),
    "grouped": lambda name: qkeras.QConv2D(
        6, 3, groups=3, bias_quantizer=WIDE, name=name, **KERNEL
    ),
    "dense_on_pixels": lambda name: qkeras.QDense(
        4, bias_quantizer=WIDE, activation="quantized_relu(6, 2)", name=name, **KERNEL
    ),
    "normalized": lambda name: qkeras.QBatchNormalization(
        epsilon=0.0, gamma_quantizer="quantized_relu_po2(3)", name=name
    ),
    "normalized_by_offset": lambda name: qkeras.QBatchNormalization(
        epsilon=0.0, scale=False, name=name
    ),
    "averaged": lambda name: qkeras.QAveragePooling2D(
        (3, 2), activation="quantized_bits(6, 1, alpha=1)", name=name
    ),
    "averaged_by_a_factor": lambda name: qkeras.QAveragePooling2D(
        (2, 4),
        average_quantizer="quantized_bits(8, 0, alpha=1)",
        activation="quantized_bits(6, 1, alpha=1)",
        name=name,
    ),
    "averaged_by_a_rounded_factor": lambda name: qkeras.QAveragePooling2D(
        2, strides=1, average_quantizer="quantized_bits(4, 0, alpha=0.75)", name=name
    ),
}


def test_every_qkeras_layer_is_exact() -> None:
    layers = [make(name) for name, make in LAYERS.items()]
    assert_exact(own_model(lambda x: [layer(x) for layer in layers], shape=(8, 9, 3)), *LAYERS)


def test_batch_norm_after_a_dense_layer_is_a_factor_for_each_output() -> None:
    dense = qkeras.QDense(5, bias_quantizer=WIDE, name="dense", **KERNEL)
    norm = qkeras.QBatchNormalization(epsilon=0.0, gamma_quantizer="quantized_po2(4)", name="it")
    graph = assert_exact(own_model(lambda x: norm(dense(L.Flatten(name="flat")(x)))), "dense")
    assert graph.tensors[graph.outputs[0]].shape == (1, 1, 5)


@pytest.mark.parametrize("keepdims", [True, False])
def test_global_averages(keepdims: bool) -> None:
    rounded = {"average_quantizer": "quantized_bits(6, 0, alpha=0.75)", "name": "it"}
    plain = qkeras.QGlobalAveragePooling2D(
        activation="quantized_bits(8, 0, alpha=1)", keepdims=keepdims, name="it"
    )
    graph = assert_exact(own_model(plain), "it")
    assert isinstance(graph.operation("it_average"), SumPool2D)
    scaled = qkeras.QGlobalAveragePooling2D(keepdims=keepdims, **rounded)
    graph = assert_exact(own_model(scaled, shape=(4, 4, 3)))
    assert isinstance(graph.operation(graph.outputs[0]), Conv2D)
    with pytest.raises(DesignError, match=r"the average of 30 values has no exact float32"):
        adopted(own_model(qkeras.QGlobalAveragePooling2D(keepdims=keepdims, **rounded)))


def test_a_batch_norm_that_scales_by_roots_is_refused() -> None:
    norm = qkeras.QBatchNormalization(name="norm")
    with pytest.raises(DesignError, match=r"set epsilon=0, or fold the layer") as caught:
        adopted(own_model(norm))
    assert "layer 'norm' (QBatchNormalization): multiplies by numbers on no" in str(caught.value)


# --- activations ---------------------------------------------------------------------------------

ACTIVATIONS = (
    "quantized_tanh(4)",
    "quantized_tanh(4, symmetric=True)",
    "quantized_tanh(6, use_real_tanh=True)",
    "quantized_sigmoid(4)",
    "quantized_sigmoid(6, use_real_sigmoid=True)",
    "quantized_ulaw(4)",
    "quantized_relu(5, 1, negative_slope=0.25)",
    "quantized_relu(4, 1, use_sigmoid=1)",
    "quantized_bits(1, 0, alpha=1)",
    "quantized_po2(4)",
    "quantized_relu_po2(4)",
    "binary(alpha=1)",
    "binary()",
    "ternary(alpha=1)",
)


def test_every_quantizer_of_activations_is_a_table_or_a_rounding() -> None:
    hswish = qkeras.quantizers.quantized_hswish(6, 2, alpha=1)
    quantizers = {f"act_{index}": text for index, text in enumerate((*ACTIVATIONS, hswish))}
    heads = {f"head_{name}": conv(f"head_{name}") for name in quantizers}
    sums = conv("sums")

    def layers(x: Any) -> list[Any]:
        x = act("quantized_bits(9, 3, alpha=1)", "bits")(sums(x))
        made = [act(quantizer, name)(x) for name, quantizer in quantizers.items()]
        return [head(y) for head, y in zip(heads.values(), made, strict=True)]

    wide = next(name for name, text in quantizers.items() if text == "quantized_ulaw(4)")
    del heads[f"head_{wide}"]  # of 26 bits: its products are beyond what float32 adds exactly
    del quantizers[wide]
    graph = assert_exact(own_model(layers, shape=(8, 9, 3)), *quantizers, *heads)
    for name, text in quantizers.items():
        is_rounding = text in ("quantized_tanh(4)", "quantized_tanh(4, symmetric=True)")
        assert isinstance(graph.operation(name), Table) != is_rounding, text
    assert_exact(own_model(act("quantized_ulaw(4)")), "act")


def test_functions_of_qkeras_by_name_are_tabulated_by_the_next_quantizer() -> None:
    functions = ("hard_tanh", "smooth_sigmoid", "tanh", "hard_sigmoid")

    def layers(x: Any) -> list[Any]:
        bits = "quantized_bits(6, 0, alpha=1)"
        return [act(bits, f"{name}_bits")(act(name, f"{name}_it")(x)) for name in functions]

    graph = assert_exact(own_model(layers), *(f"{name}_bits" for name in functions))
    assert [op.kind for op in graph.operations].count("table") == len(functions)


def test_a_relu_by_name_is_absorbed() -> None:
    model = own_model(lambda x: act("quantized_bits(6, 2, alpha=1)")(conv(activation="relu")(x)))
    graph = assert_exact(model, "act")
    assert not graph.tensors["act"].format.signed


def test_a_function_of_wide_sums_is_refused_with_what_to_add() -> None:
    sums = conv(bias_quantizer="quantized_bits(16, 2, alpha=1)")
    model = own_model(lambda x: act("quantized_sigmoid(4)")(sums(x)))
    with pytest.raises(DesignError, match=r"layer 'act': the function before it needs a quantized"):
        adopted(model)


def test_scales_that_depend_on_the_data_are_refused() -> None:
    with pytest.raises(DesignError, match=r"layer 'act': .*not supported|alpha must be a constant"):
        adopted(own_model(act("binary(alpha='auto_po2')")))


# --- the whole -----------------------------------------------------------------------------------


def test_an_input_without_a_quantizer_gets_that_of_the_design() -> None:
    given = keras.Input((6, 5, 3), name="image")
    model = keras.Model(given, conv()(given))
    _, graph, notes = adopted(model)
    assert list(graph.tensors) == ["image_quantized", "conv"]
    assert notes == [
        f"no quantizer reads the input 'image': it is taken as "
        f"{graph.tensors['image_quantized'].format}, as the design's quantization.input has it"
    ]
    with pytest.raises(DesignError, match="conv"):
        adopt(keras.Model(given, L.Conv2D(2, 1, name="conv")(given)), Format(), pictures(model))


def test_a_softmax_at_the_end_is_left_out_and_said() -> None:
    dense = {"bias_quantizer": WIDE, "name": "dense", **KERNEL}
    for layers in (
        lambda x: qkeras.QDense(3, activation="softmax", **dense)(L.Flatten()(x)),
        lambda x: L.Activation("softmax", name="end")(qkeras.QDense(3, **dense)(L.Flatten()(x))),
        lambda x: act("softmax", "end")(qkeras.QDense(3, **dense)(L.Flatten()(x))),
    ):
        _, graph, notes = adopted(own_model(layers))
        assert "is left out: the outputs are its logits" in notes[0]
        assert graph.outputs[0].startswith("dense")


def test_a_softmax_elsewhere_is_refused() -> None:
    model = own_model(lambda x: act(BITS)(L.Activation("softmax", name="middle")(x)))
    with pytest.raises(DesignError, match=r"layer 'middle': activation 'softmax' is not supported"):
        adopted(model)


def test_shared_and_nested_qkeras_layers_are_witnessed_call_by_call() -> None:
    inner_input = keras.Input((6, 5, 4))
    x = conv("inner_conv", padding="same", kernel_quantizer="ternary(alpha=1)")(inner_input)
    inner = keras.Model(inner_input, act("quantized_relu(4, 1)", "inner_act")(x), name="inner")
    shared = qkeras.QConv2D(4, 1, bias_quantizer=WIDE, name="shared", **KERNEL)
    bits = act("quantized_bits(6, 2, alpha=1)", "bits")

    def layers(x: Any) -> Any:
        x = L.Dropout(0.5, name="drop")(inner(conv("stem", padding="same")(x)))
        return L.Add(name="sum")([bits(shared(x)), bits(shared(inner(x)))])

    graph = assert_exact(
        own_model(layers),
        *("inner_conv", "inner_act", "inner_conv_2", "inner_act_2"),
        *("shared", "shared_2", "bits", "bits_2", "sum"),
    )
    first, second = graph.operation("shared"), graph.operation("shared_2")
    assert isinstance(first, Conv2D)
    assert isinstance(second, Conv2D)
    np.testing.assert_array_equal(first.weights, second.weights)


def test_everything_that_is_not_quantized_is_named_at_once() -> None:
    def layers(x: Any) -> Any:
        x = conv("no_kernel", kernel_quantizer=None)(x)
        x = conv("no_bias", bias_quantizer=None)(x)
        x = L.BatchNormalization(name="plain_norm")(x)
        x = qkeras.QBatchNormalization(variance_quantizer=None, epsilon=0.0, name="norm")(x)
        x = act("quantized_bits(4, 0, alpha='auto')", "scaled")(x)
        return act("quantized_relu(4, 1)", "last")(x)

    with pytest.raises(DesignError) as caught:
        adopted(own_model(layers))
    wanted = [
        "the kernel of layer 'no_kernel' has no quantizer: every tensor must be quantized. Write",
        "the bias of layer 'no_bias' has no quantizer: every tensor must be quantized. Write "
        'bias_quantizer="quantized_bits(16, 4, alpha=1)", or use_bias=False',
        "layer 'plain_norm' (BatchNormalization): must be quantized, as other layers of the model "
        "are. Fold it (QConv2DBatchnorm), or use QBatchNormalization",
        "the variance of layer 'norm' has no quantizer",
    ]
    for text in wanted:
        assert text in str(caught.value)


def test_which_models_bring_their_quantizers() -> None:
    assert is_quantized(own_model(conv()))
    given = keras.Input((6, 5, 3))
    assert not is_quantized(keras.Model(given, L.Conv2D(2, 1)(given)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0], (2, 2)),
        ([1.0, -1.0], (2, 2)),
        ([0.75, -0.5], (3, 1)),
        ([2.0**-20], (2, -18)),
        ([96.0, 32.0], (3, 8)),
        ([-128.0, 127.0], (8, 8)),
        ([1.0, 2.0**-40], (42, 2)),
    ],
)
def test_the_narrowest_format_that_holds_values(
    values: list[float], expected: tuple[int, int]
) -> None:
    target = FixedPoint.holding(values)
    assert target is not None
    assert (target.width, target.integer_bits, target.signed) == (*expected, True)
    np.testing.assert_array_equal(target.to_float(target.quantize(values)), values)


@pytest.mark.parametrize("values", [[np.nan], [np.inf, 1.0], [1.0, 2.0**-60]])
def test_no_format_holds_what_is_not_finite_or_too_far_apart(values: list[float]) -> None:
    assert FixedPoint.holding(values) is None
