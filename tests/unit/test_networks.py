"""The registry of families, and networks from designs and from the user's own files."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
import zipfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.networks import Family, families, load_network
from hwflow.networks.keras_file import load_model
from tests.support.data import data_path

SMALL = {
    "input_shape": (31, 33, 3),
    "classes": 5,
    "conv1_filters": 4,
    "base_e": 8,
    "incr_e": 4,
    "squeeze_ratio": 0.25,
}


def design(*, family="squeezenet", file=None, weights=None, source=None, seed=0, **values):
    own = file is not None
    return SimpleNamespace(
        network=SimpleNamespace(
            family=None if own else family,
            parameters=None
            if own or family not in families()
            else families()[family].parameters(**{**SMALL, **values}),
            file=file,
        ),
        weights=SimpleNamespace(source=source, seed=seed, file=weights),
    )


def saved(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls HDF5 a legacy format
        model.save(path)
    return path


def small_model(**input_arguments):
    from tensorflow import keras

    inputs = keras.Input(**{"shape": (6, 5, 2), **input_arguments}, name="pixels")
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="act")(x)
    return keras.Model(inputs, x)


def faults_of(path):
    with pytest.raises(DesignError) as caught:
        load_model(path)
    assert all(fault.where == str(path) for fault in caught.value.faults)
    return [(fault.subject, fault.message) for fault in caught.value.faults]


def test_families_are_found_without_tensorflow():
    code = (
        "import sys; from hwflow.networks import families; import hwflow.pictures; "
        "print(*families()); sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "squeezenet" in run.stdout.split()


@pytest.mark.parametrize("name", sorted(families()))
def test_every_family_is_whole(name):
    family = families()[name]
    assert isinstance(family, Family)
    assert family.name == name
    assert family.summary
    assert "https://" in family.source
    config = family.parameters.model_config
    assert config["frozen"]
    assert config["strict"]
    assert config["extra"] == "forbid"
    assert all(field.description for field in family.parameters.model_fields.values())
    family.parameters()  # every parameter has a default


def test_an_unknown_family_is_refused():
    with pytest.raises(DesignError, match=r"network\.family: must be one of .*, not 'alexnet'"):
        load_network(design(family="alexnet"))


def test_parameters_that_a_family_refuses_while_building_are_a_fault_of_the_design(monkeypatch):
    def refuse(parameters):
        raise ValueError("nothing left to pool")

    family = families()["squeezenet"]
    broken = Family(family.name, family.summary, family.source, family.parameters, refuse)
    monkeypatch.setattr("hwflow.networks.families", lambda: {"squeezenet": broken})
    with pytest.raises(DesignError, match="network: nothing left to pool"):
        load_network(design())


def test_a_familys_network_gets_random_weights():
    network = load_network(design(seed=7))
    assert network.source == "family squeezenet, random weights, seed 7"
    assert network.parameters_count == network.model.count_params()
    assert network.model.output_shape == (None, 5)


def test_a_family_without_parameters_takes_its_defaults():
    given = design()
    given.network.parameters = None
    assert load_network(given).model.input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_users_model_keeps_its_weights(tmp_path, suffix):
    model = small_model()
    path = saved(model, tmp_path / f"mine{suffix}")
    network = load_network(design(file=path))
    assert network.source == f"file mine{suffix}, its own weights"
    assert network.parameters_count == 3 * 3 * 2 * 3 + 3 + 4 * 3
    for got, want in zip(network.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_users_model_can_be_given_other_weights(tmp_path):
    path = saved(small_model(), tmp_path / "mine.h5")
    other = small_model()
    weights = saved(other, tmp_path / "other.h5")
    network = load_network(design(file=path, weights=weights))
    assert network.source == "file mine.h5, weights of other.h5"
    np.testing.assert_array_equal(network.model.get_weights()[0], other.get_weights()[0])
    drawn = load_network(design(file=path, source="random", seed=3))
    assert drawn.source == "file mine.h5, random weights, seed 3"
    assert not np.array_equal(drawn.model.get_weights()[0], network.model.get_weights()[0])


def test_a_sequential_model_is_made_functional(tmp_path):
    from tensorflow import keras

    model = keras.Sequential(
        [keras.layers.Conv2D(2, 3, input_shape=(5, 5, 1), name="a"), keras.layers.ReLU(name="b")]
    )
    loaded = load_model(saved(model, tmp_path / "sequential.h5"))
    assert not isinstance(loaded, keras.Sequential)
    assert [layer.name for layer in loaded.layers][1:] == ["a", "b"]
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_qkeras_layers_are_loaded(tmp_path):
    import qkeras
    from tensorflow import keras

    inputs = keras.Input((4, 4, 1))
    bits = qkeras.quantized_bits(4, 0, alpha=1)
    x = qkeras.QConv2D(2, 3, kernel_quantizer=bits, bias_quantizer=bits, name="q")(inputs)
    x = qkeras.QActivation(qkeras.quantized_relu(4, 2), name="act")(x)
    loaded = load_model(saved(keras.Model(inputs, x), tmp_path / "q.h5"))
    assert [type(layer).__name__ for layer in loaded.layers[1:]] == ["QConv2D", "QActivation"]


@pytest.mark.parametrize(
    ("file", "parameters"),
    [
        ("weights/mobilenet_v1_0.25_224/mobilenet_v1_0.25_224.h5", 475_544),
        ("weights/resnet_tiny_qkeras/model_best.h5", 40_269),
    ],
)
def test_models_that_others_trained_are_loaded(file, parameters):
    assert load_network(design(file=data_path(file))).parameters_count == parameters


def test_weights_that_are_not_finite_are_named(tmp_path):
    model = small_model()
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[0, 0, 0, 0] = np.nan
    bias[1] = np.inf
    model.get_layer("conv").set_weights([kernel, bias])
    path = saved(model, tmp_path / "nan.h5")
    with pytest.raises(DesignError) as caught:
        load_network(design(file=path))
    assert [str(fault) for fault in caught.value.faults] == [
        f"{path} conv: kernel must hold finite numbers, but has NaN or infinity among them",
        f"{path} conv: bias must hold finite numbers, but has NaN or infinity among them",
    ]


def test_dynamic_shapes_are_refused(tmp_path):
    path = saved(small_model(shape=(None, None, 2)), tmp_path / "dynamic.h5")
    ((layer, message),) = faults_of(path)
    assert layer == "pixels"
    assert message.startswith("must have a fixed input shape, not (None, None, None, 2)")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_all_that_cannot_be_built_is_told_at_once_and_nothing_of_it_is_run(tmp_path, suffix):
    from tensorflow import keras

    left, right = (keras.Input((2, 4, 4), name=name) for name in ("left", "right"))
    x = keras.layers.Add(name="add")([left, right])
    x = keras.layers.Conv2D(3, 1, data_format="channels_first", name="conv")(x)
    x = keras.layers.Lambda(lambda tensor: 1 / 0 * tensor if tensor is None else tensor, name="f")(
        x
    )
    path = saved(keras.Model([left, right], x), tmp_path / f"bad{suffix}")
    assert faults_of(path) == [
        ("", "must have one input, not 2 (left, right)"),
        ("conv", "must have data_format channels_last, not channels_first"),
        ("f", "is a Lambda layer, which hides its function. Use layers of Keras or QKeras"),
    ]


def test_a_layer_within_a_model_is_looked_at_too(tmp_path):
    from tensorflow import keras

    inner_input = keras.Input((4, 4, 1))
    inner = keras.Model(inner_input, keras.layers.Lambda(abs, name="hidden")(inner_input))
    outer_input = keras.Input((4, 4, 1))
    path = saved(keras.Model(outer_input, inner(outer_input)), tmp_path / "nested.h5")
    assert [layer for layer, _ in faults_of(path)] == [f"{inner.name}/hidden"]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_truncated_files_are_refused(tmp_path, suffix):
    whole = saved(small_model(), tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        ((_, message),) = faults_of(path)
        assert "Is the file truncated" in message


def test_files_that_hold_no_model_are_refused(tmp_path):
    weights = tmp_path / "weights.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small_model().save_weights(weights)
    assert "If it holds weights only" in faults_of(weights)[0][1]
    archive = tmp_path / "archive.keras"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "no model")
    assert "there is no model in it" in faults_of(archive)[0][1]
    other = tmp_path / "model.onnx"
    other.write_bytes(b"onnx")
    assert "must be a Keras model file (.h5, .hdf5, .keras)" in faults_of(other)[0][1]
    assert "must be a Keras model file" in faults_of(tmp_path)[0][1]
    assert "Is the file truncated" in faults_of(tmp_path / "absent.h5")[0][1]


def test_files_of_keras_3_are_refused(tmp_path):
    path = tmp_path / "three.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {}})
        file.attrs["keras_version"] = "3.4.1"
    assert "must be written by Keras 2, not by Keras 3.4.1" in faults_of(path)[0][1]


@pytest.mark.parametrize("config", ["[]", '{"class_name": "Functional"}', "{"])
def test_descriptions_that_are_none_are_refused(tmp_path, config):
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config
        file.attrs["keras_version"] = "2.14.0"
    assert "must be a whole Keras 2 model" in faults_of(path)[0][1]


def test_models_and_layers_of_the_users_own_classes_are_refused(tmp_path):
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "MyModel", "config": {}})
        file.attrs["keras_version"] = "2.14.0"
    assert faults_of(path) == [("", "must be a functional or Sequential model, not MyModel")]
    saved(small_model(), path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = "MyConv"
        file.attrs["model_config"] = json.dumps(config)
    ((_, message),) = faults_of(path)
    assert message.startswith("is a MyConv: this kind of layer is not supported; supported are")
