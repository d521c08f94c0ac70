"""The float network as a flat list of nodes: skipped layers gone, batch norm folded.

The nodes are what the policy quantizes. Nothing here loses precision: folding is done in float64.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.layers import float_kind, kinds
from hwflow.layers.base import FloatNode
from hwflow.layers.elementwise import UNARY
from hwflow.layers.rectification import MAXIMA, is_rectification
from hwflow.layers.roles import SKIPPED

WEIGHT_ROLES = {"depthwise_kernel": "kernel", "depthwise_bias": "bias"}
"""Keras's names of weights where they differ from ours."""


@dataclasses.dataclass(frozen=True)
class FloatGraph:
    """A float network ready to be quantized.

    Attributes:
        nodes: in order of execution; the first is the input.
        outputs: names of the nodes whose tensors the network puts out.
        notes: what was left out that a user should know of, a sentence each.
    """

    nodes: tuple[FloatNode, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def consumers(self, name: str) -> tuple[FloatNode, ...]:
        """The nodes that read a node's output."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def node(self, name: str) -> FloatNode:
        """The node of that name; KeyError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


def read(model: Any) -> FloatGraph:
    """Flattens a functional Keras model.

    A softmax at the end is left out, with a note: it changes neither the order of the outputs nor
    what the hardware has to know.

    Args:
        model: float Keras model with one input.

    Raises:
        DesignError: naming every layer that cannot be built, and why.
    """
    faults: list[Fault] = []
    alias: dict[str, str] = {}
    nodes: list[FloatNode] = []
    notes: list[str] = []
    in_model = {layer.name for layer in model.layers}
    for layer in model.layers:
        uses = [
            node
            for node in layer.inbound_nodes
            if all(source.name in in_model for source in _sources(node))
        ]
        inputs = tuple(alias[source.name] for source in _sources(uses[0])) if uses else ()
        class_name = type(layer).__name__
        if len(uses) > 1:
            faults.append(Fault("", f"layer {layer.name!r}", "is shared, used in several places"))
        if class_name in SKIPPED:
            alias[layer.name] = inputs[0]
            continue
        shape = layer.output_shape[0] if class_name == "InputLayer" else layer.output_shape
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in _tensors_read(uses))
        added = _nodes_of(layer, inputs, tuple(shape[1:]), shapes)
        if (
            _is_softmax(added[-1])
            and layer.name in output_layers(model)
            and not _is_read(layer, in_model)
        ):
            notes.append(logits_note(layer.name))
            added = added[:-1]
            alias[layer.name] = inputs[0]
            if not added:
                continue
        for node in added:
            fault = _fault(node)
            if fault is not None:
                faults.append(Fault("", f"layer {layer.name!r} ({class_name})", fault))
        nodes += added
        alias[layer.name] = added[-1].name
    if faults:
        raise DesignError(faults)
    outputs = tuple(alias[name] for name in output_layers(model))
    return grouped(fold_batch_norm(FloatGraph(tuple(nodes), outputs, tuple(notes))))


def output_layers(model: Any) -> list[str]:
    """Names of the layers that make a Keras model's outputs, in the order of the outputs.

    Keras's own `output_names` are numbered where a layer makes several outputs.
    """
    return [tensor.node.layer.name for tensor in model.outputs]


def logits_note(name: str) -> str:
    """What is told of a softmax at the end, by its layer's name."""
    return (
        f"the softmax of {name!r} is left out: the outputs are its logits "
        "(outputs.head: softmax has the hardware compute it)"
    )


def _is_softmax(node: FloatNode) -> bool:
    return node.kind == "Softmax" or (
        node.kind == "Activation" and node.config["activation"] == "softmax"
    )


def _is_read(layer: Any, in_model: set[str]) -> bool:
    """Whether a layer of the model reads this one."""
    return any(node.outbound_layer.name in in_model for node in layer.outbound_nodes)


def _sources(node: Any) -> list[Any]:
    layers = node.inbound_layers
    return list(layers) if isinstance(layers, list | tuple) else [layers]


