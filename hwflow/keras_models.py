"""Keras models, QKeras layers included, as files that a build keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwflow.errors import DesignError, Fault
from hwflow.workspace import disk_errors


def save_keras(model: Any, path: Path) -> None:
    """Saves a model as HDF5."""
    with _quiet(), disk_errors(f"writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(str(path), save_format="h5")


def load_keras(path: Path) -> Any:
    """Loads a model that a step saved, QKeras layers included.

    Raises:
        DesignError: if the file is missing or cannot be read.
    """
    from qkeras.utils import load_qmodel

    from hwflow.layers.copies import qkeras_objects

    try:
        with _quiet():
            return load_qmodel(str(path), qkeras_objects(), compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DesignError(Fault(str(path), "", f"cannot be read: {error}")) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keras warns of its own file format and of metrics that were never compiled."""
    import logging
    import warnings

    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
