"""Models of a user's own, from the file to the hardware: every witness agrees on every tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hwflow import flow, keras_models
from hwflow.cli import app
from hwflow.errors import MismatchError
from hwflow.progress import SilentProgress
from hwflow.project import Project
from hwflow.simulate.keras_reference import KerasReference
from tests.support.data import data_path

DESIGN = """
name: theirs
network: {file: FILE}
preprocessing: {mean: 0, scale: 0.00390625}
quantization:
  weights: {width: 5}
  activations: {width: 6}
calibration: {source: noise, count: 2}
verification: {source: noise, count: 2}
"""


WITNESSES = ["integer", "model", "keras", "fast", "csim"]


def designed(folder: Path, model: Any, text: str = DESIGN) -> Path:
    file = model if isinstance(model, Path) else folder / "theirs.h5"
    if file is not model:
        rng = np.random.default_rng(7)
        for weights in model.weights:
            low = 0.3 if "variance" in weights.name else -0.5
            weights.assign(rng.uniform(low, 0.8, weights.shape))
        keras_models.save_keras(model, file)
    path = folder / "theirs.yaml"
    path.write_text(text.replace("FILE", str(file)))
    return path


def float_model() -> Any:
    """A model in a model, a shared layer, functions of TensorFlow, slopes and a chain of sums."""
    import keras
    import tensorflow as tf

    layers = keras.layers
    inputs = keras.Input((5, 6, 3))
    x = layers.SeparableConv2D(3, 3, padding="same", name="separable")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    block = keras.Model(inputs, layers.LeakyReLU(0.2, name="leaky")(x), name="block")
    shared = layers.Conv2D(3, 1, name="shared")
    given = keras.Input((5, 6, 3), name="image")
    x = shared(block(shared(given)))
    x = x * tf.nn.relu6(x + 3.0) / 6.0
    y = layers.Conv2D(3, 2, name="conv")(tf.pad(layers.ELU(0.5, name="elu")(x), PADDING))
    x = layers.Add(name="sum")([x, y, given])
    x = layers.Dense(4, activation="softplus", name="pixels")(x)
    x = tf.concat([tf.reduce_mean(x, axis=[1, 2]), layers.GlobalMaxPooling2D(name="top")(x)], 1)
    return keras.Model(given, layers.Dense(3, activation="softmax", name="classes")(x))


PADDING = [[0, 0], [1, 0], [0, 1], [0, 0]]


def quantized_model() -> Any:
    """QKeras's own layers: folded, nested and shared, with a table and binary weights."""
    import keras
    import qkeras

    bits, wide = "quantized_bits(5, 0, alpha=1)", "quantized_bits(10, 2, alpha=1)"
    options = {"kernel_initializer": "zeros", "bias_quantizer": wide}
    inputs = keras.Input((5, 6, 4))
    x = qkeras.QDepthwiseConv2DBatchnorm(
        3,
        padding="same",
        depthwise_quantizer=bits,
        depthwise_initializer="zeros",
        bias_quantizer=wide,
        activation="quantized_bits(7, 2, alpha=1)",
        name="folded",
    )(inputs)
    x = qkeras.QActivation("quantized_tanh(5, use_real_tanh=True)", name="tanh")(x)
    block = keras.Model(inputs, x, name="block")
    shared = qkeras.QConv2D(4, 1, kernel_quantizer="binary(alpha=1)", name="shared", **options)
    relu = qkeras.QActivation("quantized_relu(5, 2)", name="relu")
    given = keras.Input((5, 6, 3), name="image")
    x = qkeras.QConv2D(4, 3, padding="same", kernel_quantizer=bits, name="stem", **options)(given)
    x = relu(shared(block(relu(x))))
    x = keras.layers.Add(name="sum")([x, relu(shared(block(x)))])
    x = qkeras.QGlobalAveragePooling2D(activation="quantized_bits(8, 2, alpha=1)", name="mean")(x)
    x = qkeras.QDense(3, kernel_quantizer="ternary(alpha=1)", name="classes", **options)(x)
    return keras.Model(given, keras.layers.Activation("softmax", name="softmax")(x))


def test_a_float_model_of_nested_and_shared_layers_and_functions(tmp_path: Path) -> None:
    result = flow.build(designed(tmp_path, float_model()), tmp_path / "out")
    verification = result.metrics["verification"]
    assert verification["status"] == "exact"
    names = {layer["name"] for layer in verification["layers"]}
    assert {"shared", "shared_2", "separable_depthwise", "leaky", "tf_math_truediv"} <= names
    assert {"elu", "pixels_softplus", "tf_concat", "classes_quantized"} <= names


