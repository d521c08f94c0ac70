"""What is checked of a design and its network before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from hwflow.design import Design, load_design
from hwflow.errors import DesignError, Fault, of_layers
from hwflow.integer_graph import IntegerGraph
from hwflow.networks import families, load_network
from hwflow.opset import Conv2D
from hwflow.schema_faults import did_you_mean
from hwflow.sections import Simulation


def read_design(path: Path) -> Design:
    """A design, with the families' own parameters, or the user's model as its file has it, checked.

    Raises:
        DesignError: with every fault of the design, else of the model's description.
    """
    from hwflow.networks.keras_file import require_buildable_file

    design = load_design(path, {name: family.parameters for name, family in families().items()})
    if design.network.file is not None:
        require_buildable_file(design.network.file)
    return design


def check(design_path: Path) -> dict[str, Any]:
    """A summary of a design: its layers, shapes, parameters, MACs and bits; nothing is written.

    Raises:
        DesignError: if the design, or its network, cannot be built.
    """
    design = read_design(design_path)
    network = load_network(design)
    check_names(design, network.model)
    layers = require_buildable(network.model, design)
    return {
        "design": design.name,
        "network": network.source,
        "input_shape": [int(size) for size in network.model.input_shape[1:]],
        "layers": layers,
        "parameters": network.parameters_count,
        "macs": sum(layer["macs"] for layer in layers),
        "weight_bits": sum(layer["weight_bits"] for layer in layers),
        "backend": design.hardware.backend,
        "part": design.hardware.part,
    }


def check_names(design: Design, model: Any) -> list[str]:
    """Checks what a design says of the layers and outputs of its network.

    Returns:
        Names of the layers that make the outputs, in their order.

    Raises:
        DesignError: for patterns that name nothing, and heads that an output cannot have.
    """
    from hwflow.quantize.float_graph import output_layers
    from hwflow.quantize.heads import head_faults

    outputs = output_layers(model)
    shapes = [
        (name, tuple(tensor.shape[1:])) for name, tensor in zip(outputs, model.outputs, strict=True)
    ]
    faults = design.unmatched_patterns((layer.name for layer in model.layers), outputs)
    faults += head_faults(shapes, design.outputs.for_layer, design.fault)
    if faults:
        raise DesignError(faults)
    return outputs


def require_buildable(model: Any, design: Design) -> list[dict[str, Any]]:
    """Refuses a network that cannot be built, before anything of it is written.

    Args:
        model: flat Keras or QKeras model.
        design: of which it is the network.

    Returns:
        A summary of its layers.

    Raises:
        DesignError: with every fault of every layer, and the file that they are in.
    """
    from hwflow.quantize.adopt import adopt, is_quantized
    from hwflow.quantize.build import quantizable, quantize
    from hwflow.quantize.float_graph import read
    from hwflow.quantize.lower import lower
    from hwflow.quantize.summary import layers_of, operations_of

    nothing = np.zeros((1, *model.input_shape[1:]), np.float32)  # formats are chosen later
    try:
        if is_quantized(model):
            made = adopt(model, design.quantization.input, nothing)
            return operations_of(lower(made, design.name))
        graph = read(model)
        quantizable(graph, design.quantization, design.fault)
        layers = layers_of(graph, design.quantization)
        if design.network.file is not None:  # families are known to be lowered
            lower(quantize(model, design.quantization, nothing, design.fault), design.name)
        return layers
    except DesignError as error:
        file = str(design.network.file or "")
        raise DesignError([replace(f, where=f.where or file) for f in error.faults]) from error


def require_foldable(graph: IntegerGraph, design: Design) -> None:
    """Refuses reuse factors and multipliers given by hand that a layer cannot have.

    Raises:
        DesignError: with every one of them, and its place in the design.
    """
    from hwflow.plan.folding import fold_for_reuse_factor
    from hwflow.plan.lanes import foldable, multiplier_of
    from hwflow.plan.wishes import choices_of

    choices = choices_of(design)
    told: list[tuple[str, Fault]] = []
    for operation in graph.operations:
        if not isinstance(operation, Conv2D):
            continue
        name, shape = operation.name, foldable(graph, operation)
        for key in ("reuse_factor", "multiplier"):
            try:
                factor = choices.for_layer(name).reuse_factor
                if key == "multiplier":
                    multiplier_of(choices, operation, shape)
                elif factor is not None and choices.explicit(name):
                    fold_for_reuse_factor(shape, factor)
            except DesignError as error:
                place = design.hardware.place_of(key, name)
                for fault in error.faults:
                    message = fault.message.replace(f"layer {name!r}", "{layers}")
                    told.append((name, design.fault(place, message)))
    if told:
        raise DesignError(of_layers(told))


def simulation_of(ap_types: str) -> Simulation:
    """The section of a design that chooses the headers of ap_int and ap_fixed.

    Raises:
        DesignError: if there are no such headers.
    """
    known = get_args(Simulation.model_fields["ap_types"].annotation)
    if ap_types not in known:
        hint = did_you_mean(ap_types, known)
        raise DesignError(f"--ap-types must be one of {', '.join(known)}, not {ap_types!r}.{hint}")
    return Simulation.model_validate({"ap_types": ap_types})
