"""The arrays that kernels take: constants and buffers, declared and bound to their memories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.hls import packing
from hwflow.opset import Conv2D
from hwflow.opset.upsampling import weight_unit
from hwflow.plan.streams import Memory, Process, Stream

REGISTER_WORDS = 4
"""Below this many words a buffer stands in registers (its words are updated too often)."""


LOAD, LOAD_WORDS = "load", "load_words"
"""The last parameters of a process whose weights are loaded: whether they are, and from where."""


@dataclass(frozen=True)
class Arrays:
    """The arrays of one process, in the order in which its kernel takes them.

    Attributes:
        names: in C++.
        lines: declarations and pragmas, at the head of the function.
        constants: text of the header with their values, or nothing.
    """

    names: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    constants: str | None = None


Maker = Callable[[Process, Mapping[str, Stream], str], Arrays]


def arrays_of(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    """The arrays of a process.

    Args:
        process: of the plan.
        streams: of the plan, by name.
        backend: `vitis` or `vivado`: they differ in how memories are bound.

    Raises:
        DesignError: if a constant cannot be represented.
    """
    maker = _MAKERS.get(process.kernel)
    return maker(process, streams, backend) if maker else Arrays()


def _line_buffer(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    (memory,) = process.memories
    stream = streams[process.inputs[0]]
    return Arrays(
        ("buffer",),
        (
            f"    // {memory.words} beats: the rows that windows reach over",
            f"    static {stream.format.raw_type} buffer[{memory.words}][{stream.lanes}];",
            *_bound("buffer", memory, backend, rom=False),
        ),
    )


def _window_memories(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    """The rows above, and earlier columns; of what a window does not need, a word never used."""
    stream = streams[process.inputs[0]]
    planned = {memory.role: memory for memory in process.memories}
    lines: list[str] = []
    for role, what in (("rows", "the rows above"), ("columns", "earlier columns of each fold")):
        memory = planned.get(role)
        lanes = memory.width_bits // stream.format.width if memory else 1
        words = memory.words if memory else 1
        lines.append(f"    // {words} words: {what}" if memory else "    // not used")
        lines.append(f"    static {stream.format.raw_type} {role}[{words}][{lanes}];")
        if memory:
            lines += _bound(role, memory, backend, rom=False)
    return Arrays(("rows", "columns"), tuple(lines))


def _sums(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    assert process.accumulator is not None
    return _pixel("sums", process.accumulator, process, backend)


def _gate(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    return _pixel("gate", streams[process.inputs[1]].format, process, backend)


def _pixel(name: str, value: FixedPoint, process: Process, backend: str) -> Arrays:
    """A buffer of one pixel."""
    lanes = process.settings["lanes"]
    sizes = (process.settings["channels"] // lanes, lanes)
    return Arrays((name,), (*_kept(name, value, sizes, "lutram", backend),))


def _nearest(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    (row,), source = process.memories, streams[process.inputs[0]]
    folds = process.settings["channels"] // source.lanes
    lines = (
        *_kept("row", source.format, (row.words, source.lanes), row.storage, backend),
        *_kept("pixel", source.format, (folds, source.lanes), "lutram", backend),
    )
    return Arrays(("row", "pixel"), lines)


def _bilinear(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    row, source = process.memories[0], streams[process.inputs[0]]
    folds, sums = process.settings["channels"] // source.lanes, row_sums(process, source.format)
    lines = (
        *_kept("rows", source.format, (3, row.words, source.lanes), row.storage, backend),
        *_kept("columns", sums, (2, folds, source.lanes), "lutram", backend),
    )
    return Arrays(("rows", "columns"), lines)


def row_sums(process: Process, source: FixedPoint) -> FixedPoint:
    """The narrowest format of a bilinear upsampling's weighted sums of two rows."""
    unit = weight_unit(process.settings["factor_height"])
    return FixedPoint.containing(source.minimum * unit, source.maximum * unit, source.fraction_bits)


