"""Kernel instances written out as C++, from the operations of an integer graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.hls import emit, loading, packing
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Conv2D,
    Input,
    MaxPool2D,
    Padding,
    Requantize,
    Shape,
    SumPool2D,
    reach_of,
)
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.parallel_window import ParallelWindow
from hwflow.plan.window_schedule import SlidingWindow, window_schedule
from hwflow.sections import LayerHardware
from tests.support.kernel_harness import Case, Port


def constants(**values: int) -> str:
    return "".join(f"    static const int {name} = {value};\n" for name, value in values.items())


def types(**values: str) -> str:
    return "".join(f"    typedef {value} {name};\n" for name, value in values.items())


def config(name: str, *members: str) -> str:
    return f"struct {name} {{\n{''.join(members)}}};\n"


def window_of(
    shape: Shape,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    lanes: int,
    spare_pixels: int = 0,
    dilation: tuple[int, int] = (1, 1),
) -> SlidingWindow:
    height, width, channels = shape
    rows, columns = reach_of(kernel, dilation)
    top, bottom, left, right = padding
    return SlidingWindow(
        height,
        width,
        channels,
        kernel,
        strides,
        top,
        left,
        (height + top + bottom - rows) // strides[0] + 1,
        (width + left + right - columns) // strides[1] + 1,
        lanes,
        (rows - 1) * width + columns + spare_pixels,
        dilation=dilation,
    )


def all_taps(window: SlidingWindow) -> ParallelWindow:
    """The same windows, all taps in one beat."""
    shared = {field.name: getattr(window, field.name) for field in fields(ParallelWindow)}
    return ParallelWindow(**shared)


def window_text(window: SlidingWindow | ParallelWindow, value: FixedPoint, pad_value: int) -> str:
    """`struct window` and its `buffer`, or its `rows` and `columns`."""
    if isinstance(window, ParallelWindow):
        kept = {role: window.memories.get(role, (1, 1)) for role in ("rows", "columns")}
        more = {"pitch": window.pitch, "iterations": window.iterations}
    else:
        kept = {"buffer": (window.buffer_pixels * window.folds, window.lanes)}
        iterations = window_schedule(window).iterations
        more = {"buffer_pixels": window.buffer_pixels, "iterations": iterations}
    if window.dilation != (1, 1):
        more |= {"dilation_height": window.dilation[0], "dilation_width": window.dilation[1]}
    text = config(
        "window",
        constants(
            in_height=window.in_height,
            in_width=window.in_width,
            in_channels=window.in_channels,
            kernel_height=window.kernel[0],
            kernel_width=window.kernel[1],
            stride_height=window.strides[0],
            stride_width=window.strides[1],
            pad_top=window.pad_top,
            pad_left=window.pad_left,
            out_height=window.out_height,
            out_width=window.out_width,
            lanes=window.lanes,
            pad_value=pad_value,
            **more,
        ),
        types(value_t=value.raw_type),
    )
    return text + "".join(
        f"static {value.raw_type} {role}[{words}][{lanes}];\n"
        for role, (words, lanes) in kept.items()
    )


def window_call(window: SlidingWindow | ParallelWindow, output: str) -> str:
    """The call of the kernel."""
    if isinstance(window, ParallelWindow):
        return f"hwflow::parallel_window<window>(in0, {output}, rows, columns);"
    return f"hwflow::sliding_window<window>(in0, {output}, buffer);"


def taps_of(window: SlidingWindow | ParallelWindow) -> int:
    """Taps in a beat of windows."""
    return window.taps if isinstance(window, ParallelWindow) else 1


def window_case(
    window: SlidingWindow | ParallelWindow, value: FixedPoint, pad_value: int = 0
) -> Case:
    return Case(
        window_text(window, value, pad_value),
        window_call(window, "out0"),
        (Port(value, window.lanes, window.in_beats),),
        (Port(value, window.lanes * taps_of(window), window.out_beats),),
    )


def after_window(
    window: SlidingWindow | ParallelWindow, value: FixedPoint, pad_value: int, call: str
) -> tuple[str, str]:
    """Definitions and call of a kernel that reads `windows` behind a window's kernel."""
    beat = f"hwflow::beat<{value.raw_type}, {window.lanes * taps_of(window)}>"
    stream = f'hls::stream<{beat} > windows("windows"); '
    return (
        window_text(window, value, pad_value),
        f"{stream}{window_call(window, 'windows')} {call}",
    )