def dilated_model() -> Any:
    """What DeepLab ends in: one map read at several rates, beside its mean."""
    import keras

    layers = keras.layers
    given = keras.Input((9, 10, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(given)
    read = [layers.Conv2D(3, 1, activation="relu", name="rate_1")(x)]
    read += [
        layers.Conv2D(
            3, 3, dilation_rate=rate, padding="same", use_bias=False, name=f"rate_{rate}"
        )(x)
        for rate in (2, 6)
    ]
    read.append(
        layers.SeparableConv2D(3, 3, dilation_rate=(1, 2), padding="same", name="separable")(x)
    )
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    mean = layers.Conv2D(3, 1, activation="relu", name="pooled")(mean)
    read.append(layers.UpSampling2D((5, 5), interpolation="bilinear", name="spread")(mean))
    x = layers.BatchNormalization(name="norm")(layers.Concatenate(name="pyramid")(read))
    x = layers.DepthwiseConv2D(2, dilation_rate=(3, 2), name="valid")(x)
    return keras.Model(given, layers.Conv2D(2, 1, name="classes")(x))


def test_a_model_of_dilated_windows(tmp_path: Path) -> None:
    result = flow.build(designed(tmp_path, dilated_model()), tmp_path / "out")
    verification = result.metrics["verification"]
    assert verification["status"] == "exact"
    assert {"keras", "fast", "csim"} <= set(verification["witnesses"])
    names = {layer["name"] for layer in verification["layers"]}
    assert {"rate_2", "rate_6", "separable_depthwise", "pyramid", "valid"} <= names
    written = json.loads((result.project / "integer_graph.json").read_text())
    rates = {op["name"]: op["attributes"].get("dilation") for op in written["operations"]}
    assert rates["rate_6"] == [6, 6]
    assert rates["separable_depthwise"] == [1, 2]
    assert rates["valid"] == [3, 2]
    assert rates["stem"] is None


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, flow.BuildResult]:
    """A design of the small QKeras model, and what was built of it."""
    folder = tmp_path_factory.mktemp("theirs")
    design = designed(folder, quantized_model())
    return design, flow.build(design, folder / "out")


Theirs = tuple[Path, flow.BuildResult]


def test_a_qkeras_model_by_its_own_quantizers(theirs: Theirs) -> None:
    verification = theirs[1].metrics["verification"]
    assert verification["status"] == "exact"
    assert verification["witnesses"] == WITNESSES
    names = {layer["name"] for layer in verification["layers"]}
    assert {"folded", "folded_2", "tanh", "tanh_2", "shared", "shared_2"} <= names
    assert {"stem", "relu", "relu_2", "relu_3", "sum", "mean", "classes"} <= names
    given = Project(theirs[1].project).given
    assert type(given.get_layer("folded_2")).__name__ == "QDepthwiseConv2DBatchnorm"


def test_what_a_design_says_of_quantizers_that_the_model_brings_is_told(theirs: Theirs) -> None:
    class Notes(SilentProgress):
        told: list[str] = []

        def note(self, text: str) -> None:
            self.told.append(text)

    out = theirs[0].parent / "out"
    flow.build(theirs[0], out, start="quantize", stop="quantize", progress=Notes())
    (told,) = [text for text in Notes.told if "of the design" in text]
    assert told.startswith("quantization.activations, quantization.weights of the design: not used")


def test_check_describes_a_qkeras_model(theirs: Theirs) -> None:
    done = CliRunner().invoke(app, ["check", str(theirs[0]), "--json"])
    described = json.loads(done.stdout)
    assert [layer["name"] for layer in described["layers"]][:2] == ["image_quantized", "stem"]
    metrics = theirs[1].metrics
    assert sum(layer["parameters"] for layer in described["layers"]) == metrics["parameters"]
    assert sum(layer["macs"] for layer in described["layers"]) == metrics["macs"]


def test_a_built_project_still_asks_the_users_model(
    theirs: Theirs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other images agree; a tensor that only the user's model has otherwise is found."""
    other = np.random.default_rng(3).integers(0, 256, (2, 5, 6, 3)) / 256
    np.save(tmp_path / "other.npy", other)
    again = flow.verify(theirs[1].project, images=tmp_path / "other.npy")
    assert again["status"] == "exact"
    assert again["witnesses"] == WITNESSES
    stream = KerasReference.stream

    def wrong(self: Any, images: Any) -> Any:
        theirs = any("Batchnorm" in type(layer).__name__ for layer in self.model.layers)
        for name, values in stream(self, images):
            yield name, values + 2.0**-4 if theirs and name == "tanh" else values

    monkeypatch.setattr(KerasReference, "stream", wrong)
    with pytest.raises(MismatchError, match="model differs first at layer 'tanh', image 0"):
        flow.verify(theirs[1].project, images=tmp_path / "other.npy")


FOREIGN = """
name: foreign
network: {file: FILE}
preprocessing: {mean: 0, scale: 0.00390625}
verification: {source: noise, count: 4}
"""


@pytest.mark.slow
def test_a_qkeras_model_that_others_trained_builds_unedited(tmp_path: Path) -> None:
    file = data_path("weights/resnet_tiny_qkeras/model_best.h5")
    result = flow.build(designed(tmp_path, file, FOREIGN), tmp_path / "out")
    verification = result.metrics["verification"]
    assert verification["status"] == "exact"
    assert verification["witnesses"] == WITNESSES
    assert verification["values_by_witness"]["model"] == 4 * (6 * 8 * 8 * 32 + 10)
    assert result.metrics["parameters"] == 39_882
