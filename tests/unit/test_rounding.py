"""Weights rounded together: never worse than each by itself, the same every time, and of zeros and
shared weights as many as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwflow.layers.base import FloatNode, RawWeights
from hwflow.quantize import kernels, scales
from hwflow.quantize.build import quantize
from hwflow.quantize.float_graph import read
from hwflow.quantize.inference import predict
from hwflow.quantize.lower import lower
from hwflow.quantize.moments import BELIEVED, Columns, Moments, moments_of
from hwflow.quantize.rounding import Loss, rounded_together
from hwflow.quantize.running import Running, images_at_hand
from hwflow.sections import Quantization

keras = pytest.importorskip("keras")
L = keras.layers

FOUR = scales.linear(4)


def some_loss(seed: int, groups: int, patch: int, columns: int) -> Loss:
    """Of inputs that go together, as those of a network do."""
    rng = np.random.default_rng(seed)
    read = rng.normal(size=(groups, 3 * patch, 2)) @ rng.normal(size=(groups, 2, patch))
    read += 0.3 * rng.normal(size=read.shape)
    pull = 0.1 * rng.normal(size=(groups, patch, columns))
    return Loss(read.transpose(0, 2, 1) @ read / read.shape[1], pull)


@pytest.mark.parametrize("grid", [FOUR, scales.TERNARY, scales.BINARY])
@pytest.mark.parametrize(("groups", "patch", "columns"), [(1, 5, 3), (4, 9, 2), (1, 80, 6)])
def test_no_single_weight_is_better_otherwise(
    grid: scales.Grid, groups: int, patch: int, columns: int
) -> None:
    rng = np.random.default_rng(patch)
    wanted = rng.normal(size=(groups, patch, columns))
    units = 2.0 ** rng.integers(-2, 0, (groups, 1, columns))
    start = grid.round(wanted / units)
    fixed = rng.random(start.shape) < 0.1
    loss = some_loss(patch, groups, patch, columns)
    found = rounded_together(wanted, start, units, loss, grid.round, fixed)
    np.testing.assert_array_equal(found, grid.round(found))
    np.testing.assert_array_equal(found[fixed], start[fixed])
    before, after = loss.of(start * units - wanted), loss.of(found * units - wanted)
    assert (after <= before + 1e-9).all()
    assert after.sum() < before.sum()
    if patch > 9:
        return  # eight sweeps need not end in a minimum
    for at in np.argwhere(~fixed):
        for step in (-1, 1):
            other = found.copy()
            other[tuple(at)] = grid.round(other[tuple(at)] + step)
            changed = loss.of(other * units - wanted)
            assert (changed >= after - 1e-9).all()


def test_the_loss_is_what_comes_out() -> None:
    """Less that without any error, it is the mean square between what comes out and ought to."""
    rng = np.random.default_rng(0)
    read, real = rng.normal(size=(2, 50, 6))
    weights, errors = rng.normal(size=(2, 6, 4))
    drift = read.T @ (real - read) / 50
    loss = Loss((read.T @ read / 50)[None], (drift @ weights)[None])
    wanted = real @ weights
    found = np.square(read @ (weights + errors) - wanted).mean(axis=0)
    without = np.square(read @ weights - wanted).mean(axis=0)
    np.testing.assert_allclose(loss.of(errors[None])[0], found - without)


# --- moments -----------------------------------------------------------------------------------


def brute_force(layer: Any, images: Any) -> Any:
    """What a layer puts out, from what its window reads: `(N, rows, pixels, channels)`."""
    return np.asarray(predict(keras.Model(layer.input, layer.output), images))


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.Conv2D(6, 3, strides=2, padding="same", name="x"),
        lambda: L.Conv2D(6, (3, 1), groups=2, name="x"),
        lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="x"),
        lambda: L.Conv2D(5, 1, strides=(2, 1), name="x"),
        lambda: L.Conv2D(6, 3, dilation_rate=(2, 1), padding="same", name="x"),
        lambda: L.DepthwiseConv2D((2, 3), dilation_rate=(3, 2), name="x"),
    ],
)
def test_moments_are_those_of_the_layers_output(make: Any) -> None:
    image = keras.Input((7, 6, 4), name="image")
    model = keras.Model(image, make()(image))
    layer = model.get_layer("x")
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    node = next(node for node in read(model).nodes if node.name == "x")
    axes = 2 if isinstance(layer, L.DepthwiseConv2D) else 1
    images = rng.normal(1, 1, (300, 7, 6, 4)).astype(np.float32)
    moments = moments_of(node, axes, images, 1.5 * images)
    assert moments.covariance is not None
    assert moments.drift is not None
    kernel = moments.columns.split(node.weights["kernel"])
    np.testing.assert_array_equal(moments.columns.join(kernel), node.weights["kernel"])
    wanted = brute_force(layer, images) - layer.get_weights()[1]
    means = np.einsum("gp,gpc->gc", moments.means, kernel).ravel()
    np.testing.assert_allclose(means, wanted.mean(axis=(0, 1, 2)), atol=1e-4)
    variances = Loss(moments.covariance, 0 * kernel).of(kernel).ravel()
    np.testing.assert_allclose(variances, wanted.var(axis=(0, 1, 2)), rtol=0.1)
    # the float network reads half as much again
    off = moments.drift - BELIEVED * 0.5 * moments.covariance
    off[:, np.arange(off.shape[1]), np.arange(off.shape[1])] = 0
    assert np.abs(off).max() < 0.02 * moments.covariance.max()


def test_of_nothing_or_too_much_there_is_no_covariance() -> None:
    node = FloatNode("x", "Dense", (), {}, {"kernel": np.zeros((9000, 2))}, (2,), "x")
    given = np.zeros((1, 9000), np.float32)
    assert moments_of(node, 1, given, given).covariance is None
    node = FloatNode("x", "Dense", (), {}, {"kernel": np.zeros((5, 2))}, (2,), "x")
    given = np.zeros((1, 5), np.float32)
    np.testing.assert_array_equal(moments_of(node, 1, given, given).covariance, [np.eye(5)])


# --- kernels -----------------------------------------------------------------------------------


def some_moments(kernel: Any) -> Moments:
    columns = Columns(1, kernel.shape, 1)
    loss = some_loss(5, 1, columns.patch, columns.patch)
    return Moments(columns, np.zeros((1, columns.patch)), loss.covariance, 0.1 * loss.covariance)


def quantized(kernel: Any, moments: Moments, **given: Any) -> RawWeights:
    wanted = Quantization.model_validate({"weights": {"width": 4, **given}}).weights
    return kernels.quantized(kernel, wanted, 1, 4, 1.0, moments).weights


@pytest.mark.parametrize("scale", ["channel", "tensor"])
@pytest.mark.parametrize("values", ["linear", "ternary"])
def test_pruned_weights_stay_pruned_and_no_channel_loses_more(scale: str, values: str) -> None:
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(3, 3, 4, 6)) * 2.0 ** np.array([0, -3, 1, -6, 0, 2])
    kernel[rng.random(kernel.shape) < 0.5] = 0
    moments = some_moments(kernel)
    width = 2 if values == "ternary" else 4
    found = quantized(kernel, moments, scale=scale, values=values, width=width)
    alone = quantized(
        kernel,
        Moments(moments.columns, moments.means),
        scale=scale,
        values=values,
        width=width,
    )
    assert not found.values[kernel == 0].any()
    assert (found.values != alone.values).any()
    assert moments.covariance is not None
    assert moments.drift is not None
    split = moments.columns.split
    loss = Loss(moments.covariance, moments.drift @ split(kernel))
    together, apart = (loss.of(split(each.to_float() - kernel)) for each in (found, alone))
    assert (together <= apart + 1e-9).all()
    if found.shifts is not None:
        assert found.shifts.min() == 0


def test_shared_weights_stay_shared() -> None:
    rng = np.random.default_rng(3)
    kernel = rng.choice(rng.normal(size=12), (3, 3, 4, 6))
    moments = some_moments(kernel)
    found = quantized(kernel, moments, scale="tensor")
    assert np.unique(found.values).size <= np.unique(kernel).size
    for value in np.unique(kernel):
        assert np.unique(found.values[kernel == value]).size == 1


# --- networks ----------------------------------------------------------------------------------


def network(seed: int) -> Any:
    """Separable convolutions whose channels go together, as training makes them."""
    keras.backend.clear_session()
    rng = np.random.default_rng(seed)
    x = image = keras.Input((12, 12, 3), name="image")
    x = L.ReLU(6.0)(L.Conv2D(12, 3, strides=2, padding="same")(x))
    x = L.ReLU(6.0)(L.DepthwiseConv2D(3, padding="same")(x))
    x = L.ReLU(6.0)(L.Conv2D(24, 1)(x))
    y = L.ReLU()(L.Conv2D(24, 3, padding="same", groups=2)(x))
    x = L.Add()([x, y])
    x = L.Dense(10, name="logits")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    for layer in model.layers:
        arrays = layer.get_weights()
        if arrays:
            shape = arrays[0].shape
            fan = np.prod(shape) / max(shape[-2:])
            basis = rng.normal(size=(*shape[:-1], 4)) @ rng.normal(size=(4, shape[-1])) / 2
            kernel = (basis + 0.3 * rng.normal(size=shape)) / np.sqrt(fan)
            layer.set_weights([kernel, rng.normal(0, 0.1, arrays[1].shape)])
    return model


def smooth(seed: int, count: int) -> Any:
    """Images whose neighbouring pixels are alike."""
    coarse = np.random.default_rng(seed).normal(size=(count, 4, 4, 3))
    return coarse.repeat(3, axis=1).repeat(3, axis=2).astype(np.float32)


@pytest.mark.parametrize("width", [2, 3, 4, 6])
def test_outputs_are_nearer_to_the_float_networks(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the images of the calibration, and on others, for every seed."""
    section = Quantization.model_validate(
        {"weights": {"width": width}, "activations": {"width": 8}}
    )
    for seed in range(3):
        model, images, others = network(seed), smooth(seed, 24), smooth(100 + seed, 200)
        errors = []
        for fine in (kernels.FINE, 0):
            monkeypatch.setattr(kernels, "FINE", fine)
            made = quantize(model, section, images)
            errors.append(
                [np.square(predict(made, x) - predict(model, x)).mean() for x in (images, others)]
            )
        monkeypatch.undo()
        assert (np.array(errors[0]) < errors[1]).all(), (seed, errors)


