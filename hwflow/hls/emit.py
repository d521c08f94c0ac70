"""The C++ text of processes: configurations, functions with their memories, and calls."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.hls import packing
from hwflow.opset import Conv2D
from hwflow.opset.upsampling import weight_unit
from hwflow.plan.streams import Memory, Process, Stream

HEADERS: Mapping[str, str] = {
    "sliding_window": "sliding_window",
    "matrix_vector": "matrix_vector",
    "depthwise": "depthwise",
    "max_pool": "pooling",
    "window_sum": "pooling",
    "global_sum": "pooling",
    "requantize_stream": "requantize",
    "table": "elementwise",
    "multiply": "elementwise",
    "scale": "elementwise",
    "add": "joins",
    "concatenate": "joins",
    "duplicate": "joins",
    "repack": "joins",
    "softmax": "heads",
    "top_k": "heads",
    "upsample_nearest": "upsampling",
    "upsample_bilinear": "upsampling",
}
"""The header of each kernel."""

JOINS = ("add", "concatenate")
"""Kernels that take any number of inputs."""

REGISTER_WORDS = 4
"""Sums of global pooling stand in registers below this many words (they are updated too often)."""


@functools.cache
def environment() -> jinja2.Environment:
    """The strict template environment: what is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render(template: str, **values: Any) -> str:
    """A template filled in."""
    return environment().get_template(template).render(**values)


def beat_type(stream: Stream) -> str:
    """The C++ type of a stream's beats."""
    return f"hwflow::beat<{stream.format.raw_type}, {stream.lanes}>"


MULTIPLIERS = {
    "auto": "by_the_tool",
    "lut": "in_luts",
    "dsp": "in_dsps",
    "dsp_pair": "in_dsp_pairs",
}
"""The types of `kernels/multipliers.h` by what makes a process's products."""


@dataclass(frozen=True)
class ProcessText:
    """The C++ text of one process.

    Attributes:
        name: of the function.
        config: the CONFIG struct, and the requantization before it.
        function: the definition.
        weights: text of the header with its constants, or nothing.
    """

    name: str
    config: str
    function: str
    weights: str | None


def arguments_of(process: Process, streams: Mapping[str, Stream]) -> tuple[str, ...]:
    """Types of the parameters of a process's function."""
    return tuple(
        f"hls::stream<{beat_type(streams[name])} >&" for name in [*process.inputs, *process.outputs]
    )


def process_text(process: Process, streams: Mapping[str, Stream], backend: str) -> ProcessText:
    """The C++ text of a process.

    Args:
        process: of the plan.
        streams: of the plan, by name.
        backend: `vitis` or `vivado`: they differ in how memories are bound.

    Raises:
        DesignError: if a constant of it cannot be represented.
    """
    inputs = [streams[name] for name in process.inputs]
    outputs = [streams[name] for name in process.outputs]
    ports = [f"input{i if len(inputs) > 1 else ''}" for i in range(len(inputs))]
    ports += [f"output{i if len(outputs) > 1 else ''}" for i in range(len(outputs))]
    arguments = arguments_of(process, streams)
    requantization = None
    types: list[tuple[str, str]] = []
    if process.kernel == "sliding_window":
        types.append(("value_t", inputs[0].format.raw_type))
    elif process.kernel in JOINS:
        types += [("inputs_t", _parts(process)), ("output_t", outputs[0].format.raw_type)]
    else:
        numbered = enumerate(inputs) if len(inputs) > 1 else [("", inputs[0])]
        types += [(f"input{index}_t", stream.format.raw_type) for index, stream in numbered]
        types.append(("output_t", outputs[0].format.raw_type))
    if process.accumulator is not None and process.target is not None:
        name = f"{process.name}_requantization"
        constants = packing.Requantization(
            process.accumulator, process.target, process.divisor, process.maximum
        )
        requantization = constants.text(name)
        types.append(("accumulator_t", process.accumulator.raw_type))
        types.append(("requantization", name))
    if process.kernel == "upsample_bilinear":
        vertical = _row_sums(process, inputs[0].format)
        types.append(("vertical_t", vertical.raw_type))
    if process.kernel == "softmax":
        for kind in ("exponential", "sum"):
            types.append((f"{kind}_t", f"ap_uint<{process.settings[f'{kind}_width']}>"))
    if process.weights is not None:
        types.append(("multiplier_t", f"hwflow::{MULTIPLIERS[process.multiplier]}"))
    if process.table is not None:
        types.append(("values_t", packing.cpp_type(packing.narrowest(process.table))))
    settings = dict(process.settings)
    if process.weight_format is not None:
        settings["weight_width"] = packing.weight_width(process.weight_format)
    called = ports
    if process.kernel in JOINS:  # however many inputs there are, the output comes first
        settings = {name: settings[name] for name in ("pixels", "channels", "lanes")}
        called = [*ports[-1:], *ports[:-1]]
    memories, memory_names, weights = _memories(process, streams, backend)
    return ProcessText(
        process.name,
        render(
            "config.j2",
            process=process,
            requantization=requantization,
            types=types,
            settings=settings.items(),
        ),
        render(
            "function.j2",
            process=process,
            arguments=[f"{t} {n}" for t, n in zip(arguments, ports, strict=True)],
            memories=memories,
            names=[*called, *memory_names],
        ),
        weights,
    )


