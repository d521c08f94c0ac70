"""From the integer graph to processes and streams.

A requantization is fused into what it alone reads. Each tensor leaves its producer in beats of the
producer's lanes; where consumers are several it is duplicated, and where their lanes differ it is
repacked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, lcm
from typing import Protocol

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Add,
    Concatenate,
    Conv2D,
    Input,
    Interval,
    MaxPool2D,
    Multiply,
    Operation,
    Padding,
    Requantize,
    Shape,
    SumPool2D,
    Table,
    Tensor,
)
from hwflow.plan import fifo, fifo_search, folding, memories
from hwflow.plan.process_schedule import window_iterations
from hwflow.plan.streams import Memory, Process, Stream, StreamGraph
from hwflow.plan.window_schedule import SlidingWindow


class LayerChoice(Protocol):
    """What the design says of one layer."""

    @property
    def reuse_factor(self) -> int | None: ...
    @property
    def storage(self) -> str: ...


@dataclass(frozen=True)
class Choices:
    """What the design says of the hardware, as far as the mapping needs it.

    Attributes:
        for_layer: reuse factor and storage of a layer by its name.
        explicit: whether a reuse factor was given for this very layer, and so must be legal.
        interval_cycles: cycles an image where no reuse factor is given.
        fastest: fold as little as legal (`strategy: latency`).
        uram_initialisable: whether the device's UltraRAM can hold constants.
        folds: of convolutions by name, as a plan chose them; they come before everything else.
        storages: of weights by the convolution's name, as a plan chose them.
        multipliers: `lut` or `dsp` by the convolution's name, as a plan chose them.
        simulate_depths: find the depths of the FIFOs by simulation; otherwise they only keep the
            network from blocking.
    """

    for_layer: Callable[[str], LayerChoice]
    explicit: Callable[[str], bool] = lambda name: False
    interval_cycles: int = folding.DEFAULT_INTERVAL_CYCLES
    fastest: bool = False
    uram_initialisable: bool = False
    folds: Mapping[str, folding.Fold] = field(default_factory=dict)
    storages: Mapping[str, str] = field(default_factory=dict)
    multipliers: Mapping[str, str] = field(default_factory=dict)
    simulate_depths: bool = False


def map_graph(graph: IntegerGraph, choices: Choices) -> StreamGraph:
    """The processes and streams of a network, folded as the design says, with FIFO depths.

    Args:
        graph: the integer graph.
        choices: of the design.

    Raises:
        DesignError: for illegal reuse factors and storages, all of them at once.
        ToolError: if the depths are to be simulated and the compiled core is missing.
    """
    mapped = fifo.with_depths(_Mapper(graph, choices).map())
    return fifo_search.sized(mapped) if choices.simulate_depths else mapped


def foldable(graph: IntegerGraph, operation: Conv2D) -> folding.Foldable:
    """What the folds of a convolution of a graph depend on."""
    out = _fused(graph).get(operation.name, operation)
    source, result = graph.tensors[operation.inputs[0]], graph.tensors[out.name]
    kernel_height, kernel_width, inputs, filters = operation.weights.shape
    needs_window = kernel_height * kernel_width > 1 or operation.strides != (1, 1)
    needs_window = needs_window or any(operation.padding)
    return folding.Foldable(
        operation.name,
        pixels=result.shape[0] * result.shape[1],
        taps=kernel_height * kernel_width,
        inputs=inputs,
        filters=filters // operation.groups,
        groups=operation.groups,
        input_width=source.format.width,
        output_width=result.format.width,
        weight_width=operation.weight_format.width + (not operation.weight_format.signed),
        sum_width=graph.tensors[operation.name].format.width,
        input_pixels=source.shape[0] * source.shape[1] if needs_window else 0,
        lead_pixels=max(
            0,
            (kernel_height - 1 - operation.padding[0]) * source.shape[1]
            + kernel_width
            - operation.padding[2],
        )
        if needs_window
        else 0,
        buffer_pixels=_buffer_pixels(source.shape, (kernel_height, kernel_width), operation.strides)
        if needs_window
        else 0,
    )


def _buffer_pixels(shape: Shape, kernel: tuple[int, int], strides: tuple[int, int]) -> int:
    """Pixels of a sliding window's line buffer: the window's reach, and the rows that a stride
    skips, so that they arrive while a row is worked on.
    """
    least = (kernel[0] - 1) * shape[1] + kernel[1]
    return min(least + (strides[0] - 1) * shape[1], shape[0] * shape[1] + least)


def identifier(name: str) -> str:
    """A C++ identifier made of a layer's name."""
    word = re.sub(r"\W+", "_", name).strip("_")
    return f"layer_{word}" if not word or word[0].isdigit() else word


