"""What a network costs, told from its float layers alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from hwflow.integer_graph import IntegerGraph
from hwflow.layers import float_kind
from hwflow.quantize.float_graph import FloatGraph
from hwflow.quantize.roles import OfNetwork, SectionOfRoles


def operations_of(graph: IntegerGraph) -> list[dict[str, Any]]:
    """The same for a QKeras model, whose layers are known by their integer operations alone.

    Args:
        graph: of the QKeras model.
    """
    layers = []
    for operation in graph.operations:
        alone = dataclasses.replace(graph, operations=(operation,))
        layers.append(
            {
                "name": operation.name,
                "kind": operation.kind,
                "shape": list(graph.tensors[operation.name].shape),
                "parameters": alone.parameters,
                "macs": alone.macs,
                "weight_bits": alone.weight_bits,
            }
        )
    return layers


def layers_of(graph: FloatGraph, section: SectionOfRoles) -> list[dict[str, Any]]:
    """For each layer its name, kind, output shape, parameters, MACs an image and weight bits.

    Args:
        graph: of the float network.
        section: the design's section on quantization, for the widths.
    """
    quantization = OfNetwork(section, graph)
    layers = []
    for node in graph.nodes:
        kind = float_kind(node.kind)
        kernel = node.weights.get("kernel")
        parameters = sum(int(array.size) for array in node.weights.values())
        macs = weight_bits = 0
        if kernel is not None:
            pixels = node.shape[0] * node.shape[1] if len(node.shape) == 3 else 1
            macs = pixels * int(kernel.size)
            widths = quantization.for_layer(node.name)
            weight_bits = kernel.size * widths.weights.width
            weight_bits += (parameters - kernel.size) * widths.biases.width
        layers.append(
            {
                "name": node.name,
                "kind": kind.name if kind else "input",
                "shape": list(node.shape),
                "parameters": parameters,
                "macs": macs,
                "weight_bits": int(weight_bits),
            }
        )
    return layers
