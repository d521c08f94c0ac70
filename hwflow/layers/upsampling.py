"""Upsampling by whole factors, nearest or bilinear; `Resizing` where it is that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwflow.errors import DesignError
from hwflow.layers.base import FloatNode, LayerKind, LoweringContext, QuantizedBuilder, pair
from hwflow.opset import UpsampleBilinear2D, UpsampleNearest2D

OPERATIONS = {"nearest": UpsampleNearest2D, "bilinear": UpsampleBilinear2D}
"""By Keras's name of the interpolation."""


def _fault(
    config: Any, class_name: str, given: tuple[Any, ...], made: tuple[Any, ...]
) -> str | None:
    """What cannot be built.

    Args:
        config: the Keras layer's.
        class_name: of the layer.
        given: its input's height and width.
        made: its output's.
    """
    interpolation = config["interpolation"]
    if interpolation not in OPERATIONS:
        return f"interpolation must be one of {', '.join(OPERATIONS)}, not {interpolation!r}"
    if class_name == "Resizing":
        if config.get("crop_to_aspect_ratio"):
            return "crop_to_aspect_ratio is not supported"
        if any(after % before for before, after in zip(given, made, strict=True)):
            return f"can only enlarge by whole factors, not from {given} to {made}"
    return None


def _check(node: FloatNode) -> str | None:
    (given,) = node.input_shapes
    return _fault(node.config, node.kind, given[:2], node.shape[:2])


def _computes(node: FloatNode) -> bool:
    return bool(node.config["interpolation"] == "bilinear")


def _quantize(node: FloatNode, inputs: Sequence[Any], build: QuantizedBuilder) -> Any:
    from keras.layers import UpSampling2D

    (given,) = node.input_shapes
    factors = tuple(after // before for before, after in zip(given[:2], node.shape, strict=False))
    interpolation = node.config["interpolation"]
    return UpSampling2D(factors, interpolation=interpolation, name=node.name)(inputs[0])


def _lower(layer: Any, inputs: Sequence[str], context: LoweringContext) -> str:
    config, class_name = layer.get_config(), type(layer).__name__
    given, made = context.tensor(inputs[0]).shape[:2], layer.output_shape[1:3]
    fault = _fault(config, class_name, given, made)
    if fault is not None:
        raise DesignError(f"layer {layer.name!r} ({class_name}): {fault}")
    factors = pair([after // before for before, after in zip(given, made, strict=True)])
    return context.add(OPERATIONS[config["interpolation"]](layer.name, (inputs[0],), factors))


KIND = LayerKind(
    name="upsampling",
    float_classes=("UpSampling2D", "Resizing"),
    quantized_classes=("UpSampling2D", "Resizing"),
    quantize=_quantize,
    lower=_lower,
    computes=_computes,
    parsed_by_hls4ml=False,
    check=_check,
)