def emitted_case(
    graph: IntegerGraph, loads: Mapping[int, bytes] | None = None, **choices: object
) -> Case:
    """A whole graph as it is planned and emitted, all processes in one case.

    Args:
        graph: to plan.
        loads: the words that are loaded, by the image that they come before; by default those of
            the graph, before the first.
        choices: of the plan.
    """
    layer = LayerHardware(None, "auto")
    planned = map_graph(graph, Choices(lambda name: layer, **choices))  # type: ignore[arg-type]
    way = loading.way_of(planned)
    texts = [emit.process_text(p, planned.streams, "vitis") for p in planned.processes]
    outside = {name: f"in{i}" for i, name in enumerate(planned.inputs)}
    outside |= {name: f"out{i}" for i, name in enumerate(planned.outputs)}
    call = "".join(
        f'hls::stream<{emit.beat_type(stream)} > {stream.name}("{stream.name}"); '
        for stream in planned.internal
    )
    for process in planned.processes:
        names = [outside.get(name, name) for name in [*process.inputs, *process.outputs]]
        if process.is_loaded:
            names += [loading.FLAG, way.sources[process.name]]
        call += f"{way.deals.get(process.name, '')} {process.name}({', '.join(names)}); "
    definitions = ""
    if way.sources:
        call = "".join(f'hls::stream<hwflow::load_word> {n}("{n}"); ' for n in way.streams) + call
        given = {0: loading.weights_bytes(planned)} if loads is None else loads
        definitions, first = _loads(given)
        call = first + call

    def ports(names: tuple[str, ...]) -> tuple[Port, ...]:
        streams = (planned.streams[name] for name in names)
        return tuple(Port(stream.format, stream.lanes, stream.beats) for stream in streams)

    definitions += "".join(f"{t.weights or ''}\n{t.config}\n{t.function}\n" for t in texts)
    return Case(definitions, call, ports(planned.inputs), ports(planned.outputs))


def _loads(loads: Mapping[int, bytes]) -> tuple[str, str]:
    """The words of each load, and the calls' way to begin: with the words if this image has any."""
    definitions = "static int calls = 0;\n"
    feeds = ""
    for image, content in loads.items():
        words = ",".join(f"{word}ull" for word in np.frombuffer(content, "<u8").tolist())
        definitions += f"static const unsigned long long words{image}[] = {{{words}}};\n"
        feeds += (
            f"if (calls == {image}) {{ {loading.FLAG} = true; for (unsigned long long word : "
            f"words{image}) {loading.PORT}.write(word); }} "
        )
    begin = f'bool {loading.FLAG} = false; hls::stream<hwflow::load_word> {loading.PORT}("words"); '
    return definitions, f"{begin}{feeds}++calls; "


