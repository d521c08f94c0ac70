"""Who gets which format: the least error by brute force, shared groups, overrides."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.errors import DesignError, Fault, of_layers
from hwflow.fixed_point import FixedPoint
from hwflow.quantize import policy, scales
from hwflow.quantize.build import quantize
from hwflow.quantize.calibrate import calibrate
from hwflow.quantize.float_graph import read
from hwflow.quantize.lower import lower
from hwflow.quantize.qkeras import largest_exponent
from hwflow.quantize.roles import OfNetwork
from hwflow.sections import Quantization

keras = pytest.importorskip("keras")
L = keras.layers
EXACT = settings(deadline=None, derandomize=True, database=None, max_examples=80)


def error_of(values: Any, target: FixedPoint) -> float:
    """The summed squared error, by the format itself and not the policy's shortcut."""
    difference = target.to_float(target.quantize(values)) - values
    return float(np.sum(difference * difference))


def section(**given: Any) -> Quantization:
    return Quantization.model_validate(given)


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
@EXACT
def test_integer_bits_hold_the_range_and_no_fewer_do(low: float, span: float) -> None:
    high = low + span
    bits = policy.integer_bits_to_hold(low, high)
    if max(high, -low) <= 0:
        assert bits == 0
        return
    assert -low <= 2.0**bits
    assert high < 2.0**bits
    assert -low > 2.0 ** (bits - 1) or high >= 2.0 ** (bits - 1)


@given(st.integers(2, 12), st.integers(-6, 6), st.booleans(), st.integers(0, 10**6), st.booleans())
@EXACT
def test_squared_error_is_that_of_the_format(
    width: int, integer_bits: int, signed: bool, seed: int, single: bool
) -> None:
    rng = np.random.default_rng(seed)
    target = FixedPoint(width, integer_bits, signed)
    kind = np.float32 if single else np.float64
    values = rng.integers(-400, 400, 50).astype(kind) * kind(target.lsb / 4)
    found = policy.squared_error(values, target)
    assert found == pytest.approx(error_of(values.astype(np.float64), target), rel=1e-6)


@pytest.mark.parametrize("width", [2, 3, 4, 8, 12, 16])
def test_weights_get_the_format_of_least_error(width: int) -> None:
    rng = np.random.default_rng(width)
    for scale, heavy in itertools.product((1e-4, 0.03, 1.0, 300.0), (False, True)):
        values = rng.standard_t(3, 400) if heavy else rng.normal(size=400)
        values = values * scale
        target = scales.per_tensor(values, scales.linear(width)).format
        assert (target.width, target.signed) == (width, True)
        top = policy.integer_bits_to_hold(values.min(), values.max())
        errors = {
            bits: error_of(values, FixedPoint.from_qkeras(width, bits))
            for bits in range(top - policy.CANDIDATES, top + 4)
            if bits >= -largest_exponent(width)  # what QKeras can scale exactly
        }
        assert error_of(values, target) == min(errors.values())


def test_of_equal_formats_the_widest_range_is_taken() -> None:
    values = np.array([0.5, -0.25, 0.0])
    target = scales.per_tensor(values, scales.linear(8)).format
    assert error_of(values, target) == 0
    assert target.integer_bits == policy.integer_bits_to_hold(-0.25, 0.5) + 1
    assert not scales.per_tensor(np.zeros(3), scales.linear(8)).values.any()


def test_given_integer_bits_are_kept() -> None:
    assert scales.per_tensor(np.array([5.0]), scales.linear(6), -1).format == FixedPoint(6, -1)
    assert policy.bias_format(np.array([5.0]), 8, 4, 20) == FixedPoint(8, 4)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=6), st.integers(2, 24), st.integers(0, 30))
@EXACT
def test_biases_are_held_and_no_finer_than_the_products(
    values: list[float], width: int, product_fraction: int
) -> None:
    biases = np.array(values)
    target = policy.bias_format(biases, width, None, product_fraction)
    assert target.signed
    assert 2 <= target.width <= max(width, 2)
    assert target.fraction_bits <= product_fraction or target.width == 2
    error = np.abs(target.to_float(target.quantize(biases)) - biases)
    assert (error <= target.lsb).all()  # one unit: the greatest may saturate by rounding up


# --- points, groups, overrides -----------------------------------------------------------------


def fire(widths: dict[str, int] | None = None) -> Any:
    """Two branches of different ranges that are concatenated, then a sum."""
    x = image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", name="squeeze")(x)
    x = L.ReLU(name="squeeze_relu")(x)
    left = L.ReLU(name="left_relu")(L.Conv2D(4, 1, name="left")(x))
    right = L.ReLU(name="right_relu")(L.Conv2D(4, 3, padding="same", name="right")(x))
    joined = L.Concatenate(name="concat")([left, right])
    linear = L.Conv2D(8, 1, name="linear")(joined)
    total = L.Add(name="add")([joined, linear])
    pooled = L.MaxPooling2D(2, name="pool")(total)
    model = keras.Model(image, L.GlobalAveragePooling2D(name="mean")(pooled))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        gain = 6.0 if layer.name == "right" else 0.5
        layer.set_weights([rng.normal(0, gain, w.shape) for w in layer.get_weights()])
    return model


