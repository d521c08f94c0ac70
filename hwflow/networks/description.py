"""What a file says of a model, and what of it cannot be built: told without running any of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hwflow.layers import float_kind, kinds
from hwflow.layers.base import FloatNode
from hwflow.layers.roles import OPTIONS, ROLES, SKIPPED, UNQUANTIZED
from hwflow.networks.flatten import COMPOSITIONS
from hwflow.networks.operators import ADVICE, CLASSES, FUNCTIONS

MODELS = ("Functional", "Model", "Sequential")
"""Classes of models that are described by their layers."""

LARGEST = 1 << 22
"""Units, filters or sides of an input beyond which a file is damaged or meant to harm."""

UNSUPPORTED = "this kind of layer is not supported"

Complaint = tuple[str, str]
"""A layer's name (empty for the model) and what about it cannot be built."""


@dataclass(frozen=True)
class _Layer:
    """One layer as a file describes it.

    Attributes:
        name: with the names of the models that it is in.
        kind: class name.
        config: its configuration.
        inputs: number of tensors that its first call reads.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: int


def complaints(description: Mapping[str, Any]) -> Iterator[Complaint]:
    """Everything in a model's description that cannot be built.

    Args:
        description: `class_name` and `config`, as Keras serialises models.

    Yields:
        Layer and complaint, the model's own first.
    """
    kind = description.get("class_name")
    if kind not in MODELS:
        yield "", f"must be a functional or Sequential model, not {kind}"
        return
    entries = _entries(description)
    yield from _input_complaints(str(kind), entries)
    layers = list(_layers(description, ()))
    if all(layer.kind == "InputLayer" for layer in layers):
        yield "", "must have layers, but there is none besides the input"
    yield from _name_complaints(layers)
    is_quantized = any(layer.kind in ROLES for layer in layers)
    is_told = False  # which layers are supported: with the first that is not
    for layer in layers:
        if is_quantized and layer.kind in UNQUANTIZED:
            text = "must be quantized, as other layers of the model are"
            yield layer.name, f"{text}. {UNQUANTIZED[layer.kind]}"
        for text in _layer_complaints(layer):
            tells = text.endswith(UNSUPPORTED)
            yield layer.name, f"{text}; {supported()}" if tells and not is_told else text
            is_told = is_told or tells


def _entries(description: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    config = description.get("config")
    entries = config.get("layers", []) if isinstance(config, Mapping) else []
    return [
        entry
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("config"), Mapping)
    ]


def _layers(description: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[_Layer]:
    """Every layer, those of models within the model too."""
    for entry in _entries(description):
        kind, config = str(entry.get("class_name", "")).split(">")[-1], entry["config"]
        name = str(config.get("name", kind))
        if kind in MODELS:
            yield from _layers(entry, (*path, name))
        else:
            inputs = _inputs(entry.get("inbound_nodes"))
            yield _Layer("/".join((*path, name)), kind, config, inputs)


def _inputs(calls: Any) -> int:
    """Tensors that the first of a layer's calls reads; one in a Sequential model."""
    if not isinstance(calls, list) or not calls or not isinstance(calls[0], list):
        return 1
    first = calls[0]
    return len(first) if first and isinstance(first[0], list) else 1


def _input_complaints(kind: str, entries: list[Mapping[str, Any]]) -> Iterator[Complaint]:
    inputs = [entry for entry in entries if entry.get("class_name") == "InputLayer"]
    if kind == "Sequential" and not inputs:
        inputs = entries[:1]
        while inputs and inputs[0].get("class_name") in MODELS:  # the input is that of a model
            inputs = _entries(inputs[0])[:1]
    if len(inputs) != 1 and entries:
        names = ", ".join(str(entry["config"].get("name", "?")) for entry in inputs) or "none"
        yield "", f"must have one input, not {len(inputs)} ({names})"
    for entry in inputs:
        config = entry["config"]
        name = str(config.get("name", ""))
        shape = config.get("batch_input_shape") or config.get("batch_shape")
        if shape is None:
            yield name, "must say the shape of its input; build the model before saving it"
        elif None in shape[1:]:
            yield (
                name,
                f"must have a fixed input shape, not {tuple(shape)}. Build the model with the "
                "height, width and channels that the hardware is to have",
            )
        elif len(shape) != 4:
            yield name, f"must have an input of height, width and channels, not {tuple(shape[1:])}"
        elif any(not isinstance(size, int) or not 0 < size <= LARGEST for size in shape[1:]):
            yield name, f"must have sizes from 1 to {LARGEST:,}, not {tuple(shape[1:])}"


