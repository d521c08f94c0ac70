"""How many channels each stage takes and gives a cycle, and how its convolution is folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd, prod

from hwflow.errors import DesignError, Fault
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Concatenate,
    Conv2D,
    Frame2D,
    Input,
    MaxPool2D,
    SelectChannels,
    Softmax,
    SumPool2D,
    TopKIndices,
    TopKValues,
)
from hwflow.plan import folding, memories
from hwflow.plan.choices import Choices
from hwflow.plan.parallel_window import ParallelWindow
from hwflow.plan.pool_lanes import pool_fold
from hwflow.plan.stages import Stage, fused_requantizations
from hwflow.plan.streams import Memory
from hwflow.plan.window_schedule import buffer_pixels


def foldable(graph: IntegerGraph, operation: Conv2D) -> folding.Foldable:
    """What the folds of a convolution of a graph depend on."""
    out = fused_requantizations(graph).get(operation.name, operation)
    source, result = graph.tensors[operation.inputs[0]], graph.tensors[out.name]
    kernel_height, kernel_width, inputs, filters = operation.weights.shape
    needs_window, reach = operation.has_window, operation.reach
    return folding.Foldable(
        operation.name,
        pixels=result.shape[0] * result.shape[1],
        taps=kernel_height * kernel_width,
        inputs=inputs,
        filters=filters // operation.groups,
        groups=operation.groups,
        input_width=source.format.width,
        output_width=result.format.width,
        weight_width=operation.weight_width,
        sum_width=graph.tensors[operation.name].format.width,
        shift_bits=operation.shift_bits,
        input_pixels=source.shape[0] * source.shape[1] if needs_window else 0,
        lead_pixels=max(
            0,
            (reach[0] - 1 - operation.padding[0]) * source.shape[1]
            + reach[1]
            - operation.padding[2],
        )
        if needs_window
        else 0,
        buffer_pixels=buffer_pixels(source.shape, reach, operation.strides) if needs_window else 0,
        window=ParallelWindow.over(
            source.shape,
            (kernel_height, kernel_width),
            operation.strides,
            operation.padding,
            result.shape,
            dilation=operation.dilation,
        )
        if needs_window
        else None,
    )


def weight_memory(choices: Choices, operation: Conv2D, words: int, width_bits: int) -> Memory:
    """Where the weights of a layer stand.

    Raises:
        DesignError: for a storage that the device does not have.
    """
    storage = choices.for_layer(operation.name).storage
    return memories.place(
        "weights",
        words,
        width_bits,
        choices.storages.get(operation.name, storage),
        layer=operation.name,
        uram_initialisable=choices.uram_initialisable,
        uram_load_port=choices.uram_load_port,
    )


def multiplier_of(choices: Choices, operation: Conv2D, layer: folding.Foldable) -> str:
    """What makes the products of a layer: `lut`, `dsp`, `dsp_pair` or `auto`.

    Raises:
        DesignError: for pairs of products that do not fit a DSP slice.
    """
    said = choices.for_layer(operation.name).multiplier
    wanted = choices.multipliers.get(operation.name, said)
    if wanted == "dsp_pair" and not layer.can_pair:
        why = (
            "each of its filters reads another channel"
            if layer.is_depthwise
            else f"inputs of {layer.input_width} and weights of {layer.weight_width} bits need "
            f"{layer.input_width + 2 * layer.weight_width + 1} of 25 bits"
        )
        raise DesignError(
            Fault(
                "",
                "hardware.multiplier",
                f"must not be 'dsp_pair' for layer {operation.name!r}: {why}",
            )
        )
    return wanted


@dataclass
class Lanes:
    """Channels in the beats of every stage.

    Attributes:
        read: by the name of the operation that reads.
        written: by tensor.
        parallel: taps of a window a cycle, of convolutions and poolings by name.
        folds: of convolutions, by name.
    """

    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    parallel: dict[str, int] = field(default_factory=dict)
    folds: dict[str, folding.Fold] = field(default_factory=dict)


def choose_lanes(graph: IntegerGraph, stages: Sequence[Stage], choices: Choices) -> Lanes:
    """The lanes of every stage, in order.

    Raises:
        DesignError: for illegal reuse factors and storages, all of them at once.
    """
    lanes = Lanes()
    faults: list[Fault] = []
    for stage in stages:
        try:
            _choose(graph, stage, choices, lanes)
        except DesignError as error:
            faults += error.faults
            lanes.written[stage.tensor] = 1  # so that all faults are found
    if faults:
        raise DesignError(faults)
    return lanes


def _choose(graph: IntegerGraph, stage: Stage, choices: Choices, lanes: Lanes) -> None:
    operation = stage.operation
    name = operation.name
    out = graph.tensors[stage.tensor]
    if isinstance(operation, Input):
        # as many channels a beat as fit a 64-bit word: wide enough never to be the bottleneck
        lanes.written[name] = max(
            d for d in folding.divisors(out.shape[2]) if d * out.format.width <= 64
        )
        return
    given = lanes.written[operation.inputs[0]]
    if isinstance(operation, Conv2D):
        # what cannot be is a fault here already
        weight_memory(choices, operation, 1, 1)
        layer = foldable(graph, operation)
        multiplier_of(choices, operation, layer)
        fold = _convolution_fold(layer, choices, given)
        lanes.folds[name], lanes.parallel[name] = fold, fold.taps
        lanes.read[name], lanes.written[stage.tensor] = layer.input_lanes(fold), fold.pe
        return
    sources = [graph.tensors[source] for source in operation.inputs]
    if isinstance(operation, Softmax | TopKIndices | TopKValues):
        lanes.read[name] = lanes.written[name] = 1
        if not isinstance(operation, Softmax):  # each lane costs k comparisons
            read, width = prod(sources[0].shape), sources[0].format.width
            channels, interval = sources[0].shape[2], choices.wanted_cycles
            lanes.read[name] = folding.lanes_for_interval(channels, read, interval, width, 0)
            lanes.written[name] = operation.k
        return
    if isinstance(operation, MaxPool2D | SumPool2D):
        taps, chosen = pool_fold(operation, sources[0], out, choices.wanted_cycles, given)
        lanes.parallel[name] = taps
        lanes.read[name] = lanes.written[stage.tensor] = chosen
        return
    channels = out.shape[2]
    beats = out.shape[0] * out.shape[1] * channels
    if isinstance(operation, Concatenate):
        channels = gcd(*(source.shape[2] for source in sources))
    elif isinstance(operation, SelectChannels):
        beats = out.shape[0] * out.shape[1] * max(channels, sources[0].shape[2])
        channels = gcd(channels, sources[0].shape[2])
    elif isinstance(operation, Frame2D):
        beats = max(beats, prod(sources[0].shape))
    width = max(source.format.width for source in [*sources, out])
    interval = choices.wanted_cycles
    chosen = folding.lanes_for_interval(channels, beats, interval, width, given)
    if isinstance(operation, SelectChannels):
        # each lane costs a copy of the pixel
        fewest = folding.lanes_for_interval(channels, beats, interval, width, 0)
        chosen = folding.with_neighbour(fewest, channels, given)
    lanes.read[name] = lanes.written[stage.tensor] = chosen


def _convolution_fold(layer: folding.Foldable, choices: Choices, given_lanes: int) -> folding.Fold:
    if layer.name in choices.folds:
        return choices.folds[layer.name]
    wanted = choices.for_layer(layer.name).reuse_factor
    if wanted is not None:
        if not choices.explicit(layer.name):
            # the default for all layers: the nearest legal one, rather slower than larger
            legal = layer.reuse_factors()
            wanted = min((rf for rf in legal if rf >= wanted), default=max(legal))
        return folding.fold_for_reuse_factor(layer, wanted)
    return folding.fold_for_interval(layer, choices.wanted_cycles, given_lanes)