def stream_name(tensor: str) -> str:
    """The C++ name of the stream in which a tensor leaves its producer."""
    return f"{identifier(tensor)}_out"


@dataclass(frozen=True)
class _Stage:
    """An operation, and the requantization fused into it."""

    operation: Operation
    fused: Requantize | None

    @property
    def tensor(self) -> str:
        """The tensor that leaves it."""
        return self.fused.name if self.fused else self.operation.name


class _Mapper:
    def __init__(self, graph: IntegerGraph, choices: Choices) -> None:
        self.graph = graph
        self.choices = choices
        self.stages = _stages(graph)
        self.lanes_out: dict[str, int] = {}  # by tensor
        self.lanes_in: dict[str, int] = {}  # by name of the consuming operation
        self.folds: dict[str, folding.Fold] = {}
        self.processes: list[Process] = []
        self.streams: dict[str, Stream] = {}
        self.branches: dict[str, list[tuple[str, str]]] = {}  # tensor -> (consumer, stream)

    def map(self) -> StreamGraph:
        faults: list[Fault] = []
        for stage in self.stages:
            try:
                self.fold(stage)
            except DesignError as error:
                faults += error.faults
                self.lanes_out[stage.tensor] = 1  # so that all faults are found
        if faults:
            raise DesignError(faults)
        inputs = []
        for stage in self.stages:
            try:
                made = self.instantiate(stage)
            except DesignError as error:
                faults += error.faults
                continue
            if isinstance(stage.operation, Input):
                inputs.append(made)
        if faults:
            raise DesignError(faults)
        outputs = tuple(self.branch(name, "output") for name in self.graph.outputs)
        return StreamGraph(
            self.graph.name, tuple(self.processes), self.streams, tuple(inputs), outputs
        )

    # --- folds -------------------------------------------------------------------------------

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def fold(self, stage: _Stage) -> None:
        """Chooses the lanes of a stage's input and output."""
        operation = stage.operation
        name = operation.name
        out = self.tensor(stage.tensor)
        if isinstance(operation, Input):
            # as many channels a beat as fit a 64-bit word: wide enough never to be the bottleneck
            lanes = max(d for d in folding.divisors(out.shape[2]) if d * out.format.width <= 64)
            self.lanes_out[name] = lanes
            return
        if isinstance(operation, Conv2D):
            self.weight_memory(operation, 1, 1)  # a storage that cannot be is a fault here already
            fold = self.convolution_fold(stage, operation)
            self.folds[name] = fold
            is_depthwise = operation.weights.shape[2] == 1 and operation.groups > 1
            multiplier = operation.weights.shape[3] // operation.groups
            channels = fold.pe // multiplier  # of a depthwise layer: its multiplier takes cycles
            self.lanes_out[stage.tensor] = channels if is_depthwise else fold.pe
            self.lanes_in[name] = channels if is_depthwise else fold.simd
            return
        sources = [self.tensor(source) for source in operation.inputs]
        channels = out.shape[2]
        beats = out.shape[0] * out.shape[1] * channels
        if isinstance(operation, Concatenate):
            channels = gcd(*(source.shape[2] for source in sources))
        elif isinstance(operation, MaxPool2D | SumPool2D):
            taps = operation.window[0] * operation.window[1]
            read = sources[0].shape[0] * sources[0].shape[1] * channels
            beats = max(read, beats * taps)
        width = max(source.format.width for source in [*sources, out])
        interval = 1 if self.choices.fastest else self.choices.interval_cycles
        given = self.lanes_out[operation.inputs[0]]
        lanes = folding.lanes_for_interval(channels, beats, interval, width, given)
        if isinstance(operation, SumPool2D | MaxPool2D):
            # each lane costs its arithmetic: no more of them than are needed, if one repack does
            fewest = folding.lanes_for_interval(channels, beats, interval, width, 0)
            fits = [d for d in folding.divisors(given) if d >= fewest and channels % d == 0]
            lanes = min(fits, default=fewest)
        self.lanes_in[name] = self.lanes_out[stage.tensor] = lanes

    def convolution_fold(self, stage: _Stage, operation: Conv2D) -> folding.Fold:
        if operation.name in self.choices.folds:
            return self.choices.folds[operation.name]
        layer = foldable(self.graph, operation)
        wanted = self.choices.for_layer(operation.name).reuse_factor
        if wanted is not None:
            if not self.choices.explicit(operation.name):
                # the default for all layers: the nearest legal one, rather slower than larger
                legal = layer.reuse_factors()
                wanted = min((rf for rf in legal if rf >= wanted), default=max(legal))
            return folding.fold_for_reuse_factor(layer, wanted)
        interval = 1 if self.choices.fastest else self.choices.interval_cycles
        return folding.fold_for_interval(layer, interval, self.lanes_out[operation.inputs[0]])

    # --- streams -----------------------------------------------------------------------------

    def new_stream(
        self,
        name: str,
        tensor: str | None,
        value_format: FixedPoint,
        lanes: int,
        channels: int,
        pixels: int,
    ) -> str:
        if name in self.streams:
            raise DesignError(f"two layers lead to the same C++ name {name}: rename one of them")
        self.streams[name] = Stream(name, tensor, value_format, lanes, channels, pixels)
        return name

    def tensor_stream(self, tensor: str, suffix: str = "", lanes: int | None = None) -> str:
        """A stream that carries a whole tensor."""
        shape = self.tensor(tensor).shape
        return self.new_stream(
            stream_name(tensor) + suffix,
            tensor,
            self.tensor(tensor).format,
            lanes or self.lanes_out[tensor],
            shape[2],
            shape[0] * shape[1],
        )

    def readers(self, tensor: str) -> list[str]:
        """Who reads a tensor: names of operations, and `output`."""
        fused = {s.fused.name for s in self.stages if s.fused}
        found = [
            f"{op.name}" if op.inputs.count(tensor) == 1 else f"{op.name}.{index}"
            for op in self.graph.operations
            if op.name not in fused
            for index in range(op.inputs.count(tensor))
        ]
        return found + ["output"] * self.graph.outputs.count(tensor)

    def publish(self, tensor: str, layer: str) -> str:
        """Makes a tensor's stream, and the duplicates that its readers need."""
        first = self.tensor_stream(tensor)
        readers = self.readers(tensor)
        current = first
        branches = []
        shape = self.tensor(tensor).shape
        for index, reader in enumerate(readers[:-1]):
            mine = self.tensor_stream(tensor, f"_to_{identifier(reader)}")
            is_last = index == len(readers) - 2
            rest_name = f"_to_{identifier(readers[-1])}" if is_last else f"_rest{index}"
            rest = self.tensor_stream(tensor, rest_name)
            lanes = self.lanes_out[tensor]
            settings = {"pixels": shape[0] * shape[1], "channels": shape[2], "lanes": lanes}
            self.processes.append(
                Process(
                    f"{identifier(tensor)}_duplicate{index if index else ''}",
                    "duplicate",
                    layer,
                    (current,),
                    (mine, rest),
                    settings,
                    settings["pixels"] * (shape[2] // lanes),
                )
            )
            branches.append((reader, mine))
            current = rest
        if readers:
            branches.append((readers[-1], current))
        self.branches[tensor] = branches
        return first

    def branch(self, tensor: str, reader: str) -> str:
        """The stream of a tensor that a reader gets, each handed out once."""
        branches = self.branches[tensor]
        for index, (name, stream) in enumerate(branches):
            if name == reader or name.rpartition(".")[0] == reader:
                del branches[index]
                return stream
        raise KeyError(f"{tensor} has no branch for {reader}")

    def repacked(self, stream: str, lanes: int, layer: str) -> str:
        """The same values in beats of other lanes."""
        source = self.streams[stream]
        while source.lanes != lanes:
            divides = source.lanes % lanes == 0 or lanes % source.lanes == 0
            step = lanes if divides else self.between(source, lanes)
            name = self.new_stream(
                f"{source.name}_by{step}",
                source.tensor,
                source.format,
                step,
                source.channels,
                source.pixels,
            )
            self.processes.append(
                Process(
                    f"{name}_repack",
                    "repack",
                    layer,
                    (source.name,),
                    (name,),
                    {
                        "pixels": source.pixels,
                        "channels": source.channels,
                        "in_lanes": source.lanes,
                        "out_lanes": step,
                    },
                    source.pixels * (source.channels // min(source.lanes, step)),
                )
            )
            source = self.streams[name]
        return source.name

    def between(self, source: Stream, lanes: int) -> int:
        """Lanes on the way between two numbers of which neither divides the other: the narrower
        common divisor, or the common multiple where the divisor would be too slow.
        """
        narrow, wide = gcd(source.lanes, lanes), lcm(source.lanes, lanes)
        cycles = source.pixels * (source.channels // narrow)
        fits = wide * source.format.width <= folding.LARGEST_WORD_BITS
        return wide if cycles > self.choices.interval_cycles and fits else narrow

    def input_of(self, operation: Operation, index: int, lanes: int) -> str:
        stream = self.branch(operation.inputs[index], operation.name)
        return self.repacked(stream, lanes, operation.name)

    # --- processes ---------------------------------------------------------------------------

    def instantiate(self, stage: _Stage) -> str:
        """Adds the processes of a stage; returns the stream of its tensor."""
        operation = stage.operation
        if isinstance(operation, Input):
            return self.publish(operation.name, operation.name)
        name = identifier(operation.name)
        lanes = self.lanes_in[operation.name]
        if isinstance(operation, Add | Concatenate):
            return self.join(stage, operation, name, lanes)
        if isinstance(operation, Multiply):
            return self.product(stage, operation, name, lanes)
        source = self.tensor(operation.inputs[0])
        stream = self.input_of(operation, 0, lanes)
        if isinstance(operation, Conv2D):
            return self.convolution(stage, operation, name, stream)
        if isinstance(operation, MaxPool2D):
            pad = 0 if not source.format.signed else -(1 << (source.format.width - 1))
            windows = self.window(
                operation, name, stream, operation.window, operation.strides, operation.padding, pad
            )
            return self.pool(stage, "max_pool", name, windows, operation.window, lanes)
        if isinstance(operation, SumPool2D):
            if operation.window == source.shape[:2] and not any(operation.padding):
                return self.pool(stage, "global_sum", name, stream, operation.window, lanes)
            windows = self.window(
                operation, name, stream, operation.window, operation.strides, operation.padding, 0
            )
            return self.pool(stage, "window_sum", name, windows, operation.window, lanes)
        if isinstance(operation, Requantize):
            shape = source.shape
            process = Process(
                name,
                "requantize_stream",
                operation.name,
                (stream,),
                (stream_name(stage.tensor),),
                {"pixels": shape[0] * shape[1], "channels": shape[2], "lanes": lanes},
                shape[0] * shape[1] * (shape[2] // lanes),
                accumulator=source.format,
                target=operation.format,
                divisor=operation.divisor,
                maximum=operation.maximum,
            )
            return self.finish(stage, process)
        if isinstance(operation, Table):
            return self.table(stage, operation, name, stream)
        raise DesignError(f"{operation.name}: no kernel for {operation.kind!r}")

    def finish(self, stage: _Stage, process: Process) -> str:
        """Appends the process that makes a stage's tensor, with its duplicates after it."""
        self.processes.append(process)
        return self.publish(stage.tensor, stage.operation.name)

    def sums(self, stage: _Stage) -> Mapping[str, object]:
        """Accumulator, target, divisor and maximum of a stage's process."""
        made = self.tensor(stage.operation.name)
        target = stage.fused.format if stage.fused else made.format
        return {
            "accumulator": made.format,
            "target": target,
            "divisor": made.divisor,
            "maximum": stage.fused.maximum if stage.fused else None,
        }

    def window(
        self,
        operation: Operation,
        name: str,
        stream: str,
        kernel: tuple[int, int],
        strides: tuple[int, int],
        padding: Padding,
        pad_value: int,
    ) -> str:
        """Adds the sliding window of a layer; returns the stream of its windows."""
        source = self.streams[stream]
        shape: Shape = self.tensor(operation.inputs[0]).shape
        out = self.tensor(operation.name).shape
        capacity = _buffer_pixels(shape, kernel, strides)
        window = SlidingWindow(
            *shape, kernel, strides, padding[0], padding[2], out[0], out[1], source.lanes, capacity
        )
        iterations = window_iterations(window)
        taps = kernel[0] * kernel[1]
        made = self.new_stream(
            f"{name}_windows",
            None,
            source.format,
            source.lanes,
            shape[2] * taps,
            out[0] * out[1],
        )
        words = capacity * (shape[2] // source.lanes)
        buffer = memories.place("buffer", words, source.width_bits)
        self.processes.append(
            Process(
                f"{name}_window",
                "sliding_window",
                operation.name,
                (stream,),
                (made,),
                {
                    "in_height": shape[0],
                    "in_width": shape[1],
                    "in_channels": shape[2],
                    "kernel_height": kernel[0],
                    "kernel_width": kernel[1],
                    "stride_height": strides[0],
                    "stride_width": strides[1],
                    "pad_top": padding[0],
                    "pad_left": padding[2],
                    "out_height": out[0],
                    "out_width": out[1],
                    "lanes": source.lanes,
                    "pad_value": pad_value,
                    "buffer_pixels": capacity,
                    "iterations": iterations,
                },
                iterations,
                (buffer,),
            )
        )
        return made

    def convolution(self, stage: _Stage, operation: Conv2D, name: str, stream: str) -> str:
        kernel_height, kernel_width, inputs, filters = operation.weights.shape
        taps = kernel_height * kernel_width
        if taps > 1 or operation.strides != (1, 1) or any(operation.padding):
            kernel = (kernel_height, kernel_width)
            stream = self.window(
                operation, name, stream, kernel, operation.strides, operation.padding, 0
            )
        out = self.tensor(stage.tensor).shape
        pixels = out[0] * out[1]
        fold = self.folds[operation.name]
        groups, multiplier = operation.groups, filters // operation.groups
        is_depthwise = inputs == 1 and groups > 1
        if is_depthwise:
            lanes = fold.pe // multiplier
            words = (groups // lanes) * multiplier * taps
            word_weights = lanes
            kernel_name = "depthwise"
            settings = {"channels": groups, "multiplier": multiplier, "pe": lanes}
        else:
            words = groups * (filters // groups // fold.pe) * (inputs // fold.simd) * taps
            word_weights = fold.pe * fold.simd
            kernel_name = "matrix_vector"
            settings = {
                "in_channels": inputs * groups,
                "out_channels": filters,
                "groups": groups,
                "simd": fold.simd,
                "pe": fold.pe,
            }
        rom = self.weight_memory(operation, words, word_weights * operation.weight_format.width)
        bias_width = self.tensor(operation.name).format.width
        out_lanes = self.lanes_out[stage.tensor] if not is_depthwise else settings["pe"]
        biases = Memory("biases", filters // out_lanes, out_lanes * bias_width, "lutram")
        process = Process(
            name,
            kernel_name,
            operation.name,
            (stream,),
            (stream_name(stage.tensor),),
            {
                "pixels": pixels,
                "taps": taps,
                **settings,
                "weight_width": operation.weight_format.width,
                "product_shift": operation.product_shift,
            },
            pixels * words,
            (rom, biases),
            weights=operation.weights,
            biases=operation.biases,
            weight_format=operation.weight_format,
            multipliers=word_weights,
            multiplier=self.choices.multipliers.get(operation.name, "auto"),
            **self.sums(stage),  # type: ignore[arg-type]
        )
        return self.finish(stage, process)

    def weight_memory(self, operation: Conv2D, words: int, width_bits: int) -> Memory:
        """Where the weights of a layer stand."""
        storage = self.choices.for_layer(operation.name).storage
        return memories.place(
            "weights",
            words,
            width_bits,
            self.choices.storages.get(operation.name, storage),
            layer=operation.name,
            uram_initialisable=self.choices.uram_initialisable,
        )

    def pool(
        self,
        stage: _Stage,
        kernel: str,
        name: str,
        stream: str,
        window: tuple[int, int],
        lanes: int,
    ) -> str:
        source = self.tensor(stage.operation.inputs[0]).shape
        out = self.tensor(stage.tensor).shape
        is_global = kernel == "global_sum"
        pixels = (source if is_global else out)[0] * (source if is_global else out)[1]
        taps = window[0] * window[1]
        settings = {"pixels": pixels, "channels": out[2], "lanes": lanes}
        if not is_global:
            settings["taps"] = taps
        cycles = pixels * (out[2] // lanes) * (1 if is_global else taps)
        sums = {} if kernel == "max_pool" else self.sums(stage)
        process = Process(
            name,
            kernel,
            stage.operation.name,
            (stream,),
            (stream_name(stage.tensor),),
            settings,
            cycles,
            **sums,  # type: ignore[arg-type]
        )
        return self.finish(stage, process)

    def table(self, stage: _Stage, operation: Table, name: str, stream: str) -> str:
        """Every value looked up in a table that stands in memory."""
        shape = self.tensor(operation.name).shape
        lanes = self.streams[stream].lanes
        settings = {
            "pixels": shape[0] * shape[1],
            "channels": shape[2],
            "lanes": lanes,
            "entries": operation.values.size,
        }
        cycles = settings["pixels"] * (shape[2] // lanes)
        # the kernel looks up bit patterns, of which those of negative numbers come last
        values = np.roll(operation.values, -operation.offset)
        rom = Memory("table", operation.values.size, lanes * operation.format.width, "lutram")
        output = (stream_name(stage.tensor),)
        process = Process(
            name,
            "table",
            operation.name,
            (stream,),
            output,
            settings,
            cycles,
            (rom,),
            table=values,
        )
        return self.finish(stage, process)

    def product(self, stage: _Stage, operation: Multiply, name: str, lanes: int) -> str:
        """The product of two tensors in step, or of a tensor and a gate of one pixel."""
        streams = tuple(self.input_of(operation, index, lanes) for index in (0, 1))
        first, second = (self.tensor(source).shape for source in operation.inputs)
        settings = {"pixels": first[0] * first[1], "channels": first[2], "lanes": lanes}
        process = Process(
            name,
            "multiply" if first == second else "scale",
            operation.name,
            streams,
            (stream_name(stage.tensor),),
            settings,
            settings["pixels"] * (first[2] // lanes),
            **self.sums(stage),  # type: ignore[arg-type]
        )
        return self.finish(stage, process)

    def join(self, stage: _Stage, operation: Add | Concatenate, name: str, lanes: int) -> str:
        """Addition and concatenation: two at a time, left to right."""
        streams = [self.input_of(operation, i, lanes) for i in range(len(operation.inputs))]
        if len(streams) == 1:
            raise DesignError(f"{operation.name}: joins a single tensor")
        pixels = self.streams[streams[0]].pixels
        intervals = [self.tensor(source).interval for source in operation.inputs]
        out = self.tensor(operation.name)
        shift = operation.shifts[0]
        current, reach = streams[0], intervals[0].shifted(shift)
        for index in range(1, len(streams)):
            is_last = index == len(streams) - 1
            pair = (reach, intervals[index].shifted(operation.shifts[index]))
            if isinstance(operation, Add):
                reach = Interval(pair[0].low + pair[1].low, pair[0].high + pair[1].high)
                channels = {"channels": out.shape[2]}
            else:
                reach = Concatenate("", (), (0, 0)).interval(*pair)
                channels = {"channels0": len(pair[0].low), "channels1": len(pair[1].low)}
            total = sum(channels.values())
            fraction_bits = out.format.fraction_bits
            partial = FixedPoint.containing(
                int(reach.low.min()), int(reach.high.max()), fraction_bits
            )
            made = stream_name(stage.tensor)
            if not is_last:
                made = self.new_stream(
                    f"{name}_partial{index}", None, partial, lanes, total, pixels
                )
            process = Process(
                name if is_last else f"{name}_join{index}",
                operation.kind,
                operation.name,
                (current, streams[index]),
                (made,),
                {
                    "pixels": pixels,
                    **channels,
                    "lanes": lanes,
                    "shift0": shift,
                    "shift1": operation.shifts[index],
                },
                pixels * (total // lanes),
                accumulator=out.format if is_last else partial,
                target=(stage.fused.format if stage.fused else out.format) if is_last else partial,
                maximum=stage.fused.maximum if stage.fused and is_last else None,
            )
            if is_last:
                return self.finish(stage, process)
            self.processes.append(process)
            current, shift = made, 0
        raise AssertionError  # the loop returns with the last pair


def _fused(graph: IntegerGraph) -> dict[str, Requantize]:
    """By the name of an operation: the requantization that alone reads it."""
    fused: dict[str, Requantize] = {}
    for operation in graph.operations:
        if not isinstance(operation, Requantize):
            continue
        source = operation.inputs[0]
        maker = graph.operation(source)
        fusible = isinstance(maker, Conv2D | SumPool2D | Add | Multiply | Concatenate)
        if fusible and len(graph.consumers(source)) == 1 and source not in graph.outputs:
            fused[source] = operation
    return fused


def _stages(graph: IntegerGraph) -> Sequence[_Stage]:
    """Pairs every requantization with the operation that it alone reads."""
    fused = _fused(graph)
    names = {operation.name for operation in fused.values()}
    return [
        _Stage(operation, fused.get(operation.name))
        for operation in graph.operations
        if operation.name not in names
    ]
