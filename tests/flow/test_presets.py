"""Every preset, on a small network of every kind of layer: exact from Keras to the hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow import presets
from hwflow.opset import Conv2D
from hwflow.sections import Quantization
from hwflow.simulate import csim, keras_reference
from hwflow.simulate.fast import FastEngine
from tests.support.quantized_chain import (
    assert_hardware_equals,
    pictures,
    quantized,
    raw_input,
)

keras = pytest.importorskip("keras")
L = keras.layers


def network() -> Any:
    """An inverted residual with squeeze-and-excite between a first and a last layer."""
    keras.backend.clear_session()
    image = keras.Input((6, 5, 3), name="image")
    x = L.ReLU(6.0, name="stem_relu")(L.Conv2D(8, 3, padding="same", name="stem")(image))
    y = L.ReLU(6.0, name="expand_relu")(L.Conv2D(12, 1, name="expand")(x))
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = L.ReLU(6.0, name="depthwise_relu")(y)
    gate = L.GlobalAveragePooling2D(keepdims=True, name="squeeze")(y)
    gate = L.ReLU(name="reduce_relu")(L.Conv2D(4, 1, name="reduce")(gate))
    gate = L.Activation("sigmoid", name="gate")(L.Conv2D(12, 1, name="excite")(gate))
    y = L.Multiply(name="scale")([y, gate])
    x = L.Add(name="add")([x, L.Conv2D(8, 1, name="project")(y)])
    x = L.Dense(4, name="dense")(L.GlobalAveragePooling2D(name="mean")(x))
    model = keras.Model(image, x, name="net")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([rng.normal(0, 0.4, w.shape) for w in layer.get_weights()])
    return model


def weights_of(graph: Any, layer: str) -> Any:
    """The real weights of a layer, its output channels last."""
    operation = graph.operation(layer)
    assert isinstance(operation, Conv2D)
    shifts = operation.shifts - operation.product_shift
    return operation.weight_format.to_float(operation.weights) * 2.0**shifts


def magnitudes(graph: Any, layer: str) -> Any:
    """How many different magnitudes each output channel has, and all together."""
    weights = np.abs(weights_of(graph, layer))
    by_channel = [np.unique(channel).size for channel in weights.reshape(-1, weights.shape[-1]).T]
    return max(by_channel), np.unique(weights).size


COMPILED = ("int4", "po2", "w8a16", "xnor")
"""Those that are compiled in every run of the tests: all widths and memories that occur."""


@pytest.mark.parametrize("name", presets.NAMES)
def test_every_preset_is_exact_from_keras_to_the_engine(name: str) -> None:
    model = network()
    images = pictures(model)
    made, graph = quantized(model, Quantization.model_validate({"preset": name}), images)
    expected = graph.evaluate(raw_input(graph, images))
    reference = keras_reference.evaluate_float64(made, graph, images)  # 16 bits exceed float32
    assert {"stem_relu", "depthwise_relu", "gate", "add_quantized"} <= set(reference)
    for tensor, values in reference.items():
        assert keras_reference.matches(values, expected[tensor], graph.tensors[tensor]).all(), (
            tensor
        )
    found = FastEngine(graph, 1).predict(raw_input(graph, images), keep=lambda name: True)
    for tensor, values in expected.items():
        np.testing.assert_array_equal(found[tensor], values, err_msg=tensor)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in COMPILED else pytest.mark.slow) for n in presets.NAMES],
)
def test_every_preset_is_exact_in_hardware(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csim, "FLAGS", tuple(f.replace("-O3", "-O0") for f in csim.FLAGS))
    model = network()
    images = pictures(model)
    made, graph = quantized(model, Quantization.model_validate({"preset": name}), images)
    assert_hardware_equals(made, graph, images, tmp_path)


# --- what each preset says of the weights --------------------------------------------------------


def graph_of(name: str, **more: Any) -> Any:
    return quantized(network(), Quantization.model_validate({"preset": name, **more}))[1]


def width_of(graph: Any, layer: str) -> int:
    operation = graph.operation(layer)
    assert isinstance(operation, Conv2D)
    return operation.weight_format.width


def test_binary_weights_are_signs_of_one_scale_and_xnors_of_one_a_filter() -> None:
    binary, xnor = graph_of("binary"), graph_of("xnor")
    assert magnitudes(binary, "expand") == (1, 1)
    by_channel, together = magnitudes(xnor, "expand")
    assert by_channel == 1
    assert together > 1
    for graph in (binary, xnor):
        assert [width_of(graph, n) for n in ("stem", "depthwise", "dense")] == [8, 8, 8]
        assert magnitudes(graph, "stem")[1] > 10


def test_ternary_weights_are_zero_or_one_magnitude_a_filter() -> None:
    graph = graph_of("ternary")
    assert set(np.unique(graph.operation("expand").weights)) == {-1, 0, 1}
    assert magnitudes(graph, "expand")[0] == 2
    assert width_of(graph, "depthwise") == 8


def test_powers_of_two_are_powers_of_two_everywhere() -> None:
    graph = graph_of("po2")
    for layer in ("stem", "expand", "depthwise", "dense"):
        logarithms = np.log2(np.abs(weights_of(graph, layer)))
        assert np.array_equal(logarithms, np.rint(logarithms))
        assert 2 < np.unique(logarithms).size <= 2**3 + 1


def test_dorefa_moves_large_weights_together() -> None:
    plain = graph_of("dorefa", weights={"curve": "none", "width": 12})
    curved = graph_of("dorefa", weights={"width": 12})
    before, after = (np.abs(weights_of(graph, "expand")) for graph in (plain, curved))
    largest, median = before.max(), np.median(before)
    assert after.max() == pytest.approx(largest, rel=0.01)
    # tanh bends: what is not the largest comes closer to it
    assert np.median(after) > median * 1.02
    assert width_of(graph_of("dorefa"), "expand") == 4


def test_pruned_and_shared_weights_stay_so() -> None:
    graph = graph_of("deep_compression", weights={"shared": 16})
    weights = weights_of(graph, "expand")
    assert np.count_nonzero(weights) == round(0.35 * weights.size)
    assert 8 < np.unique(weights).size <= 16
    model = network()
    few = [0, 0, 0, 0, 0, 0, 0, -0.31, 0.127, 0.5]
    given = np.random.default_rng(1).choice(few, (1, 1, 8, 12))
    model.get_layer("expand").set_weights([given, np.zeros(12)])
    kept = quantized(model, Quantization.model_validate({"preset": "deep_compression"}))[1]
    weights = weights_of(kept, "expand")
    np.testing.assert_array_equal(weights == 0, given == 0)
    assert np.unique(weights).size == np.unique(given).size == 4
    assert np.abs(weights - given).max() < 2.0**-15


def test_the_designs_own_keys_lie_over_the_presets() -> None:
    graph = graph_of(
        "int4",
        weights={"width": 5},
        last={"weights": {"width": 6}},
        layers={
            "stem": {"weights": {"width": 7}},
            "reduce": {"weights": {"values": "ternary", "width": 2}},
        },
    )
    assert width_of(graph, "expand") == 5
    assert width_of(graph, "stem") == 7  # by name, which comes before its role
    assert width_of(graph, "dense") == 6
    assert set(np.unique(graph.operation("reduce").weights)) <= {-1, 0, 1}
    assert graph.tensors["expand_relu"].format.width == 4
    assert graph.tensors["dense_quantized"].format.width == 8


def test_mixed_widths_follow_the_layers_roles() -> None:
    graph = graph_of("mixed")
    widths = {n: width_of(graph, n) for n in ("stem", "expand", "depthwise", "project", "dense")}
    assert widths == {"stem": 8, "expand": 4, "depthwise": 8, "project": 4, "dense": 8}
    assert graph.tensors["expand_relu"].format.width == 8


@pytest.mark.parametrize("name", presets.NAMES)
def test_a_preset_says_what_it_is(name: str) -> None:
    preset = presets.preset(name)
    assert preset.about.endswith(".")
    assert preset.source
    section = Quantization.model_validate({"preset": name})
    assert section.preset == name
    otherwise = section.model_copy(update={"preset": Quantization().preset})
    assert (otherwise == Quantization()) == (name == "int8")
