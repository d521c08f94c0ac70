"""Keras models, QKeras layers included, as files that a build keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hwflow.errors import DesignError, Fault
from hwflow.workspace import disk_errors

Result = TypeVar("Result")


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

    load = as_written(load_qmodel)
    try:
        with _quiet():
            return load(str(path), qkeras_objects(), compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DesignError(Fault(str(path), "", f"cannot be read: {error}")) from error


def as_written(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function within which layers are called as Python: AutoGraph does not rewrite their code.

    That takes a third of the time in which a model is made. It is there for layers that branch on
    the values of tensors, and no layer of Keras or QKeras does.
    """
    import tensorflow as tf

    converted: Callable[..., Result] = tf.autograph.experimental.do_not_convert(function)
    return converted


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
