"""Keras models run layer by layer: the same values, one tensor after another."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest

from hwflow.errors import ToolError
from hwflow.quantize.inference import predict, stream
from hwflow.simulate.tensor_files import TensorFiles


def branching() -> Any:
    """A network with a shared layer, a join that reads one tensor twice, and a function."""
    image = keras.Input((6, 5, 3), name="image")
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(image)
    normal = keras.layers.BatchNormalization(name="normal")(first)
    dropped = keras.layers.Dropout(0.5, name="dropped")(normal)
    twice = keras.layers.Add(name="twice")([dropped, dropped])
    shared = keras.layers.Conv2D(4, 1, name="shared")
    joined = keras.layers.Concatenate(name="joined")([shared(twice), shared(first)])
    grouped = keras.layers.Conv2D(4, 3, groups=2, name="grouped")(joined)
    return keras.Model(image, keras.activations.relu(grouped))


IMAGES = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)


def test_every_output_is_what_keras_predicts() -> None:
    model = branching()
    names = ("image", "first", "normal", "twice", "joined", "grouped", "first")
    tensors = [model.get_layer(name).output for name in names]
    taps = keras.Model(model.inputs, [*tensors, model.output])
    expected = predict(taps, IMAGES)
    found = {index: values.copy() for index, values in stream(taps, IMAGES)}
    assert sorted(found) == list(range(len(expected)))
    for index, values in enumerate(expected):
        np.testing.assert_allclose(found[index], values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[1], found[6])


def test_what_is_read_no_more_is_freed() -> None:
    image = keras.Input((8, 8, 4))
    tensors = [image]
    for _ in range(6):
        tensors.append(keras.layers.ReLU()(tensors[-1]))
    taps = keras.Model(image, tensors[1:])
    alive: list[Any] = []
    greatest = 0
    for _, values in stream(taps, np.ones((1, 8, 8, 4), np.float32)):
        alive.append(weakref.ref(values))
        del values
        gc.collect()
        greatest = max(greatest, sum(each() is not None for each in alive))
    assert len(alive) == 6
    assert greatest <= 2


def test_tensors_on_the_disk_return_and_go(tmp_path: Any) -> None:
    folder = tmp_path / "tensors"
    folder.mkdir()
    (folder / "left_over").write_text("of an interrupted run")
    arrays = {"a/b": np.arange(6, dtype=np.uint8).reshape(1, 2, 3), "": np.zeros((0, 2), np.int64)}
    with TensorFiles(folder) as files:
        assert not list(folder.iterdir())
        for name, array in arrays.items():
            files.add(name, array)
        assert list(files) == list(arrays)
        assert len(files) == 2
        for name, array in files.items():
            assert array.dtype == arrays[name].dtype
            np.testing.assert_array_equal(array, arrays[name])
        files.clear()
        assert not list(folder.iterdir())
        with pytest.raises(KeyError):
            files["a/b"]
        files.add("a/b", arrays["a/b"] + 1)
        np.testing.assert_array_equal(files["a/b"], arrays["a/b"] + 1)
    assert not folder.exists()


def test_a_disk_that_refuses_is_told(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(ToolError, match="making tensors failed"),
        TensorFiles(tmp_path / "file" / "tensors"),
    ):
        pass
