"""QKeras quantizers and their exact formats, and models that QKeras alone can load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow
from hwflow.quantize import qkeras
from hwflow.quantize.build import quantize
from hwflow.quantize.inference import predict
from hwflow.sections import Quantization


def all_raw(target: FixedPoint) -> Any:
    return np.arange(target.minimum, target.maximum + 1)


@pytest.mark.parametrize("integer_bits", [-7, -2, 0, 1, 2, 5, 8, 11])
@pytest.mark.parametrize("width", [2, 3, 8, 11])
def test_stored_weights_return_from_their_quantizer(width: int, integer_bits: int) -> None:
    target = FixedPoint(width, integer_bits)
    quantizer = qkeras.weight_quantizer(target)
    assert qkeras.format_of(quantizer, "it") == target
    raw = all_raw(target)
    stored = qkeras.stored(raw, target).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(quantizer(stored), np.float64), target.to_float(raw))
    found = qkeras.raw_weights(stored, quantizer, "it")
    np.testing.assert_array_equal(found.values, raw)
    assert (found.format, found.shifts) == (target, None)


@pytest.mark.parametrize("integer_bits", [-6, -1, 1, 4])
def test_scales_by_channel_return_from_their_quantizer(integer_bits: int) -> None:
    target = FixedPoint(6, integer_bits)
    shifts = np.array([[0, 3, 9]])
    quantizer = qkeras.weight_quantizer(target, shifts)
    raw = np.stack([all_raw(target)] * 3, axis=1)
    stored = qkeras.stored(raw, target).astype(np.float32)
    expected = target.to_float(raw) * 2.0**shifts
    np.testing.assert_array_equal(np.asarray(quantizer(stored), np.float64), expected)
    found = qkeras.raw_weights(stored, quantizer, "it")
    np.testing.assert_array_equal(found.values, raw)
    np.testing.assert_array_equal(found.to_float(), expected)
    assert found.format == target
    assert found.shifts is not None
    np.testing.assert_array_equal(found.shifts, np.broadcast_to(shifts, raw.shape))


def test_what_float32_cannot_shift_exactly_is_not_asked_of_it() -> None:
    width = 20
    bound = qkeras.largest_exponent(width)
    raw = np.array([-(2 ** (width - 1)), -12345, 1, 2 ** (width - 1) - 1])
    for integer_bits in (1 - bound, 1 - bound - 1):
        target = FixedPoint(width, integer_bits)
        quantizer = qkeras.weight_quantizer(target)
        stored = qkeras.stored(raw, target).astype(np.float32)
        same = np.array_equal(np.asarray(quantizer(stored), np.float64), target.to_float(raw))
        assert same or integer_bits < 1 - bound


@pytest.mark.parametrize("integer_bits", [-6, -1, 0])
def test_negative_integer_bits_through_alpha_quantize_as_the_format(integer_bits: int) -> None:
    target = FixedPoint(5, integer_bits)
    quantizer = qkeras.weight_quantizer(target)
    scale = 2.0 ** min(target.qkeras_integer, 0)
    quarters = np.arange(-150, 151) * (target.lsb / 4)
    got = np.asarray(quantizer((quarters / scale).astype(np.float32)), np.float64)
    np.testing.assert_array_equal(got, target.to_float(target.quantize(quarters)))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("integer", [0, 1, 4, 9])
def test_activation_quantizers_are_the_format(signed: bool, integer: int) -> None:
    target = FixedPoint(6, integer + signed, signed)
    quantizer = qkeras.activation_quantizer(target)
    assert qkeras.format_of(quantizer, "it") == target
    values = (np.arange(-700, 701) * (target.lsb / 4)).astype(np.float32)
    got = np.asarray(quantizer(values), np.float64)
    np.testing.assert_array_equal(got, target.to_float(target.quantize(values)))


def test_activations_have_no_negative_integer_bits() -> None:
    with pytest.raises(DesignError, match=r"no activation quantizer with the range of fixed<8,0>"):
        qkeras.activation_quantizer(FixedPoint(8, 0))


def bits(*arguments: Any, **options: Any) -> Any:
    from qkeras import quantized_bits

    return quantized_bits(*arguments, **options)


def relu(*arguments: Any, **options: Any) -> Any:
    from qkeras import quantized_relu

    return quantized_relu(*arguments, **options)


def other(name: str) -> Any:
    import qkeras as library

    return getattr(library, name)()


REFUSED = {
    "nothing": (lambda: None, "has no quantizer: every tensor must be quantized"),
    "a name": (lambda: "relu", "has no quantizer"),
    "a function": (lambda: lambda x: x, "has no quantizer"),
    "stochastic rounding": (
        lambda: bits(8, 0, alpha=1.0, use_stochastic_rounding=True),
        "stochastic rounding",
    ),
    "noise": (lambda: bits(8, 0, alpha=1.0, qnoise_factor=0.5), "qnoise_factor must be 1, not 0.5"),
    "alpha auto": (lambda: bits(8, 0, alpha="auto"), "constant power of two, not 'auto'"),
    "alpha three": (lambda: bits(8, 0, alpha=3.0), "constant power of two, not 3.0"),
    "alpha below zero": (lambda: bits(8, 0, alpha=-1.0), "constant power of two"),
    "alpha of channels": (lambda: bits(8, 0, alpha=[1.0, 2.0]), "constant power of two"),
    "a sign alone": (
        lambda: bits(1, 0, alpha=1.0),
        "binary quantizers are not supported for activations",
    ),
    "sigmoid": (lambda: relu(8, 0, use_sigmoid=1), "no sigmoid and no negative slope"),
    "slope": (lambda: relu(8, 0, negative_slope=0.25), "no sigmoid and no negative slope"),
    "upper bound": (
        lambda: relu(8, 3, relu_upper_bound=6, is_quantized_clip=False),
        "relu_upper_bound is not supported",
    ),
    "another kind": (lambda: other("quantized_tanh"), "quantizer quantized_tanh is not supported"),
    "powers of two": (lambda: other("quantized_po2"), "quantizer quantized_po2 is not supported"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_quantizers_without_an_exact_format_are_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(DesignError, match=message) as caught:
        qkeras.format_of(make(), "layer 'x'")
    assert "layer 'x'" in str(caught.value)


def test_formats_of_quantizers_by_hand() -> None:
    assert qkeras.format_of(bits(8, 2, alpha=1.0), "it") == FixedPoint(8, 3)
    assert qkeras.format_of(bits(8, 2, alpha=None), "it") == FixedPoint(8, 3)
    assert qkeras.format_of(bits(8, 2, alpha=0.25), "it") == FixedPoint(8, 1)
    assert qkeras.format_of(bits(8, 2, 1, alpha=1.0), "it").overflow is Overflow.SAT_SYM
    unsigned = bits(8, 2, keep_negative=False, alpha=1.0)
    assert qkeras.format_of(unsigned, "it") == FixedPoint(8, 2, False)
    assert qkeras.format_of(relu(4, 1), "it") == FixedPoint(4, 1, False)


def test_weights_off_their_own_grid_are_refused() -> None:
    quantizer = bits(4, 0, alpha=1.0)
    quantizer.get_config = lambda: {  # claims a coarser grid than it has
        "bits": 3, "integer": 0, "alpha": 1.0, "keep_negative": True, "symmetric": False,
    }  # fmt: skip
    with pytest.raises(DesignError, match=r"not multiples of 0\.25"):
        qkeras.raw_weights(np.array([0.125, 0.5], np.float32), quantizer, "the kernel")


# --- a file that QKeras alone can load ----------------------------------------------------------

ALONE = """
import json, sys
import numpy as np
from qkeras.utils import load_qmodel
model = load_qmodel(sys.argv[1], compile=False)
outputs = model.predict_on_batch(np.load(sys.argv[2]))
print(json.dumps({"outputs": np.asarray(outputs, np.float64).ravel().tolist(),
                  "hwflow": [name for name in sys.modules if name.startswith("hwflow")]}))
