"""Model files that cannot be built, at the command line: every fault named, nothing written."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hwflow.errors import DesignError
from tests.flow.test_bad_input import refused

Fill = Callable[[Path], None]

DESIGN = """
name: theirs
network: {file: FILE}
verification: {source: noise, count: 1}
"""


def saved(model: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls HDF5 a legacy format
        model.save(path)


def of(*layers: Callable[[Any], Any], shape: tuple[int | None, ...] = (6, 5, 3)) -> Fill:
    """The file of a model of layers one after another."""

    def fill(path: Path) -> None:
        import keras

        tensor = given = keras.Input(shape, name="image")
        for layer in layers:
            tensor = layer(tensor)
        saved(keras.Model(given, tensor), path)

    return fill


def layer(class_name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """A layer of Keras or, by its Q, of QKeras; made when it is called."""

    def call(tensor: Any) -> Any:
        import keras
        import qkeras

        module = qkeras if class_name.startswith("Q") else keras.layers
        return getattr(module, class_name)(*arguments, **options)(tensor)

    return call


def conv(name: str = "conv", **options: Any) -> Callable[[Any], Any]:
    return layer("Conv2D", 3, 1, name=name, **options)


def described(change: Callable[[Any], None], *, version: str = "2.14.0") -> Fill:
    """The file of a small model, its description changed."""

    def fill(path: Path) -> None:
        of(conv(), conv("head"))(path)
        with h5py.File(path, "r+") as file:
            description = json.loads(file.attrs["model_config"])
            change(description["config"]["layers"])
            file.attrs["model_config"] = json.dumps(description)
            file.attrs["keras_version"] = version

    return fill


def renamed(index: int, name: str) -> Fill:
    def change(layers: Any) -> None:
        layers[index]["config"]["name"] = layers[index]["name"] = name

    return described(change)


def weighted(number: float) -> Fill:
    def fill(path: Path) -> None:
        of(conv())(path)
        with h5py.File(path, "r+") as file:
            file["model_weights/conv/conv/bias:0"][1] = number

    return fill


def content(data: bytes) -> Fill:
    return lambda path: path.write_bytes(data) and None


def cut(size: int) -> Fill:
    """The first bytes of a whole file."""

    def fill(path: Path) -> None:
        of(conv())(path)
        path.write_bytes(path.read_bytes()[:size])

    return fill


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def archive(version: str) -> Fill:
    """A .keras file with nothing but a description."""

    def fill(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("metadata.json", json.dumps({"keras_version": version}))
            config = {"name": "m", "layers": []}
            file.writestr("config.json", json.dumps({"class_name": "Functional", "config": config}))

    return fill


def two_inputs(path: Path) -> None:
    import keras

    given = [keras.Input((4, 4, 1), name=name) for name in ("left", "right")]
    saved(keras.Model(given, keras.layers.Add(name="add")(given)), path)


def nothing(path: Path) -> None:
    import keras

    given = keras.Input((4, 4, 1), name="image")
    saved(keras.Model(given, given), path)


def no_shape(path: Path) -> None:
    import keras

    model = keras.Sequential([keras.layers.Conv2D(2, 1, name="conv")])
    model.build((None, None, None, 3))
    saved(model, path)


def function(path: Path) -> None:
    import keras
    import tensorflow as tf

    given = keras.Input((4, 4, 1), name="image")
    saved(keras.Model(given, tf.sin(given)[:, 1:]), path)


def within(path: Path) -> None:
    """A fault in a model within a model."""
    import keras

    inputs = keras.Input((6, 5, 3))
    inner = keras.Model(inputs, keras.layers.LayerNormalization(name="norm")(inputs), name="inner")
    of(inner)(path)


BITS = "quantized_bits(4, 0, alpha=1)"
NO_KERNEL = "its kernel has no quantizer: every tensor must be quantized. Write kernel_quantizer="
NO_BIAS = (
    "its bias has no quantizer: every tensor must be quantized. "
    'Write bias_quantizer="quantized_bits(16, 4, alpha=1)", or use_bias=False'
)
MODELS: dict[str, tuple[Fill, tuple[str, ...]]] = {
    "a Lambda layer": (
        of(layer("Lambda", abs, name="hidden")),
        ("m.h5 hidden: is a Lambda layer, which hides its function",),
    ),
    "an unknown layer": (
        described(lambda layers: layers[1].update(class_name="MyConv")),
        ("m.h5 conv: is a MyConv: this kind of layer is not supported; supported are Activation,",),
    ),
    "a registered layer of its own": (
        described(lambda layers: layers[1].update(class_name="Custom>MyConv")),
        ("m.h5 conv: is a MyConv: this kind of layer is not supported",),
    ),
    "a dynamic shape": (
        of(conv(), shape=(None, None, 3)),
        ("m.h5 image: must have a fixed input shape, not (None, None, None, 3)",),
    ),
    "no shape": (no_shape, ("m.h5 conv", "must have a fixed input shape")),
    "vectors": (
        of(layer("Dense", 3, name="dense"), shape=(7,)),
        ("m.h5 image: must have an input of height, width and channels, not (7,)",),
    ),
    "channels first": (
        of(conv(data_format="channels_first")),
        ("m.h5 conv: must have data_format channels_last, not channels_first",),
    ),
    "NaN": (weighted(np.nan), ("m.h5 conv: bias must hold finite numbers, but has NaN",)),
    "infinity": (weighted(np.inf), ("m.h5 conv: bias must hold finite numbers, but has NaN",)),
    "two layers of a name": (
        renamed(2, "conv"),
        ("m.h5 conv: must have a name of its own, but two layers have this one",),
    ),
    "names that C++ takes for one": (
        of(conv("a.b"), conv("a_b")),
        ("m.h5 a_b: must have a name that differs from 'a.b' in C++ too (a_b)",),
    ),
    "a transposed convolution": (
        of(layer("Conv2DTranspose", 3, 2, name="enlarging")),
        ("m.h5 enlarging: is a Conv2DTranspose: this kind of layer is not supported",),
    ),
    "a recurrent layer": (
        of(layer("Reshape", (30, 3), name="steps"), layer("LSTM", 4, name="lstm")),
        ("m.h5 lstm: is a LSTM: this kind of layer is not supported",),
    ),
    "a wrapper": (
        of(lambda x: layer("TimeDistributed", layer_of_dense(), name="each")(x)),
        ("m.h5 each: is a TimeDistributed: this kind of layer is not supported",),
    ),
    "another function": (
        function,
        ("m.h5 tf.math.sin: the function tf.math.sin is not supported. Use layers of Keras",),
    ),
    "a layer within": (
        within,
        ("m.h5 inner/norm: is a LayerNormalization: this kind of layer is not supported",),
    ),
    "an unknown activation": (
        described(lambda layers: layers[1]["config"].update(activation="wave")),
        ("m.h5 conv: activation 'wave' is not supported",),
    ),
    "missing quantizers": (
        of(
            layer("QActivation", BITS, name="bits"),
            layer("QConv2D", 3, 1, bias_quantizer=BITS, name="no_kernel"),
            layer("QConv2D", 3, 1, kernel_quantizer=BITS, name="no_bias"),
            layer("QDepthwiseConv2D", 3, use_bias=False, name="neither"),
            conv("float"),
        ),
        (
            f"m.h5 no_kernel: {NO_KERNEL}",
            f"m.h5 no_bias: {NO_BIAS}",
            "m.h5 neither: its kernel has no quantizer",
            "m.h5 float: must be quantized, as other layers of the model are. Use QConv2D",
        ),
    ),
    "a scale of the data's own": (
        of(
            layer("QActivation", BITS, name="bits"),
            layer(
                "QConv2D",
                3,
                2,
                kernel_quantizer="quantized_bits(4, 0, alpha='auto')",
                bias_quantizer=BITS,
                name="scaled",
            ),
            layer("QActivation", "quantized_bits(4, 0, alpha='auto')", name="act"),
        ),
        (
            "m.h5: the kernel of layer 'scaled': the weights that quantized_bits gives are on no",
            "m.h5: layer 'act': alpha must be a constant power of two, not 'auto'",
        ),
    ),
    "two inputs": (two_inputs, ("m.h5: must have one input, not 2 (left, right)",)),
    "no layers": (nothing, ("m.h5: must have layers, but there is none besides the input",)),
    "nothing at all": (
        content(b""),
        ("must be a whole Keras 2 model", "Is the file truncated"),
    ),
    "another file": (content(b"\x08\x07\x12\x04onnx" * 99), ("must be a whole Keras 2 model",)),
    "half a file": (cut(3000), ("must be a whole Keras 2 model", "Is the file truncated")),
    "a huge file of nothing": (sparse, ("m.h5: must be a whole Keras 2 model",)),
    "a huge layer": (
        described(lambda layers: layers[1]["config"].update(filters=10**10)),
        ("m.h5 conv: must have at most 4,194,304 filters, not 10,000,000,000",),
    ),
    "another Keras": (
        described(lambda layers: None, version="3.4.1"),
        ("m.h5: must be written by Keras 2, not by Keras 3.4.1. Save it again with tf_keras",),
    ),
    "a .keras of Keras 3": (archive("3.0.0"), ("not by Keras 3.0.0",)),
    "a .keras of nothing": (archive("2.14.0"), ("must have layers",)),
    "a .keras of noise": (content(b"PK\x03\x04 and no more"), ("must be a whole Keras 2 model",)),
}


def layer_of_dense() -> Any:
    import keras

    return keras.layers.Dense(3)


def attempt(what: str, fill: Fill, texts: tuple[str, ...], folder: Path, *commands: str) -> str:
    """Runs commands on a file, which must be refused with nothing written."""
    path = folder / ("m.keras" if ".keras" in what else "m.h5")
    fill(path)
    design = folder / "theirs.yaml"
    design.write_text(DESIGN.replace("FILE", path.name))
    out = folder / "out"
    told = ""
    for command in commands:
        options = ["-o", out] if command == "build" else []
        told = refused(command, design, *options, code=DesignError.exit_code, texts=texts)
    assert [each.name for each in out.rglob("*") if each.is_file()] in ([], ["lock"])
    assert not (out / "theirs").exists()
    return told


@pytest.mark.parametrize("what", MODELS)
def test_a_bad_model(what: str, tmp_path: Path) -> None:
    fill, texts = MODELS[what]
    attempt(what, fill, texts, tmp_path, "build", "check")


def test_all_faults_of_a_model_are_told_at_once(tmp_path: Path) -> None:
    fill = of(
        conv("first", data_format="channels_first"),
        layer("Lambda", abs, name="hidden"),
        layer("Conv2DTranspose", 3, 2, name="enlarging"),
        layer("UnitNormalization", name="unit"),
        layer("MaxPooling2D", 2, name="pool"),
        shape=(8, 8, 8),
    )
    told = attempt("all", fill, (), tmp_path, "check")
    for name in ("first", "hidden", "enlarging", "unit"):
        assert told.count(f"m.h5 {name}:") == 1, told
    assert "pool:" not in told
