"""Scales of weights by channel: the least error of each channel, within what hardware and QKeras
hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint
from hwflow.quantize import qkeras, scales
from hwflow.quantize.build import quantize
from hwflow.sections import Quantization

EIGHT = scales.linear(8)


def kernel(seed: int, *octaves: int) -> Any:
    """A 3x3 kernel whose channels differ in size by powers of two."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 3, 2, len(octaves))) * 2.0 ** np.array(octaves)


def errors(values: Any, found: Any) -> Any:
    return np.square(found.to_float() - values).sum(axis=(0, 1, 2))


@pytest.mark.parametrize("width", [2, 4, 8, 12])
def test_each_channel_loses_least(width: int) -> None:
    values = kernel(width, 0, -3, 2, -7, 1)
    found = scales.per_channel(values, scales.linear(width), 1, 4, 1.0)
    by_channel = errors(values, found)
    for channel in range(values.shape[-1]):
        alone = values[..., channel]
        best = scales.per_tensor(alone, scales.linear(width))
        expected = np.square(best.to_float() - alone).sum()
        assert by_channel[channel] == pytest.approx(expected, rel=1e-9)
    tensor = errors(values, scales.per_tensor(values, scales.linear(width)))
    assert (by_channel <= tensor + 1e-12).all()
    assert by_channel[3] < tensor[3] / 10  # the small channel would be lost
    assert found.shifts is not None
    assert found.shifts.min() == 0


def test_depthwise_kernels_count_channels_on_two_axes() -> None:
    values = kernel(1, 0, -4)
    found = scales.per_channel(values, EIGHT, 2, 4, 1.0)
    assert found.shifts is not None
    assert found.shifts.shape == values.shape
    assert (found.shifts == found.shifts[:1, :1]).all()
    joined = scales.per_channel(values.reshape(3, 3, 1, 4), EIGHT, 1, 4, 1.0)
    np.testing.assert_array_equal(found.values.ravel(), joined.values.ravel())


def test_channels_of_zeros_have_no_say() -> None:
    values = kernel(2, 0, 0, 0)
    values[..., 1] = 0
    found = scales.per_channel(values, EIGHT, 1, 4, 1.0)
    assert not found.values[..., 1].any()
    others = scales.per_channel(np.delete(values, 1, axis=3), EIGHT, 1, 4, 1.0)
    assert found.format == others.format
    nothing = scales.per_channel(np.zeros((1, 1, 2, 3)), EIGHT, 1, 4, 1.0)
    assert not nothing.values.any()
    assert nothing.shifts is None


def test_one_scale_is_told_as_one() -> None:
    values = np.array([0.5, -0.75, 0.625]).reshape(1, 1, 1, 3)
    found = scales.per_channel(values, EIGHT, 1, 4, 1.0)
    assert found.shifts is None
    assert found.format == FixedPoint(8, 1)


@pytest.mark.parametrize("reach", [1.0, 2.0**9, 2.0**13])
def test_sums_stay_narrow(reach: float) -> None:
    """The finest channels give way where the coarsest would need wide sums in their unit."""
    values = kernel(3, 0, -14)
    input_fraction = 4
    found = scales.per_channel(values, EIGHT, 1, input_fraction, reach)
    peak = np.abs(found.aligned).sum(axis=(0, 1, 2)).max() * reach * 2.0**input_fraction
    assert found.shifts is not None
    spread = int(found.shifts.max())
    free = scales.per_channel(values, EIGHT, 1, input_fraction, 2.0**-9)
    assert free.shifts is not None
    assert peak < 2.0**scales.SUM_BITS
    assert spread == free.shifts.max() if reach == 1 else spread < free.shifts.max()
    np.testing.assert_array_equal(found.values[..., 0], free.values[..., 0])


@pytest.mark.parametrize("width", [8, 16, 20, 24])
@pytest.mark.parametrize("octaves", [(0, -15), (9, -3), (12, 0), (-5, -20)])
def test_qkeras_makes_exactly_these_weights(width: int, octaves: tuple[int, ...]) -> None:
    values = kernel(width, *octaves)
    found = scales.per_channel(values, scales.linear(width), 1, 0, 2.0**-30)
    shifts = None if found.shifts is None else found.shifts[:1, :1, :1]
    quantizer = qkeras.weight_quantizer(found.format, shifts)
    stored = qkeras.stored(found.values, found.format).astype(np.float32)
    told = qkeras.raw_weights(stored, quantizer, "the kernel")
    np.testing.assert_array_equal(told.to_float(), found.to_float())


def test_biases_make_up_for_what_rounding_adds_on_the_average() -> None:
    """The mean of each output channel over the calibration images is that of the float network."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    image = keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(6, 1, groups=2, name="grouped")(image)
    x = layers.DepthwiseConv2D(1, depth_multiplier=2, name="depthwise")(x)
    x = layers.Dense(5, name="dense")(layers.GlobalAveragePooling2D(name="mean")(x))
    model = keras.Model(image, x)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    images = rng.uniform(1, 2, (3, 6, 6, 4)).astype(np.float32)
    chosen = Quantization.model_validate(
        {"weights": {"width": 3}, "activations": {"width": 16}, "biases": {"width": 20}}
    )
    made = quantize(model, chosen, images)
    for name, tap in (("grouped", model), ("depthwise", model), ("dense", model)):
        wanted = keras.Model(tap.input, tap.get_layer(name).output)(images).numpy()
        # the quantized layer on what the float network gives it
        layer = made.get_layer(name)
        source = tap.get_layer(name).input
        given = keras.Model(tap.input, source)(images) if name != "grouped" else images
        found = layer(given).numpy()
        axes = tuple(range(wanted.ndim - 1))
        assert np.abs(found - wanted).max() > 0.05
        np.testing.assert_allclose(found.mean(axes), wanted.mean(axes), atol=2e-3)