def _name_complaints(layers: Iterable[_Layer]) -> Iterator[Complaint]:
    """Names that are taken, or that C++ cannot tell apart."""
    seen: dict[str, str] = {}
    for layer in layers:
        word = re.sub(r"\W+", "_", layer.name)
        before = seen.setdefault(word, layer.name)
        if before is layer.name:
            continue
        if before == layer.name:
            yield layer.name, "must have a name of its own, but two layers have this one"
        else:
            yield layer.name, f"must have a name that differs from {before!r} in C++ too ({word})"


def _layer_complaints(layer: _Layer) -> Iterator[str]:
    config = layer.config
    if config.get("data_format") == "channels_first":
        yield "must have data_format channels_last, not channels_first"
    for key in ("filters", "units"):
        size = config.get(key)
        if isinstance(size, int) and size > LARGEST:
            yield f"must have at most {LARGEST:,} {key}, not {size:,}"
    if layer.kind == "Lambda":
        yield "is a Lambda layer, which hides its function. Use layers of Keras or QKeras"
    elif layer.kind in CLASSES:
        function = str(config.get("function"))
        if function not in FUNCTIONS:
            yield f"the function tf.{function} is not supported. {ADVICE}"
    elif layer.kind in ROLES:
        yield from _quantizer_complaints(layer)
    elif layer.kind not in ("InputLayer", "BatchNormalization", "Softmax", *SKIPPED):
        yield from _kind_complaints(layer)


def _kind_complaints(layer: _Layer) -> Iterator[str]:
    """What a float layer's kind, and its own activation's, cannot build."""
    kind = float_kind(layer.kind)
    if kind is None and layer.kind not in COMPOSITIONS:
        yield f"is a {layer.kind}: {UNSUPPORTED}"
        return
    inputs = 2 if layer.kind in COMPOSITIONS else layer.inputs
    config = {**layer.config, "data_format": "channels_last"}  # another is told by itself
    nodes = [] if kind is None else [_node(layer, layer.kind, config, inputs)]
    activation = layer.config.get("activation", "linear")
    if layer.kind == "Activation":
        nodes = []
    if activation not in ("linear", "softmax", None):
        nodes.append(_node(layer, "Activation", {"activation": activation}, 1))
    for node in nodes:
        checked = float_kind(node.kind)
        try:
            text = checked.check(node) if checked is not None else None
        except (IndexError, KeyError, TypeError, ValueError):
            continue  # takes shapes too, or Keras will not read it: told once it is loaded
        if text is not None:
            yield text


def _node(layer: _Layer, kind: str, config: Mapping[str, Any], inputs: int) -> FloatNode:
    return FloatNode(layer.name, kind, ("",) * inputs, config, {}, (), layer.name)


def supported() -> str:
    """Which kinds of layers are."""
    known = {name for kind in kinds() for name in kind.float_classes}
    known |= {*ROLES, *COMPOSITIONS, "BatchNormalization"} - {"Elementwise"}
    return f"supported are {', '.join(sorted(known))}"


def _quantizer_complaints(layer: _Layer) -> Iterator[str]:
    """Weights of QKeras layers that no quantizer is given for."""
    for role, key, advice in ROLES[layer.kind]:
        has_weight = layer.config.get(OPTIONS.get(role, ""), True)
        if has_weight and not layer.config.get(key):
            yield f"its {role} has no quantizer: every tensor must be quantized. {advice}"