"""


def test_qkeras_alone_loads_the_model_and_gives_the_same_outputs(tmp_path: Path) -> None:
    import keras

    from hwflow.keras_models import save_keras

    layers = keras.layers
    x = image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(6.0, name="relu6")(x)
    x = layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, name="depthwise")(x)
    y = layers.Activation("relu", name="relu")(x)
    x = layers.Concatenate(name="concat")([y, y])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(5, name="dense")(x)
    model = keras.Model(image, x)
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    quantized = quantize(model, Quantization(), images)
    save_keras(quantized, tmp_path / "quantized.h5")
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "quantized.h5", tmp_path / "images.npy"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["hwflow"] == []
    expected = np.asarray(quantized.predict_on_batch(images), np.float64)
    assert np.unique(expected).size > 4
    assert found["outputs"] == expected.ravel().tolist()


def test_models_run_as_they_are_written():
    import tensorflow as tf
    from tensorflow import keras

    seen = []

    class Spy(keras.layers.Layer):
        def call(self, tensor):
            seen.append(tf.config.optimizer.get_experimental_options())
            return tensor + 1.0

    image = keras.Input((2, 2, 1))
    model = keras.Model(image, Spy()(image))
    seen.clear()
    before = tf.config.optimizer.get_experimental_options()
    found = predict(model, np.ones((1, 2, 2, 1), np.float32))
    assert found.tolist() == np.full((1, 2, 2, 1), 2.0).tolist()
    assert seen
    assert all(options["disable_meta_optimizer"] for options in seen)
    after = tf.config.optimizer.get_experimental_options()
    assert not after["disable_meta_optimizer"]
    assert {**before, "disable_meta_optimizer": False} == after


# --- weights of few values ----------------------------------------------------------------------


def few(name: str, **options: Any) -> Any:
    import qkeras as library

    return getattr(library, name)(**options)


def sign(integer_bits: int) -> FixedPoint:
    return FixedPoint(2, integer_bits, overflow=Overflow.SAT_SYM)


FEW = {
    "one bit": (lambda: bits(1, 0, alpha=0.5), [-1, 1, 1, 1], sign(1)),
    "binary": (lambda: few("binary", alpha=2.0), [-1, 1, 1, 1], sign(3)),
    "0 and 1": (
        lambda: few("binary", use_01=True, alpha=1.0),
        [0, 1, 1, 1],
        FixedPoint(1, 1, False),
    ),
    "ternary": (lambda: few("ternary", alpha=1.0, threshold=0.2), [-1, 0, 0, 1], sign(2)),
    "powers": (
        lambda: few("quantized_po2", bits=4, max_value=1),
        [-64, 1, 2, 256],
        FixedPoint(10, 2),
    ),
    "great powers": (
        lambda: few("quantized_po2", bits=4, max_value=4),
        [-4, 1, 1, 64],
        FixedPoint(8, 4),
    ),
}


@pytest.mark.parametrize("what", FEW)
def test_quantizers_of_few_values_are_lowered_for_weights(what: str) -> None:
    make, expected, target = FEW[what]
    stored = np.array([-0.25, 0.0, 0.0078125, 8.0], np.float32)
    found = qkeras.raw_weights(stored, make(), "the kernel")
    assert found.values.tolist() == expected
    assert found.format == target
    with pytest.raises(DesignError, match="not supported"):
        qkeras.format_of(make(), "an activation")


def test_powers_that_reach_too_far_are_refused() -> None:
    with pytest.raises(DesignError, match=r"from 2\*\*-64 to 2\*\*63 need 129 bits, more than 32"):
        qkeras.raw_weights(np.ones(3, np.float32), few("quantized_po2", bits=8), "the kernel")


@pytest.mark.parametrize("name", ["binary", "ternary"])
def test_scales_that_are_measured_when_used_are_refused(name: str) -> None:
    with pytest.raises(DesignError, match="alpha must be a constant power of two, not 'auto_po2'"):
        qkeras.raw_weights(np.ones(3, np.float32), few(name, alpha="auto_po2"), "the kernel")
