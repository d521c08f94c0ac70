"""The C++ text of processes: configurations, functions with their memories, and calls."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from hwflow.hls import arrays, packing
from hwflow.plan.streams import Process, Stream

HEADERS: Mapping[str, str] = {
    "sliding_window": "sliding_window",
    "parallel_window": "parallel_window",
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
    "select_channels": "selection",
    "frame": "frame",
    "softmax": "heads",
    "top_k": "heads",
    "upsample_nearest": "upsampling",
    "upsample_bilinear": "upsampling",
}
"""The header of each kernel."""


def headers_of(process: Process) -> set[str]:
    """The headers that a process's file includes."""
    return {HEADERS[process.kernel], *(["loading"] if process.is_loaded else [])}


JOINS = ("add", "concatenate")
"""Kernels that take any number of inputs."""

WINDOWS = ("sliding_window", "parallel_window")
"""Kernels that make windows of pixels."""


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


LOAD_TYPES = ("bool", "hls::stream<hwflow::load_word>&")
"""The types of the parameters by which a process's weights are loaded."""


def arguments_of(process: Process, streams: Mapping[str, Stream]) -> tuple[str, ...]:
    """Types of the parameters of a process's function."""
    found = tuple(
        f"hls::stream<{beat_type(streams[name])} >&" for name in [*process.inputs, *process.outputs]
    )
    return (*found, *LOAD_TYPES) if process.is_loaded else found


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
    loading = [arrays.LOAD, arrays.LOAD_WORDS] if process.is_loaded else []
    parameters = [*ports, *loading]
    requantization = None
    types: list[tuple[str, str]] = []
    if process.kernel in WINDOWS:
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
        vertical = arrays.row_sums(process, inputs[0].format)
        types.append(("vertical_t", vertical.raw_type))
    if process.kernel == "softmax":
        for kind in ("exponential", "sum"):
            types.append((f"{kind}_t", f"ap_uint<{process.settings[f'{kind}_width']}>"))
    if process.weights is not None:
        types.append(("multiplier_t", f"hwflow::{MULTIPLIERS[process.multiplier]}"))
    if "table" in process.constants:
        table = packing.narrowest(process.constants["table"])
        types.append(("values_t", packing.cpp_type(table)))
    settings = dict(process.settings)
    called = ports
    if process.kernel in JOINS:  # however many inputs there are, the output comes first
        settings = {name: settings[name] for name in ("pixels", "channels", "lanes")}
        called = [*ports[-1:], *ports[:-1]]
    taken = arrays.arrays_of(process, streams, backend)
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
            arguments=[f"{t} {n}" for t, n in zip(arguments, parameters, strict=True)],
            memories=taken.lines,
            names=[*called, *taken.names],
        ),
        taken.constants,
    )


def _parts(process: Process) -> str:
    """The C++ type that tells a join of its inputs."""
    settings = process.settings
    parts = [
        f"hwflow::part<{settings[f'channels{index}']}, {settings[f'shift{index}']}>"
        for index in range(len(process.inputs))
    ]
    return f"hwflow::parts<{', '.join(parts)} >"