def _tensors_read(uses: list[Any]) -> list[Any]:
    """The Keras tensors that a layer reads in its first use."""
    tensors = uses[0].input_tensors if uses else []
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _nodes_of(
    layer: Any,
    inputs: tuple[str, ...],
    shape: tuple[int, ...],
    input_shapes: tuple[tuple[int, ...], ...],
) -> list[FloatNode]:
    """The node of a layer, followed by one for the activation that it has of its own."""
    config = dict(layer.get_config())
    weights = {}
    for variable in layer.weights:
        role = variable.name.split("/")[-1].split(":")[0]
        weights[WEIGHT_ROLES.get(role, role)] = np.asarray(variable.numpy(), np.float64)
    class_name = type(layer).__name__
    activation = config.get("activation", "linear")
    own = class_name != "Activation" and activation not in ("linear", None)
    first = FloatNode(
        name=layer.name,
        kind=class_name,
        inputs=inputs,
        config=config,
        weights=weights,
        shape=shape,
        source="" if own else layer.name,
        input_shapes=input_shapes,
    )
    if not own:
        return [first]
    name = f"{layer.name}_{activation if isinstance(activation, str) else 'activation'}"
    return [
        first,
        FloatNode(
            name, "Activation", (layer.name,), {"activation": activation}, {}, shape, layer.name
        ),
    ]


def _fault(node: FloatNode) -> str | None:
    if node.kind in ("InputLayer", "BatchNormalization"):
        return None
    kind = float_kind(node.kind)
    if kind is None:
        known = sorted({name for kind in kinds() for name in kind.float_classes})
        return f"this kind of layer is not supported; supported are {', '.join(known)}"
    return kind.check(node)


def fold_batch_norm(graph: FloatGraph) -> FloatGraph:
    """Folds every batch norm into the convolution or dense layer that feeds it alone.

    One that reads anything else, as those before a convolution do, becomes a depthwise 1x1
    convolution: a scale and an offset for each channel.

    Raises:
        DesignError: naming every batch norm that can become neither.
    """
    faults = []
    folded: dict[str, FloatNode] = {node.name: node for node in graph.nodes}
    alias: dict[str, str] = {}
    for node in graph.nodes:
        if node.kind != "BatchNormalization":
            continue
        source = folded[alias.get(node.inputs[0], node.inputs[0])]
        kind = float_kind(source.kind)
        alone = len(graph.consumers(node.inputs[0])) == 1 and node.inputs[0] not in graph.outputs
        if kind is not None and kind.weights and alone:
            folded[source.name] = _folded(source, node)
            alias[node.name] = source.name
        elif len(node.shape) == 3 and _normalised_axis(node) == 2:
            folded[node.name] = _scaling(node)
        else:
            faults.append(
                Fault(
                    "",
                    f"layer {node.name!r} (BatchNormalization)",
                    "must follow a convolution or dense layer whose output nothing else reads, or "
                    f"have an output (H, W, C) and normalise its channels, not {node.shape} and "
                    f"axis {node.config.get('axis')}",
                )
            )
    if faults:
        raise DesignError(faults)
    nodes = tuple(
        dataclasses.replace(
            folded[node.name], inputs=tuple(alias.get(source, source) for source in node.inputs)
        )
        for node in graph.nodes
        if node.name not in alias
    )
    return FloatGraph(nodes, tuple(alias.get(name, name) for name in graph.outputs), graph.notes)


