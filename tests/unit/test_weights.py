"""Random weights, and weights files: read, matched, checked, assigned."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.networks.deep_compression import read_deep_compression
from hwflow.networks.random_weights import randomise
from hwflow.networks.weights import apply_weights, weight_shapes
from tests.support.data import data_path


def model_of(extra_first=False):
    from tensorflow import keras

    inputs = x = keras.Input((8, 8, 4))
    if extra_first:
        x = keras.layers.Conv2D(4, 1, name="first")(x)
    x = keras.layers.Conv2D(6, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="act")(x)
    x = keras.layers.DepthwiseConv2D((3, 2), depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(5, name="dense")(x)
    return keras.Model(inputs, x)


def convolutions():
    from tensorflow import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, (3, 2), name="a")(inputs)
    x = keras.layers.Conv2D(4, 1, name="b")(x)
    return keras.Model(inputs, x)


def drawn(model, seed=1):
    randomise(model, seed)
    return model


def by_name(model):
    return {
        (layer.name, variable.name.split("/")[-1].split(":")[0]): variable.numpy()
        for layer in model.layers
        for variable in layer.weights
    }


def assert_same_weights(model, other):
    got, want = by_name(model), by_name(other)
    assert got.keys() == want.keys()
    for key, tensor in want.items():
        np.testing.assert_array_equal(got[key], tensor, err_msg=str(key))


def faults_of(model, path):
    before = model.get_weights()
    with pytest.raises(DesignError) as caught:
        apply_weights(model, path)
    for got, want in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, want)  # nothing was half assigned
    return [(fault.subject, fault.message) for fault in caught.value.faults]


def npz(path, model, changes=()):
    arrays = {f"{layer}/{part}": tensor for (layer, part), tensor in by_name(model).items()}
    arrays.update(changes)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


# Random weights


def test_random_weights_depend_on_seed_and_names_alone():
    assert_same_weights(drawn(model_of(), 5), drawn(model_of(), 5))
    longer = by_name(drawn(model_of(extra_first=True), 5))
    for key, tensor in by_name(drawn(model_of(), 5)).items():
        np.testing.assert_array_equal(longer[key], tensor)
    other = by_name(drawn(model_of(), 6))
    assert not any(
        np.array_equal(other[key], tensor) for key, tensor in by_name(drawn(model_of(), 5)).items()
    )


def test_random_weights_are_the_same_on_every_machine():
    kernel = by_name(drawn(convolutions(), 0))["b", "kernel"]
    # Pinned, so that designs with a seed stay what they are; logarithms differ in the last bits.
    np.testing.assert_allclose(
        kernel.ravel()[:4],
        [0.5419142246246338, -0.4213643968105316, 0.15423157811164856, -0.9979104399681091],
        rtol=1e-6,
    )


def test_random_kernels_have_the_deviation_of_their_initialisation():
    from tensorflow import keras

    inputs = x = keras.Input((4, 4, 64))
    x = keras.layers.Conv2D(128, 3, padding="same", name="rectified")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Activation("relu", name="act")(x)
    x = keras.layers.DepthwiseConv2D(3, activation="relu", depth_multiplier=20, name="depthwise")(x)
    x = keras.layers.Conv2D(64, 1, name="linear")(x)
    weights = by_name(drawn(keras.Model(inputs, x)))
    for name, part, deviation in (
        ("rectified", "kernel", (2 / (9 * 64)) ** 0.5),
        ("depthwise", "depthwise_kernel", (2 / 9) ** 0.5),
        ("linear", "kernel", (1 / 2560) ** 0.5),
    ):
        kernel = weights[name, part]
        assert kernel.std() == pytest.approx(deviation, rel=0.03)  # of at least 23,000 draws
        assert np.abs(kernel).max() <= 2 * deviation / 0.8796
    assert (weights["norm", "moving_variance"] >= 0.5).all()
    assert (weights["norm", "gamma"] >= 0.8).all()
    bias = weights["rectified", "bias"]
    assert (bias > 0).any()
    assert (bias < 0).any()


# Files by name


@pytest.mark.parametrize("kind", ["model.h5", "weights.h5", "model.keras", "model.npz"])
def test_weights_by_name(tmp_path, kind):
    source = drawn(model_of())
    path = tmp_path / kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls HDF5 a legacy format
        if kind == "model.npz":
            npz(path, source)
        elif kind == "weights.h5":
            source.save_weights(path)
        else:
            source.save(path)
    model = model_of()
    apply_weights(model, path)
    assert_same_weights(model, source)


def test_an_hdf5_file_may_split_its_list_of_names(tmp_path):
    import h5py

    source = drawn(convolutions())
    path = tmp_path / "weights.h5"
    source.save_weights(path)
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:2], names[2:]
    model = convolutions()
    apply_weights(model, path)
    assert_same_weights(model, source)


def test_all_faults_of_a_weights_file_are_told_at_once(tmp_path):
    path = npz(
        tmp_path / "bad.npz",
        drawn(model_of()),
        {
            "conv/kernel": np.zeros((3, 3, 4, 7)),
            "norm/gamma": np.array([1, 1, np.nan, 1, 1, 1]),
            "norm/beta": None,
            "depthwise/depthwise_kernel": np.full((3, 2, 6, 2), "x"),
            "depthwise/scale": np.ones(3),
            "dense/kernel": None,
            "dense/bias": None,
            "extra/bias": np.ones(3),
        },
    )
    assert faults_of(model_of(), path) == [
        ("conv", "kernel must have shape (3, 3, 4, 6), not (3, 3, 4, 7)"),
        ("norm", "gamma must hold finite numbers, but has NaN or infinity among them"),
        ("norm", "must have a beta, which the weights file lacks"),
        ("depthwise", "depthwise_kernel must hold numbers, not <U1"),
        ("depthwise", "scale is in the weights file, but the network's layer has none"),
        ("dense", "must be in the weights file, which lacks it"),
        ("extra", "is in the weights file, but the network has no such layer"),
    ]


def test_a_number_beyond_float32_is_not_finite(tmp_path):
    path = npz(tmp_path / "big.npz", drawn(convolutions()), {"b/bias": np.full(4, 1e39)})
    assert faults_of(convolutions(), path) == [
        ("b", "bias must hold finite numbers, but has NaN or infinity among them")
    ]


@pytest.mark.parametrize("kind", ["model.h5", "model.keras", "model.npz"])
def test_truncated_files_are_refused(tmp_path, kind):
    source = drawn(convolutions())
    path = tmp_path / kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        npz(path, source) if kind == "model.npz" else source.save(path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        ((_, message),) = faults_of(convolutions(), path)
        assert "truncated" in message


def test_files_of_other_kinds_are_refused(tmp_path):
    for name, content, expected in (
        ("weights.pth", b"x", "must be a weights file of a known kind"),
        ("weights", b"x", "not one without a suffix"),
        ("absent.npz", None, "No such file"),
        ("pickled.npz", b"\x80\x04N.", "reading it failed"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        ((_, message),) = faults_of(convolutions(), path)
        assert expected in message
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.ones(3))
    ((_, message),) = faults_of(convolutions(), tmp_path / "array.npz")
    assert "it holds a single array" in message
    np.savez(tmp_path / "flat.npz", kernel=np.ones(3))
    ((_, message),) = faults_of(convolutions(), tmp_path / "flat.npz")
    assert "its keys must be <layer>/<weight>, not 'kernel'" in message
    convolutions().save_weights(tmp_path / "new.weights.h5")
    ((_, message),) = faults_of(convolutions(), tmp_path / "new.weights.h5")
    assert "not .weights.h5" in message


# Folders of .npy


def write_npy(folder, name_of):
    source = drawn(model_of())
    folder.mkdir()
    for (layer, part), tensor in by_name(source).items():
        if part == "kernel":
            tensor = tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
        elif part == "depthwise_kernel":  # (kh, kw, C, M): output channel c * M + m
            height, width, channels, multiplier = tensor.shape
            turned = np.empty((channels * multiplier, 1, height, width), np.float32)
            for channel in range(channels):
                for index in range(multiplier):
                    turned[channel * multiplier + index, 0] = tensor[:, :, channel, index]
            tensor = turned
        np.save(folder / f"{name_of(layer, part)}.npy", tensor)
    return source


PARTS = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
NUMBERED = {
    "conv": "net0_conv3",
    "norm": "net0_batchnorm0",
    "depthwise": "net0_conv12",
    "dense": "net0_dense0",
}


@pytest.mark.parametrize("numbered", [False, True])
def test_a_folder_of_npy_by_name_or_by_number(tmp_path, numbered):
    source = write_npy(
        tmp_path / "npy",
        lambda layer, part: f"{NUMBERED[layer] if numbered else layer}_{PARTS.get(part, part)}",
    )
    model = model_of()
    apply_weights(model, tmp_path / "npy")
    assert_same_weights(model, source)


def test_kernels_in_keras_layout_are_taken_as_they_are(tmp_path):
    source = drawn(model_of())
    for (layer, part), tensor in by_name(source).items():
        np.save(tmp_path / f"{layer}_{part}.npy", tensor)
    model = model_of()
    apply_weights(model, tmp_path)
    assert_same_weights(model, source)


def test_faults_of_a_folder_of_npy(tmp_path):
    assert "there are none in it" in faults_of(convolutions(), tmp_path)[0][1]
    np.save(tmp_path / "n_conv0_weight.npy", np.ones((5, 3, 3, 2)))
    np.save(tmp_path / "n_conv0_bias.npy", np.ones(5))
    assert faults_of(convolutions(), tmp_path) == [
        ("", "must hold 2 conv layers as the network does, not 1")
    ]
    np.save(tmp_path / "n_conv1_weight.npy", np.ones((4, 6, 1, 1)))
    np.save(tmp_path / "n_conv1_bias.npy", np.ones(4))
    assert faults_of(convolutions(), tmp_path) == [
        ("b", "kernel must have shape (1, 1, 5, 4), not (1, 1, 6, 4)")
    ]
    np.save(tmp_path / "m_conv2_bias.npy", np.ones(4))
    assert "by several (m_, n_)" in faults_of(convolutions(), tmp_path)[0][1]
    np.save(tmp_path / "classifier_bias.npy", np.ones(4))
    assert [layer for layer, _ in faults_of(convolutions(), tmp_path)] == ["classifier"]
    (tmp_path / "a_bias.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "mean.npy", np.ones(3))
    messages = [message for _, message in faults_of(convolutions(), tmp_path)]
    assert len(messages) == 2
    assert messages[0].startswith("must be a whole .npy file")
    assert messages[1].startswith("must be named <layer>_<weight>.npy")


# Deep Compression


def compressed(kernels):
    """Writes the format from dense kernels (OIHW) and biases."""
    header, body = b"", b""
    for kernel, bias in kernels:
        values = sorted(set(kernel.ravel()) | {0.0})
        codebook = np.zeros(256, "<f4")
        codebook[: len(values)] = values
        codes, gaps, run = [], [], 0
        for value in kernel.ravel():
            run += 1
            if value != 0 or run == 16:  # a gap holds 4 bits: a zero is stored as a filler
                codes.append(values.index(value))
                gaps.append(run - 1)
                run = 0
        padded = [*gaps, 0] if len(gaps) % 2 else gaps
        header += struct.pack("<I", len(codes))
        body += codebook.tobytes() + np.asarray(bias, "<f4").tobytes() + bytes(codes)
        body += bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))
    return header + body


def pruned_kernels():
    generator = np.random.default_rng(3)
    kernels = []
    for shape in ((5, 3, 3, 2), (4, 5, 1, 1)):
        kernel = generator.integers(-3, 4, shape) * np.float32(0.25)
        kernel[generator.random(shape) < 0.8] = 0
        kernels.append((kernel, generator.normal(size=shape[0]).astype(np.float32)))
    kernels[0][0].ravel()[10:60] = 0  # longer than a gap can say
    return kernels


def test_deep_compression_is_decoded(tmp_path):
    path = tmp_path / "weights.net"
    kernels = pruned_kernels()
    path.write_bytes(compressed(kernels))
    model = convolutions()
    apply_weights(model, path)
    got = by_name(model)
    for name, (kernel, bias) in zip(("a", "b"), kernels, strict=True):
        np.testing.assert_array_equal(got[name, "kernel"], kernel.transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(got[name, "bias"], bias)


def test_a_deep_compression_file_of_another_size_is_refused(tmp_path):
    path = tmp_path / "weights.net"
    whole = compressed(pruned_kernels())
    for content, expected in (
        (b"", "is it truncated"),
        (whole[:7], "is it truncated"),
        (whole[:-1], f"must hold {len(whole)} bytes for 2 convolutions"),
        (whole + b"\0", "for another network"),
        (b"\xff" * len(whole), "is it truncated"),
    ):
        path.write_bytes(content)
        ((_, message),) = faults_of(convolutions(), path)
        assert expected.lower() in message.lower()


def test_deep_compression_entries_beyond_a_layer_are_refused(tmp_path):
    path = tmp_path / "weights.net"
    kernels = pruned_kernels()
    path.write_bytes(compressed([kernels[1], kernels[1]]))
    shapes = {"a": (1, 1, 5, 4), "b": (1, 1, 2, 4)}
    with pytest.raises(DesignError, match=r"b: must have its entries among 8 weights"):
        read_deep_compression(path, shapes)


def test_deep_compression_knows_convolutions_only(tmp_path):
    path = tmp_path / "weights.net"
    path.write_bytes(compressed(pruned_kernels()))
    assert [layer for layer, _ in faults_of(model_of(), path)] == ["norm", "depthwise", "dense"]


def test_the_released_file_is_consumed_to_its_last_byte(tmp_path):
    from hwflow.networks.squeezenet import SqueezeNetParameters, build

    path = data_path("weights/squeezenet_v1.0_deep_compression/compressed_SqueezeNet.net")
    shapes = weight_shapes(build(SqueezeNetParameters(version="1.0")))
    kernels = {layer: parts["kernel"] for layer, parts in shapes.items()}
    layers = read_deep_compression(path, kernels)
    assert len(layers) == 26
    for cut in (path.read_bytes()[:-1], path.read_bytes()[:-100_000]):
        short = tmp_path / "short.net"
        short.write_bytes(cut)
        with pytest.raises(DesignError, match=r"675763 bytes .* Is it truncated"):
            read_deep_compression(short, kernels)