def test_the_same_images_give_the_same_network() -> None:
    section = Quantization.model_validate({"preset": "int4"})
    files = []
    for _ in range(2):
        graph = lower(quantize(network(0), section, smooth(0, 8)), "net")
        files.append({name: bytes(content) for name, content in graph.to_files().items()})
    assert files[0] == files[1]


def test_layers_are_run_as_the_model_runs() -> None:
    model, images = network(1), smooth(1, 19)
    graph = read(model)
    running = Running(graph, images)
    for node in graph.nodes:
        tensor = model.get_layer(node.source).output
        if node.kind == "InputLayer":
            running.begin(node.name, tensor, tensor)
            continue
        running.step(node.name, node.inputs, tensor)
        found = running.values(node.name)
        np.testing.assert_allclose(
            found, predict(keras.Model(model.inputs, tensor), images), atol=1e-5
        )
        running.release(node.inputs)
        np.testing.assert_allclose(
            running.mean(node.name), found.reshape(-1, found.shape[-1]).mean(axis=0), atol=1e-5
        )
    with pytest.raises(KeyError):
        running.values(graph.nodes[0].name)


def test_large_networks_are_run_on_as_many_images_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, images = read(network(0)), smooth(0, 5)
    assert len(images_at_hand(graph, images)) == 5
    monkeypatch.setattr("hwflow.quantize.running.VALUES_IN_MEMORY", 8 * 6 * 6 * 24 * 2)
    assert len(images_at_hand(graph, images)) == 2
    monkeypatch.setattr("hwflow.quantize.running.VALUES_IN_MEMORY", 1)
    assert len(images_at_hand(graph, images)) == 1


def test_activations_of_layers_own_are_run_behind_them() -> None:
    """The bias brings the mean of the layer's sums to the float layer's, before the activation."""
    image = keras.Input((12, 12, 3), name="image")
    x = L.Conv2D(6, 3, activation="swish", name="first")(image)
    x = L.DepthwiseConv2D(3, activation="relu6", name="second")(x)
    model = keras.Model(image, L.Dense(4, activation="tanh", name="third")(L.Flatten()(x)))
    images = smooth(3, 16)
    section = Quantization.model_validate({"weights": {"width": 3}, "activations": {"width": 12}})
    made = quantize(model, section, images)
    found, wanted = predict(made, images), predict(model, images)
    assert np.abs(found.mean(axis=0) - wanted.mean(axis=0)).max() < 0.02
    assert np.square(found - wanted).mean() < 0.02