IMAGES = np.random.default_rng(3).normal(size=(6, 8, 8, 3)).astype(np.float32)


def test_every_computed_tensor_is_quantized_once() -> None:
    points = policy.points_of(read(fire()), section())
    assert [(point.name, point.node) for point in points] == [
        ("image_quantized", "image"),
        ("squeeze_relu", "squeeze_relu"),
        ("left_relu", "left_relu"),
        ("right_relu", "right_relu"),
        ("linear_quantized", "linear"),
        ("add_quantized", "add"),
        ("mean_quantized", "mean"),
    ]


def test_what_is_concatenated_shares_a_format() -> None:
    model = fire()
    graph = read(model)
    points = policy.points_of(graph, section())
    groups = {point.name: point.group for point in points}
    assert groups["left_relu"] == groups["right_relu"]
    assert len(set(groups.values())) == len(groups) - 1
    formats = calibrate(model, graph, points, IMAGES)
    assert formats["left_relu"] == formats["right_relu"]
    assert formats["left_relu"].integer_bits > formats["squeeze_relu"].integer_bits


def test_calibrated_formats_have_the_least_error() -> None:
    model = fire()
    graph = read(model)
    points = policy.points_of(graph, section(activations={"width": 5}))
    formats = calibrate(model, graph, points, IMAGES)
    groups: dict[str, list[Any]] = {}
    for point in points:
        tensor = model.get_layer(graph.node(point.node).source).output
        values = np.asarray(keras.Model(model.inputs, tensor).predict_on_batch(IMAGES), np.float64)
        groups.setdefault(point.group, []).append(values.ravel())
    for point in points:
        values = np.concatenate(groups[point.group])
        chosen = formats[point.name]
        assert chosen.signed == bool(values.min() < 0)
        assert chosen.width == point.width
        if point.node == "mean":  # the output
            assert chosen.qkeras_integer == policy.integer_bits_to_hold(values.min(), values.max())
            continue
        errors = [
            error_of(values, FixedPoint.from_qkeras(point.width, bits, chosen.signed))
            for bits in range(12)
        ]
        assert error_of(values, chosen) == pytest.approx(min(errors), rel=1e-5)


def test_what_follows_the_last_layer_is_last_too() -> None:
    """As in SqueezeNet, whose output is the average of its last convolution's ReLU."""
    x = image = keras.Input((4, 4, 3), name="image")
    for name in ("first", "second"):
        x = L.ReLU(name=f"{name}_relu")(L.Conv2D(4, 1, name=name)(x))
    graph = read(keras.Model(image, L.GlobalAveragePooling2D(name="mean")(x)))
    points = policy.points_of(graph, OfNetwork(section(preset="int4"), graph))
    assert {point.name: point.width for point in points} == {
        "image_quantized": 8,
        "first_relu": 4,
        "second_relu": 8,
        "mean_quantized": 8,
    }


def test_outputs_are_not_clipped() -> None:
    """A logit of a thousand is far from all others: the least squared error would clip it."""
    image = keras.Input((1, 1, 1000), name="image")
    x = L.ReLU(name="hidden_relu")(L.Conv2D(1000, 1, groups=1000, name="hidden")(image))
    model = keras.Model(image, L.Flatten(name="flat")(L.Conv2D(1000, 1, name="logits")(x)))
    model.set_weights(
        [np.ones((1, 1, 1, 1000)), np.zeros(1000), np.eye(1000)[None, None], np.zeros(1000)]
    )
    values = np.random.default_rng(0).uniform(0, 3.9, (1, 1, 1, 1000))
    values[0, 0, 0, 7] = 4.5
    graph = read(model)
    points = policy.points_of(graph, section(activations={"width": 4}))
    formats = calibrate(model, graph, points, values.astype(np.float32))
    assert formats["hidden_relu"].qkeras_integer == 2
    assert formats["logits_quantized"].qkeras_integer == 3
    assert policy.output_groups(graph, points) == {"logits"}


def test_layers_and_patterns_override_widths_field_by_field() -> None:
    chosen = section(
        weights={"width": 7},
        activations={"width": 6},
        biases={"width": 14},
        input={"width": 5},
        layers={
            "*": {"weights": {"width": 4}},
            "left*": {"activations": {"width": 9}},
            "left": {"weights": {"integer_bits": 2}},
            "right_relu": {"activations": {"width": 10, "integer_bits": 8}},
            "squeeze": {"activations": {"width": 3}},
        },
    )
    model = quantize(fire(), chosen, IMAGES)
    graph = lower(model, "fire")
    widths = {name: tensor.format.width for name, tensor in graph.tensors.items()}
    assert widths["image_quantized"] == 5
    assert widths["squeeze_relu"] == 3  # of the layer above, where the activation has none
    assert widths["left_relu"] == 9
    assert graph.tensors["right_relu"].format == FixedPoint(10, 8, False)
    assert widths["linear_quantized"] == 6
    left, right = graph.operation("left"), graph.operation("right")
    assert left.weight_format == FixedPoint(4, 2)  # type: ignore[attr-defined]
    assert right.weight_format.width == 4  # type: ignore[attr-defined]


