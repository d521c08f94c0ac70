"""Copies of Keras and QKeras layers."""

from __future__ import annotations

import warnings
from typing import Any


def clone(layer: Any, name: str, tensors: Any) -> Any:
    """What a copy of a layer, with its weights, makes of tensors.

    Args:
        layer: of Keras or QKeras.
        name: of the copy.
        tensors: one, or a list.
    """
    import keras

    with keras.utils.custom_object_scope(qkeras_objects()):
        copy = type(layer).from_config({**config_of(layer), "name": name})
    result = copy(tensors)
    copy.set_weights(layer.get_weights())
    return result


def config_of(layer: Any) -> dict[str, Any]:
    """A layer's configuration, without what Keras has to say of QKeras's quantizers in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(layer.get_config())


def qkeras_objects() -> dict[str, Any]:
    """The classes of QKeras by name, for Keras to load models with."""
    from qkeras import quantized_hswish
    from qkeras.utils import _add_supported_quantized_objects

    objects: dict[str, Any] = {"quantized_hswish": quantized_hswish}  # which QKeras leaves out
    _add_supported_quantized_objects(objects)
    return objects