def _normalised_axis(norm: FloatNode) -> int | None:
    """The axis of a node's shape that a batch norm normalises; nothing if there are several."""
    axis = norm.config.get("axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if len(axes) != 1:
        return None
    return int(axes[0]) - 1 if axes[0] > 0 else int(axes[0]) + len(norm.shape)


def _scale_and_offset(norm: FloatNode) -> tuple[Any, Any]:
    """What a batch norm does to each channel: times the first, plus the second."""
    weights: Mapping[str, Any] = norm.weights
    scale = weights.get("gamma", 1.0) / np.sqrt(
        weights["moving_variance"] + float(norm.config["epsilon"])
    )
    return scale, weights.get("beta", 0.0) - weights["moving_mean"] * scale


def _folded(node: FloatNode, norm: FloatNode) -> FloatNode:
    scale, offset = _scale_and_offset(norm)
    kernel = node.weights["kernel"]
    factor = scale.reshape(kernel.shape[2:]) if node.kind == "DepthwiseConv2D" else scale
    return dataclasses.replace(
        node,
        weights={
            "kernel": kernel * factor,
            "bias": node.weights.get("bias", 0.0) * scale + offset,
        },
        config={**node.config, "use_bias": True},
        source=norm.source,
    )


def _scaling(norm: FloatNode) -> FloatNode:
    """The depthwise 1x1 convolution that does what a batch norm does."""
    scale, offset = _scale_and_offset(norm)
    config = {
        "kernel_size": (1, 1),
        "strides": (1, 1),
        "padding": "valid",
        "depth_multiplier": 1,
        "dilation_rate": (1, 1),
        "data_format": "channels_last",
        "use_bias": True,
    }
    weights = {"kernel": np.reshape(scale, (1, 1, -1, 1)), "bias": offset}
    return dataclasses.replace(norm, kind="DepthwiseConv2D", config=config, weights=weights)


def grouped(graph: FloatGraph) -> FloatGraph:
    """Gathers layers that together compute one function of one tensor, element by element.

    A group becomes a node of kind `Elementwise`, named after its last layer; its configuration
    lists the `steps`: each with the node and layer it stands for, its class, its configuration and
    the nodes it reads, of which the empty name is the tensor. A ReLU by itself is no group.
    """
    groups: dict[str, tuple[str, list[FloatNode]]] = {}  # by last node: the tensor, and the nodes
    for node in graph.nodes:
        group = _group(node, groups)
        if group is not None:
            groups[node.name] = group
    kept = {node.name for node in graph.nodes if node.name not in groups}
    read = {source for node in graph.nodes if node.name in kept for source in node.inputs}
    ends = {name for name in groups if name in read or name in graph.outputs}
    for name in list(ends):
        ends |= {groups[name][0]} & set(groups)  # a lone ReLU below a group
    uses = Counter(part.name for name in ends for part in groups[name][1])
    shared = {name for name, count in uses.items() if count > 1}
    nodes: list[FloatNode] = []
    for node in graph.nodes:
        if node.name in kept:
            nodes.append(node)
        elif node.name in ends:
            nodes.append(_elementwise(node, *groups[node.name], shared))
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _group(
    node: FloatNode, groups: Mapping[str, tuple[str, list[FloatNode]]]
) -> tuple[str, list[FloatNode]] | None:
    """The tensor of which a node is a function, and the nodes from there to it."""
    unary = node.kind in UNARY
    if not unary and node.kind not in ("Multiply", "Add"):
        return None
    sources = {groups[name][0] if name in groups else name for name in node.inputs}
    within = [groups[name][1] for name in node.inputs if name in groups]
    if len(sources) != 1 or (not unary and not within):
        return None
    nodes = {each.name: each for part in within for each in part}
    return sources.pop(), [*nodes.values(), node]


def _is_plain(node: FloatNode) -> bool:
    """Whether a quantizer by itself computes a function: a ReLU, or nothing."""
    if node.kind == "ReLU":
        return is_rectification(node.config)
    return node.kind == "Activation" and node.config["activation"] in (*MAXIMA, "linear")


def _elementwise(
    end: FloatNode, source: str, nodes: list[FloatNode], shared: Container[str]
) -> FloatNode:
    """The node of a group; what other groups have too goes by other names in each."""
    if len(nodes) == 1 and _is_plain(end):
        return end
    names = {node.name for node in nodes}

    def step_name(node: FloatNode) -> str:
        if node is end:
            return f"{node.name}_function"
        return f"{end.name}_{node.name}" if node.name in shared else node.name

    steps = [
        {
            "node": node.name,
            "name": step_name(node),
            "class": node.kind,
            "config": {key: value for key, value in node.config.items() if key != "name"},
            "inputs": [name if name in names else "" for name in node.inputs],
        }
        for node in nodes
    ]
    return dataclasses.replace(
        end, kind="Elementwise", inputs=(source,), config={"steps": steps}, weights={}
    )