def conv_case(
    graph: IntegerGraph,
    pe: int,
    simd: int,
    spare_pixels: int = 0,
    multiplier: str = "auto",
    parallel: bool = False,
) -> Case:
    """The graph is input, Conv2D, Requantize; depthwise without `simd`; one tap a cycle, or all."""
    source, operation, requantize = graph.operations
    assert isinstance(operation, Conv2D)
    assert isinstance(requantize, Requantize)
    tensor = graph.tensors[source.name]
    accumulator = graph.tensors[operation.name].format
    height, width, filters = graph.tensors[operation.name].shape
    kernel_height, kernel_width, group_inputs, _ = operation.weights.shape
    taps = kernel_height * kernel_width
    weight_width = operation.weight_width
    depthwise = simd == 0
    at_once = taps if parallel else 1
    if depthwise:
        rows = packing.depthwise_weight_rows(operation, pe, at_once)
        shape_constants = constants(
            channels=operation.groups, multiplier=filters // operation.groups, parallel=at_once
        )
    else:
        rows = packing.weight_rows(operation, pe, simd, at_once)
        shape_constants = constants(
            in_channels=group_inputs * operation.groups * at_once,
            out_channels=filters,
            groups=operation.groups,
            simd=simd * at_once,
        )
    text = packing.Requantization(accumulator, requantize.format).text("requantization_t")
    text += config(
        "convolution",
        shape_constants,
        constants(
            pixels=height * width,
            taps=taps if depthwise else taps // at_once,
            pe=pe,
            weight_width=weight_width,
            product_shift=operation.product_shift,
            shift_bits=operation.shift_bits,
        ),
        types(
            input_t=tensor.format.raw_type,
            output_t=requantize.format.raw_type,
            accumulator_t=accumulator.raw_type,
            requantization="requantization_t",
            multiplier_t=f"hwflow::{emit.MULTIPLIERS[multiplier]}",
        ),
    )
    text += packing.array_text("weights", packing.pack_rows(rows, weight_width))
    channel_constants = packing.with_shifts(
        operation.biases, operation.channel_shifts, operation.shift_bits
    )
    text += packing.array_text("biases", packing.bias_rows(channel_constants, pe))
    kernel = "depthwise" if depthwise else "matrix_vector"
    lanes = pe if depthwise else simd
    window = window_of(
        tensor.shape,
        (kernel_height, kernel_width),
        operation.strides,
        operation.padding,
        lanes,
        spare_pixels,
        operation.dilation,
    )
    ports = (
        (Port(tensor.format, lanes, window.in_beats),),
        (Port(requantize.format, pe, height * width * filters // pe),),
    )
    if not operation.has_window:
        call = f"hwflow::{kernel}<convolution>(in0, out0, weights, biases);"
        return Case(text, call, *ports)
    more, call = after_window(
        all_taps(window) if parallel else window,
        tensor.format,
        0,
        f"hwflow::{kernel}<convolution>(windows, out0, weights, biases);",
    )
    return Case(text + more, call, *ports)


def pool_case(
    shape: Shape,
    value: FixedPoint,
    operation: MaxPool2D,
    lanes: int,
    output: FixedPoint,
    parallel: bool = False,
) -> Case:
    window = window_of(shape, operation.window, operation.strides, operation.padding, lanes)
    text = config(
        "pool",
        constants(
            pixels=window.out_height * window.out_width,
            taps=operation.window[0] * operation.window[1],
            parallel=operation.window[0] * operation.window[1] if parallel else 1,
            channels=shape[2],
            lanes=lanes,
        ),
        types(input_t=value.raw_type, output_t=output.raw_type),
    )
    more, call = after_window(
        all_taps(window) if parallel else window,
        value,
        value.minimum,
        "hwflow::max_pool<pool>(windows, out0);",
    )
    beats = window.out_height * window.out_width * window.folds
    return Case(
        text + more, call, (Port(value, lanes, window.in_beats),), (Port(output, lanes, beats),)
    )


def sum_case(graph: IntegerGraph, lanes: int, parallel: bool = False) -> Case:
    """The graph is input, SumPool2D, Requantize; a window of the whole image has no line buffer."""
    source, operation, requantize = graph.operations
    assert isinstance(operation, SumPool2D)
    assert isinstance(requantize, Requantize)
    tensor = graph.tensors[source.name]
    accumulator = graph.tensors[operation.name].format
    height, width, channels = graph.tensors[operation.name].shape
    text = packing.Requantization(accumulator, requantize.format, requantize.divisor).text(
        "requantization_t"
    )
    whole = operation.window == tensor.shape[:2]
    pixels = tensor.shape[0] * tensor.shape[1] if whole else height * width
    text += config(
        "pool",
        constants(
            pixels=pixels,
            taps=operation.window[0] * operation.window[1],
            parallel=operation.window[0] * operation.window[1] if parallel else 1,
            channels=channels,
            lanes=lanes,
        ),
        types(
            input_t=tensor.format.raw_type,
            output_t=requantize.format.raw_type,
            accumulator_t=accumulator.raw_type,
            requantization="requantization_t",
        ),
    )
    window = window_of(tensor.shape, operation.window, operation.strides, operation.padding, lanes)
    ports = (
        (Port(tensor.format, lanes, window.in_beats),),
        (Port(requantize.format, lanes, height * width * window.folds),),
    )
    if whole:
        return Case(text, "hwflow::global_sum<pool>(in0, out0);", *ports)
    arguments = "windows, out0"
    if operation.divisor is not None:
        rows, columns = operation.scales(tensor.shape)
        text += packing.list_text("row_scales", rows)
        text += packing.list_text("column_scales", columns)
        arguments += ", row_scales, column_scales"
    call = f"hwflow::window_sum<pool>({arguments});"
    more, call = after_window(all_taps(window) if parallel else window, tensor.format, 0, call)
    return Case(text + more, call, *ports)


def extreme_images(rng: np.random.Generator, shape: Shape, value: FixedPoint) -> IntArray:
    """Five images: all minimum, all maximum, two random ones, the extremes alone at random."""
    low, high = value.minimum, value.maximum
    images = rng.integers(low, high, (5, *shape), np.int64, endpoint=True)
    images[0] = low
    images[1] = high
    images[4] = rng.choice(np.array([low, high]), shape)
    return images


def conv_graph(
    rng: np.random.Generator,
    shape: Shape,
    kernel: tuple[int, int],
    filters: int,
    source: FixedPoint,
    weights: FixedPoint,
    output: FixedPoint,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = (0, 0, 0, 0),
    groups: int = 1,
    product_shift: int = 0,
    bias_bits: int = 10,
    channel_shifts: IntArray | None = None,
    dilation: tuple[int, int] = (1, 1),
) -> IntegerGraph:
    """Input, Conv2D with weights over the whole range, Requantize."""
    raw = rng.integers(
        weights.minimum,
        weights.maximum,
        (*kernel, shape[2] // groups, filters),
        np.int64,
        endpoint=True,
    )
    biases = rng.integers(-(1 << bias_bits), 1 << bias_bits, filters, np.int64)
    fraction_bits = source.fraction_bits + weights.fraction_bits + product_shift
    return IntegerGraph.build(
        "layer",
        [
            Input("x", (), shape, source),
            Conv2D(
                "conv",
                ("x",),
                raw,
                biases,
                weights,
                strides,
                padding,
                groups,
                product_shift,
                channel_shifts,
                dilation,
            ),
            Requantize("y", ("conv",), output, fraction_bits),
        ],
        ["y"],
    )


def sum_graph(
    shape: Shape,
    window: tuple[int, int],
    source: FixedPoint,
    output: FixedPoint,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = (0, 0, 0, 0),
    divisor: int | None = None,
) -> IntegerGraph:
    """Input, SumPool2D, Requantize by its divisor: average pooling."""
    operation = SumPool2D("sum", ("x",), window, strides, padding, divisor)
    return IntegerGraph.build(
        "layer",
        [
            Input("x", (), shape, source),
            operation,
            Requantize("y", ("sum",), output, source.fraction_bits, operation.divides_by),
        ],
        ["y"],
    )


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
