"""Puts the weights of a file into a network: read, matched by name or order, checked, assigned.

- `.h5`: Keras weights or whole model, by layer name. `.keras`: whole model, by layer name.
- `.npz`: keys `<layer>/<weight>`, `conv1/kernel`, in Keras' layout (HWIO).
- `.net`: Deep Compression, by the order of the network's convolutions.
- a folder of `.npy`: see `hwflow.networks.npy_folder`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault
from hwflow.networks.deep_compression import read_deep_compression
from hwflow.networks.flatten import leaves, models_within
from hwflow.networks.npy_folder import read_npy_folder

if TYPE_CHECKING:
    import keras

    Array = npt.NDArray[Any]
    Weights = dict[str, dict[str, Array]]
    Shapes = dict[str, dict[str, tuple[int, ...]]]


def apply_weights(model: keras.Model, path: Path) -> None:
    """Sets every weight of the model from the file; the model is unchanged where that fails.

    Raises:
        DesignError: if the file cannot be read, or holds a layer that the model lacks, lacks one
            that the model has, or holds one of another shape or with values that are not finite;
            all faults at once, each with its layer.
    """
    if path.is_dir():
        assign(model, read_npy_folder(path, weight_shapes(model)), path)
        return
    suffix = path.suffix.lower()
    try:
        if suffix in (".h5", ".hdf5"):
            weights = _read_hdf5(path, models_within(model))
        elif suffix == ".keras":
            weights = _read_keras(path)
        elif suffix == ".npz":
            weights = _read_npz(path)
        elif suffix == ".net":
            weights = read_deep_compression(path, _convolutions(model, path))
        else:
            raise DesignError(
                Fault(
                    str(path),
                    "",
                    "must be a weights file of a known kind (.h5, .keras, .npz, .net or a folder "
                    f"of .npy), not {suffix or 'one without a suffix'}",
                )
            )
    except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    assign(model, weights, path)


def weight_shapes(model: keras.Model) -> Shapes:
    """The shape of every weight by layer and weight name, in the order of the model's layers.

    Layers of models within the model are among them, by their own names.
    """
    return {
        layer.name: {
            _part(variable.name): tuple(int(size) for size in variable.shape)
            for variable in layer.weights
        }
        for layer in leaves(model)
        if layer.weights
    }


def assign(model: keras.Model, weights: Mapping[str, Mapping[str, Array]], path: Path) -> None:
    """Sets every weight of the model from `weights[layer][weight]`.

    Raises:
        DesignError: as `apply_weights` does.
    """
    shapes = weight_shapes(model)
    faults = []
    for layer, parts in shapes.items():
        given = weights.get(layer)
        if given is None:
            faults.append(Fault(str(path), layer, "must be in the weights file, which lacks it"))
            continue
        faults += [Fault(str(path), layer, text) for text in _layer_faults(parts, given)]
    faults += [
        Fault(str(path), layer, "is in the weights file, but the network has no such layer")
        for layer in weights
        if layer not in shapes and weights[layer]
    ]
    if faults:
        raise DesignError(faults)
    for layer in leaves(model):
        tensors = [
            np.asarray(weights[layer.name][part], np.float32) for part in shapes.get(layer.name, ())
        ]
        layer.set_weights(tensors)


def _layer_faults(parts: Mapping[str, tuple[int, ...]], given: Mapping[str, Array]) -> list[str]:
    texts = []
    for part, shape in parts.items():
        if part not in given:
            texts.append(f"must have a {part}, which the weights file lacks")
        elif given[part].shape != shape:
            texts.append(f"{part} must have shape {shape}, not {given[part].shape}")
        elif given[part].dtype.kind not in "fiu":
            texts.append(f"{part} must hold numbers, not {given[part].dtype}")
        elif not _is_finite(given[part]):
            texts.append(f"{part} must hold finite numbers, but has NaN or infinity among them")
    texts += [
        f"{part} is in the weights file, but the network's layer has none"
        for part in given
        if part not in parts
    ]
    return texts


def _is_finite(tensor: Array) -> bool:
    """Whether every value is a finite number in float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(tensor.astype(np.float32)).all())


def require_finite(model: keras.Model, where: str) -> None:
    """Raises DesignError naming every layer that has NaN or infinity among its weights."""
    faults = [
        Fault(
            where,
            layer.name,
            f"{_part(variable.name)} must hold finite numbers, but has NaN or infinity among them",
        )
        for layer in leaves(model)
        for variable in layer.weights
        if not _is_finite(variable.numpy())
    ]
    if faults:
        raise DesignError(faults)


def _part(name: str) -> str:
    """`conv1/kernel:0` to `kernel`."""
    return name.split("/")[-1].split(":")[0]


def _unreadable(path: Path, error: Exception) -> DesignError:
    lines = str(error).strip().splitlines()
    return DesignError(
        Fault(
            str(path),
            "",
            f"must be a whole {path.suffix} weights file, but reading it failed: "
            f"{lines[0] if lines else type(error).__name__}. Is it truncated?",
        )
    )


def _read_hdf5(path: Path, models: frozenset[str]) -> Weights:
    """Weights by layer; those of a model within the model by the layers in it."""
    import h5py

    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        layers = _names(root, "layer_names")
        if layers is None:
            raise ValueError(
                "it names no layers. Save the whole model (model.save('model.h5')) or its weights "
                "as HDF5 (model.save_weights('model.h5'), not .weights.h5)"
            )
        weights: Weights = {}
        for layer in layers:
            weights.setdefault(layer, {})
            for name in _names(root[layer], "weight_names") or ():
                owner = name.split("/")[0] if layer in models else layer
                parts = weights.setdefault(owner, {})
                part = _part(name)
                parts[name if part in parts else part] = np.asarray(root[layer][name])
        return weights


def _names(group: Any, attribute: str) -> list[str] | None:
    """A list of names; Keras splits one that is too long for HDF5 into numbered attributes."""
    if attribute in group.attrs:
        values = list(group.attrs[attribute])
    elif f"{attribute}0" in group.attrs:
        values, index = [], 0
        while f"{attribute}{index}" in group.attrs:
            values += list(group.attrs[f"{attribute}{index}"])
            index += 1
    else:
        return None
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _read_keras(path: Path) -> Weights:
    from hwflow.networks.keras_file import load_model

    return {
        layer.name: {_part(variable.name): variable.numpy() for variable in layer.weights}
        for layer in leaves(load_model(path))
        if layer.weights
    }


def _read_npz(path: Path) -> Weights:
    weights: Weights = {}
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        for key in archive.files:
            layer, _, part = key.rpartition("/")
            if not layer:
                raise ValueError(f"its keys must be <layer>/<weight>, not {key!r}")
            weights.setdefault(layer, {})[part] = archive[key]
    return weights


def _convolutions(model: keras.Model, path: Path) -> dict[str, tuple[int, ...]]:
    shapes = weight_shapes(model)
    faults = [
        Fault(
            str(path),
            layer,
            "must be a convolution with a bias: a Deep Compression file holds nothing else, not "
            f"{', '.join(parts)}",
        )
        for layer, parts in shapes.items()
        if set(parts) != {"kernel", "bias"} or len(parts["kernel"]) != 4
    ]
    if faults:
        raise DesignError(faults)
    return {layer: parts["kernel"] for layer, parts in shapes.items()}