def _parts(process: Process) -> str:
    """The C++ type that tells a join of its inputs."""
    settings = process.settings
    parts = [
        f"hwflow::part<{settings[f'channels{index}']}, {settings[f'shift{index}']}>"
        for index in range(len(process.inputs))
    ]
    return f"hwflow::parts<{', '.join(parts)} >"


def _memories(
    process: Process, streams: Mapping[str, Stream], backend: str
) -> tuple[list[str], list[str], str | None]:
    """Declarations and pragmas of the arrays that a kernel takes, their names, and constants."""
    if process.kernel == "sliding_window":
        (memory,) = process.memories
        stream = streams[process.inputs[0]]
        declared = f"static {stream.format.raw_type} buffer[{memory.words}][{stream.lanes}];"
        lines = [
            f"    // {memory.words} beats: the rows that windows reach over",
            f"    {declared}",
        ]
        return [*lines, *_bound("buffer", memory, backend, rom=False)], ["buffer"], None
    if process.kernel in ("global_sum", "scale"):
        lanes = process.settings["lanes"]
        folds = process.settings["channels"] // lanes
        name, value = "sums", process.accumulator
        if process.kernel == "scale":
            name, value = "gate", streams[process.inputs[1]].format
        assert value is not None
        return _kept(name, value, (folds, lanes), "lutram", backend), [name], None
    if process.kernel.startswith("upsample_"):
        return _upsampling_memories(process, streams[process.inputs[0]], backend)
    if process.kernel in ("softmax", "table"):
        assert process.table is not None
        name = f"{process.name}_values"
        text = (
            f"// Constants of {process.name}: the result for each "
            f"{'distance' if process.kernel == 'softmax' else 'bit pattern of the input'}.\n"
            f"{packing.list_text(name, process.table)}"
        )
        storage = (
            "BIND_STORAGE variable={} type=rom_np impl=lutram"
            if backend == "vitis"
            else "RESOURCE variable={} core=ROM_nP_LUTRAM"
        )
        if process.kernel == "table":
            return [f"#pragma HLS {storage.format(name)}"], [name], text
        channels, width = process.settings["channels"], process.settings["exponential_width"]
        logits = streams[process.inputs[0]].format
        lines = [
            f"#pragma HLS {storage.format(name)}",
            *_kept("logits", logits, (channels, 1), "lutram", backend),
            *_kept(
                "exponentials", FixedPoint(width, width, False), (channels, 1), "lutram", backend
            ),
        ]
        return lines, ["logits", "exponentials", name], text
    if process.weights is None or process.biases is None or process.weight_format is None:
        return [], [], None
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
        rows = packing.depthwise_weight_rows(operation, pe)
    else:
        rows = packing.weight_rows(operation, pe, process.settings["simd"])
    packed = packing.pack_rows(rows, packing.weight_width(process.weight_format))
    rom, bias_rom = process.memories
    if packed.shape[0] != rom.words:
        raise DesignError(
            f"{process.name}: {packed.shape[0]} words of weights, planned {rom.words}"
        )
    weights, biases = f"{process.name}_weights", f"{process.name}_biases"
    text = (
        f"// Constants of {process.name}: {rows.shape[1]} weights of "
        f"{process.weight_format} a word, one word a cycle.\n"
        f"{packing.array_text(weights, packed)}\n"
        f"// One row for each fold of the output channels, in the unit of the accumulator.\n"
        f"{packing.array_text(biases, packing.bias_rows(np.asarray(process.biases), pe))}"
    )
    lines = [
        f"    // {rom.words} words of {rom.width_bits} bits",
        *_bound(weights, rom, backend, rom=True),
        *_bound(biases, bias_rom, backend, rom=True),
    ]
    return lines, [weights, biases], text


def _row_sums(process: Process, source: FixedPoint) -> FixedPoint:
    """The narrowest format of weighted sums of two rows."""
    unit = weight_unit(process.settings["factor_height"])
    return FixedPoint.containing(source.minimum * unit, source.maximum * unit, source.fraction_bits)


def _upsampling_memories(
    process: Process, source: Stream, backend: str
) -> tuple[list[str], list[str], None]:
    """The rows that an upsampling keeps, and what it keeps of a pixel."""
    row, lanes = process.memories[0], source.lanes
    folds = process.settings["channels"] // lanes
    if process.kernel == "upsample_nearest":
        lines = [
            *_kept("row", source.format, (row.words, lanes), row.storage, backend),
            *_kept("pixel", source.format, (folds, lanes), "lutram", backend),
        ]
        return lines, ["row", "pixel"], None
    sums = _row_sums(process, source.format)
    lines = [
        *_kept("rows", source.format, (3, row.words, lanes), row.storage, backend),
        *_kept("columns", sums, (2, folds, lanes), "lutram", backend),
    ]
    return lines, ["rows", "columns"], None


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