def test_all_impossible_widths_are_named_at_once() -> None:
    chosen = section(
        weights={"width": 1},
        biases={"width": 25},
        input={"width": 30},
        layers={"add": {"activations": {"width": 32}}, "linear": {"activations": {"width": 1}}},
    )

    def fault(path: str, message: str) -> Fault:
        return Fault("design.yaml:3:4", path, message)

    with pytest.raises(DesignError) as caught:
        quantize(fire(), chosen, IMAGES, fault)
    layers = "layers 'squeeze', 'left', 'right' and 'linear'"
    reason = "one bit needs `values: binary`, and Keras stores weights in float32"
    assert [str(item) for item in caught.value.faults] == [
        f"design.yaml:3:4 {told}"
        for told in (
            f"quantization.weights.width: must be from 2 to 24 for {layers}, not 1: {reason}",
            f"quantization.biases.width: must be from 2 to 24 for {layers}, not 25: {reason}",
            "quantization.input.width: must be from 2 to 24 for layer 'image', not 30",
            "quantization.layers.linear.activations.width: must be from 2 to 24 for layer "
            "'linear', not 1",
            "quantization.layers.add.activations.width: must be from 2 to 24 for layer 'add', "
            "not 32",
        )
    ]


def test_integer_bits_that_leave_none_for_a_sign() -> None:
    chosen = section(
        activations={"integer_bits": 0}, layers={"left*": {"activations": {"integer_bits": 1}}}
    )
    with pytest.raises(DesignError) as caught:
        quantize(fire(), chosen, IMAGES)
    (told,) = caught.value.faults
    assert told.subject == "quantization.activations.integer_bits"
    assert told.message.startswith("must be at least 1 for layer")
    assert "'linear'" in told.message
    assert "'left" not in told.message
    assert "_relu" not in told.message  # they have no sign


def test_the_place_of_what_holds_for_a_layer() -> None:
    chosen = section(
        weights={"width": 7},
        first={"weights": {"width": 6}},
        layers={"a*": {"weights": {"width": 5}, "biases": {"width": 9}}, "ab": {"weights": {}}},
    )
    assert chosen.place_of("weights.width", "b") == "quantization.weights.width"
    assert chosen.place_of("weights.width", "b", ("first",)) == "quantization.first.weights.width"
    assert chosen.place_of("biases.width", "b", ("first",)) == "quantization.biases.width"
    for name in ("a", "ab"):
        place = chosen.place_of("weights.width", name, ("first",))
        assert place == "quantization.layers.a*.weights.width"
        assert chosen.for_layer(name, ("first",)).weights.width == 5


def test_faults_that_differ_by_the_layer_are_one() -> None:
    same, other = Fault("d:1:2", "x.y", "must not be for {layers}"), Fault("", "z", "no {layers}")
    told = [(name, same) for name in "abcdefgh"]
    assert of_layers([told[0], ("q", other), *told[1:]]) == [
        Fault("d:1:2", "x.y", "must not be for layers 'a', 'b', 'c', 'd', 'e', 'f' and 2 more"),
        Fault("", "z", "no layer 'q'"),
    ]
    assert [fault.message for fault in of_layers(told[:2])] == [
        "must not be for layers 'a' and 'b'"
    ]


def test_values_that_are_not_finite_are_refused() -> None:
    images = IMAGES.copy()
    images[2, 0, 0, 0] = np.inf
    with pytest.raises(DesignError, match="layer 'image' gives values that are not finite"):
        quantize(fire(), section(), images)


def test_weights_of_few_values_have_their_width() -> None:
    chosen = section(
        weights={"values": "binary", "width": 8},
        layers={
            "linear": {"weights": {"values": "powers_of_two", "width": 6}},
            "left": {"weights": {"values": "ternary", "width": 2, "integer_bits": 1}},
            "right": {"weights": {"values": "ternary", "width": 2, "density": 0.5}},
            "squeeze": {"weights": {"density": 0.5}},
        },
    )
    with pytest.raises(DesignError) as caught:
        quantize(fire(), chosen, np.zeros((1, 8, 8, 3), np.float32))
    told = [fault.message for fault in caught.value.faults]
    assert told == [
        "must be 1 for the binary weights of layer 'squeeze', not 8",
        "must not be given for the binary weights of layer 'squeeze': none can be 0",
        "must not be given for the ternary weights of layer 'left', which have a scale",
        "must be from 2 to 5 for the powers_of_two weights of layer 'linear', not 6",
    ]
