"""Loads the user's own Keras model, after its description has been looked through for what cannot
be built, so that nothing of a foreign file is run before it is known to be acceptable.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.errors import DesignError, Fault
from hwflow.layers.copies import qkeras_objects
from hwflow.networks.description import complaints

if TYPE_CHECKING:
    import keras

SUFFIXES = (".h5", ".hdf5", ".keras")


def load_model(path: Path) -> keras.Model:
    """The model of a Keras 2 file, `.h5` or `.keras`, QKeras layers among them; functional.

    A Sequential model is made functional: same layers, same names. What the file was compiled
    with is left out.

    Raises:
        DesignError: if the file cannot be read, is no whole Keras 2 model, or describes something
            that cannot be built; all faults at once.
    """
    require_buildable_file(path)
    from tensorflow import keras

    try:
        model = keras.models.load_model(str(path), custom_objects=qkeras_objects(), compile=False)
        if isinstance(model, keras.Sequential):
            model = keras.Model(model.inputs, model.outputs, name=model.name)
    except Exception as error:
        raise _unreadable(path, error) from error
    return model


def require_buildable_file(path: Path) -> None:
    """Refuses a file that describes no model that can be built; neither Keras nor it is run.

    Raises:
        DesignError: as `load_model` does.
    """
    description = _description(path)
    faults = [Fault(str(path), layer, text) for layer, text in complaints(description)]
    if faults:
        raise DesignError(faults)


def _unreadable(path: Path, error: Exception) -> DesignError:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    return DesignError(
        Fault(
            str(path),
            "",
            "must be a whole Keras 2 model that Keras and QKeras alone can load, but that failed: "
            f"{reason}. Is the file truncated, or does it use layers of its own?",
        )
    )


def _description(path: Path) -> dict[str, Any]:
    """The model's configuration and nothing else of the file."""
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise DesignError(
            Fault(
                str(path),
                "",
                f"must be a Keras model file ({', '.join(SUFFIXES)}). "
                "Save it so: model.save('model.h5')",
            )
        )
    try:
        text, version = _zip_parts(path) if zipfile.is_zipfile(path) else _hdf5_parts(path)
        description = json.loads(text) if text is not None else None
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    if description is None:
        raise DesignError(
            Fault(
                str(path),
                "",
                "must hold a whole model, but there is no model in it. If it holds weights only, "
                "name it as weights.file and give the network's family",
            )
        )
    if version.split(".")[0] not in ("2", ""):
        raise DesignError(
            Fault(
                str(path),
                "",
                f"must be written by Keras 2, not by Keras {version}. Save it again with tf_keras, "
                "or with TensorFlow 2.15 or older",
            )
        )
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise _unreadable(path, ValueError("its configuration is no Keras model's"))
    return description


def _zip_parts(path: Path) -> tuple[str | None, str]:
    with zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            return None, ""
        metadata = json.loads(archive.read("metadata.json"))
        return archive.read("config.json").decode(), str(metadata.get("keras_version", ""))


def _hdf5_parts(path: Path) -> tuple[str | None, str]:
    import h5py

    with h5py.File(path, "r") as file:
        return _text(file.attrs.get("model_config")), _text(file.attrs.get("keras_version")) or ""


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