def _table(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    name = f"{process.name}_values"
    text = (
        f"// Constants of {process.name}: the result for each "
        f"{'distance' if process.kernel == 'softmax' else 'bit pattern of the input'}.\n"
        f"{packing.list_text(name, process.constants['table'])}"
    )
    storage = (
        "BIND_STORAGE variable={} type=rom_np impl=lutram"
        if backend == "vitis"
        else "RESOURCE variable={} core=ROM_nP_LUTRAM"
    )
    return Arrays((name,), (f"#pragma HLS {storage.format(name)}",), text)


def _softmax(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    table = _table(process, streams, backend)
    channels, width = process.settings["channels"], process.settings["exponential_width"]
    logits, exponential = streams[process.inputs[0]].format, FixedPoint(width, width, False)
    lines = (
        *table.lines,
        *_kept("logits", logits, (channels, 1), "lutram", backend),
        *_kept("exponentials", exponential, (channels, 1), "lutram", backend),
    )
    return Arrays(("logits", "exponentials", *table.names), lines, table.constants)


def _selection(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    rom, *copies = process.memories
    lanes = process.settings["lanes"]
    stream = streams[process.inputs[0]]
    rows = packing.selection_rows(process.constants["channels"], lanes)
    parts = [
        (f"{process.name}_{role}", each)
        for role, each in zip(("beats", "lanes"), rows, strict=True)
    ]
    text = f"// Constants of {process.name}: where each channel of the output comes from.\n"
    text += "\n".join(packing.array_text(name, packing.narrowest(rows)) for name, rows in parts)
    copy = copies[0]
    return Arrays(
        (*(name for name, _ in parts), "buffer"),
        (
            f"    // {copy.words} beats of the last pixels, a copy for each lane",
            *_kept("buffer", stream.format, (lanes, copy.words, lanes), copy.storage, backend),
            *(line for name, _ in parts for line in _bound(name, rom, backend, rom=True)),
        ),
        text,
    )


def _scales(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    if not process.constants:
        return Arrays()
    parts = [(f"{process.name}_{role}", values) for role, values in process.constants.items()]
    text = f"// Constants of {process.name}: the factors of each row and each column of sums.\n"
    text += "\n".join(packing.list_text(name, values) for name, values in parts)
    return Arrays(tuple(name for name, _ in parts), (), text)


def packed_weights(process: Process) -> packing.NativeArray:
    """The weights of a convolution as its memory holds them, a row a cycle.

    Raises:
        DesignError: if a weight does not fit, or there are not as many rows as planned.
    """
    assert process.weights is not None
    assert process.biases is not None
    assert process.weight_format is not None
    operation = Conv2D(
        process.layer,
        ("",),
        weights=process.weights,
        biases=process.biases,
        weight_format=process.weight_format,
        groups=process.settings.get("groups", process.settings.get("channels", 1)),
    )
    pe = process.settings["pe"]
    if process.kernel == "depthwise":
        rows = packing.depthwise_weight_rows(operation, pe, process.settings["parallel"])
    else:  # taps side by side are inputs to the kernel
        kernel_height, kernel_width = process.weights.shape[:2]
        parallel = kernel_height * kernel_width // process.settings["taps"]
        rows = packing.weight_rows(operation, pe, process.settings["simd"] // parallel, parallel)
    packed = packing.pack_rows(rows, process.settings["weight_width"])
    planned = process.memories[0].words
    if packed.shape[0] != planned:
        raise DesignError(f"{process.name}: {packed.shape[0]} words of weights, planned {planned}")
    return packed


def _weights(process: Process, streams: Mapping[str, Stream], backend: str) -> Arrays:
    assert process.biases is not None
    packed, pe = packed_weights(process), process.settings["pe"]
    held, bias_rom = process.memories
    weights, biases = f"{process.name}_weights", f"{process.name}_biases"
    shift_bits = process.settings["shift_bits"]
    rows_of = "in the unit of the accumulator"
    if shift_bits:
        rows_of += f", above the {shift_bits} bits of a channel's shift"
    constants = packing.with_shifts(process.biases, process.channel_shifts, shift_bits)
    one_row = f"{process.multipliers} weights of {process.weight_format} a word"
    text = f"// Constants of {process.name}"
    if not held.is_loaded:
        text += f": {one_row}, one word a cycle.\n{packing.array_text(weights, packed)}\n//"
    else:
        text += "; its weights are loaded."
    text += (
        f" One row for each fold of the output channels, {rows_of}.\n"
        f"{packing.array_text(biases, packing.bias_rows(constants, pe))}"
    )
    lines = [
        f"    // {held.words} words of {held.width_bits} bits",
        *_bound(weights, held, backend, rom=not held.is_loaded),
        *_bound(biases, bias_rom, backend, rom=True),
    ]
    if held.is_loaded:
        sizes = f"[{packed.shape[0]}][{packed.shape[1]}]"
        lines[0] += f", {one_row}; it keeps what was loaded"
        lines.insert(1, f"    static {packing.cpp_type(packed)} {weights}{sizes};")
        lines.append(
            f"    if ({LOAD}) {{\n        hwflow::load_rows({LOAD_WORDS}, {weights});\n    }}"
        )
    return Arrays((weights, biases), tuple(lines), text)


_MAKERS: Mapping[str, Maker] = {
    "sliding_window": _line_buffer,
    "parallel_window": _window_memories,
    "matrix_vector": _weights,
    "depthwise": _weights,
    "global_sum": _sums,
    "window_sum": _scales,
    "scale": _gate,
    "softmax": _softmax,
    "table": _table,
    "upsample_bilinear": _bilinear,
    "upsample_nearest": _nearest,
    "select_channels": _selection,
}
"""By kernel."""


def _kept(
    name: str, value: FixedPoint, sizes: tuple[int, ...], storage: str, backend: str
) -> list[str]:
    """An array of words: registers where there are few words, else memories bound to a storage."""
    *banks, words, lanes = sizes
    extents = "".join(f"[{size}]" for size in sizes)
    lines = [f"    static {value.raw_type} {name}{extents};"]
    if words < REGISTER_WORDS:
        return [*lines, f"#pragma HLS ARRAY_PARTITION variable={name} complete dim=0"]
    if banks:
        lines.append(f"#pragma HLS ARRAY_PARTITION variable={name} complete dim=1")
    memory = Memory(name, words, lanes * value.width, storage)
    return [*lines, *_bound(name, memory, backend, rom=False, lane_dimension=len(sizes))]


def _bound(
    variable: str, memory: Memory, backend: str, *, rom: bool, lane_dimension: int = 2
) -> list[str]:
    """Pragmas that make a row one word and bind the array to its storage."""
    lines = [f"#pragma HLS ARRAY_RESHAPE variable={variable} complete dim={lane_dimension}"]
    if backend == "vitis":
        kind = "rom_1p" if rom else "ram_s2p"
        lines.append(
            f"#pragma HLS BIND_STORAGE variable={variable} type={kind} impl={memory.storage}"
        )
    else:
        core = {
            ("bram", True): "ROM_1P_BRAM",
            ("lutram", True): "ROM_1P_LUTRAM",
            ("bram", False): "RAM_2P_BRAM",
            ("lutram", False): "RAM_2P_LUTRAM",
            ("uram", False): "XPM_MEMORY uram",
        }[memory.storage, rom]
        lines.append(f"#pragma HLS RESOURCE variable={variable} core={core}")
    return lines
