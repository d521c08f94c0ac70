"""The files of an HLS project, planned in memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import IntArray
from hwflow.hls import emit, limits, loading, packing
from hwflow.plan.loading import STREAM_DEPTH, load_words
from hwflow.plan.mapping import identifier
from hwflow.plan.process_schedule import parallel_window_of
from hwflow.plan.streams import Process, Stream, StreamGraph

KERNELS = Path(__file__).parent / "kernels"
SIMULATION = Path(__file__).parent / "simulation"

CFLAGS = "-std=c++14"
"""Flags for the vendor's compilers."""

GCC_FLAGS = "-std=c++14 -O3 -march=native"
"""Flags for C-simulation with a plain compiler: wide folds are vectorised."""


@dataclass(frozen=True)
class ProjectSettings:
    """What the scripts of a project say.

    Attributes:
        backend: `vitis` or `vivado`.
        part: full part number.
        clock_period_ns: target.
    """

    backend: str
    part: str
    clock_period_ns: float

    @property
    def clock_uncertainty(self) -> str:
        """The tools' usual margins."""
        return "27%" if self.backend == "vitis" else "12.5%"


@dataclass(frozen=True)
class Port:
    """A stream at the top function's border."""

    name: str
    stream: Stream

    @property
    def beat(self) -> str:
        """C++ type of a beat, ready to stand in another template."""
        return f"{emit.beat_type(self.stream)} "

    @property
    def beats(self) -> int:
        """Beats an image."""
        return self.stream.beats

    @property
    def argument(self) -> str:
        """The parameter's declaration."""
        return f"hls::stream<{self.beat}>& {self.name}"


def check(graph: StreamGraph) -> None:
    """Refuses what the vendor's tools would refuse hours later.

    Raises:
        DesignError: with every stream, array and fold beyond a limit, and the limit's source.
    """
    faults: list[Fault] = []
    for stream in graph.streams.values():
        faults += limits.stream_faults(f"stream {stream.name}", stream.lanes, stream.format.width)
    for process in graph.processes:
        where = f"layer {process.layer}"
        lanes = process.multipliers or process.settings.get("lanes", 1)
        for memory in process.memories:
            if memory.role != "biases":
                width = -(-memory.width_bits // lanes)
                faults += limits.memory_faults(f"{where}, {memory.role}", lanes, width)
            if memory.is_loaded:
                kept = packing.loaded_elements(process.settings["weight_width"], lanes)
                faults += limits.register_faults(f"{where}, a row that is loaded", kept)
        if process.kernel == "parallel_window":  # columns of windows that no memory keeps
            kept = parallel_window_of(process.settings).register_values
            faults += limits.register_faults(f"{where}, columns", kept)
        if process.multipliers:
            faults += limits.unroll_faults(where, process.multipliers)
            faults += limits.register_faults(where, process.settings.get("pe", lanes))
    if faults:
        raise DesignError(faults)


def layer_files(
    graph: StreamGraph, titles: Mapping[str, str], texts: Mapping[str, emit.ProcessText]
) -> dict[str, str]:
    """The source file of each layer, and the headers of its constants.

    Args:
        graph: the plan.
        titles: a line about each layer.
        texts: the C++ of each process.
    """
    files = {}
    for layer in graph.layers:
        processes = graph.of_layer(layer)
        weight_headers = []
        for process in processes:
            weights = texts[process.name].weights
            if weights is not None:
                weight_headers.append(process.name)
                guard = f"{process.name.upper()}_WEIGHTS_H_"
                files[f"firmware/weights/{process.name}.h"] = (
                    f"#ifndef {guard}\n#define {guard}\n\n{weights}\n#endif  // {guard}\n"
                )
        files[f"firmware/layers/{identifier(layer)}.cpp"] = emit.render(
            "layer.cpp.j2",
            title=titles.get(layer, layer),
            remarks=[_remark(process, graph.streams) for process in processes],
            headers=sorted(set().union(*map(emit.headers_of, processes))),
            weight_headers=weight_headers,
            processes=[texts[process.name] for process in processes],
        )
    return files


def _remark(process: Process, streams: Mapping[str, Stream]) -> str:
    sources = ", ".join(f"{n} ({streams[n].format}, {streams[n].lanes})" for n in process.inputs)
    targets = ", ".join(f"{n} ({streams[n].format}, {streams[n].lanes})" for n in process.outputs)
    speed = f"{process.cycles} cycles"
    if process.multipliers:
        speed += f", {process.multipliers} products a cycle, sums in {process.accumulator}"
    return f"{process.kernel}: {sources} -> {targets}; {speed}"


def project_files(
    graph: StreamGraph,
    texts: Mapping[str, emit.ProcessText],
    titles: Mapping[str, str],
    settings: ProjectSettings,
) -> dict[str, str]:
    """Everything but the golden vectors and the types' headers.

    Args:
        graph: the plan.
        texts: the C++ of each process.
        titles: a line about each layer.
        settings: for the scripts.

    Raises:
        DesignError: if a limit of the vendor's tools is exceeded.
    """
    check(graph)
    files = layer_files(graph, titles, texts) | shell_files(graph, settings.backend)
    script = {
        "name": graph.name,
        "part": settings.part,
        "clock_period_ns": settings.clock_period_ns,
        "clock_uncertainty": settings.clock_uncertainty,
        "backend": settings.backend,
        "is_loaded": load_words(graph) > 0,
        "sources": sorted(path for path in files if path.startswith("firmware/layers/")),
        "cflags": CFLAGS,
    }
    for name in ("build_prj.tcl", "vivado_synth.tcl", "project.tcl"):
        files[name] = emit.render(f"{name}.j2", **script)
    files["build_opt.tcl"] = emit.render("build_opt.tcl")
    for folder, target in ((KERNELS, "firmware/kernels"), (SIMULATION, "simulation")):
        for path in sorted(folder.rglob("*.h")):
            files[f"{target}/{path.relative_to(folder).as_posix()}"] = path.read_text()
    return dict(sorted(files.items()))


def shell_files(graph: StreamGraph, backend: str = "vitis") -> dict[str, str]:
    """What stands around the layers: top function, declarations, simulation, Makefile.

    Args:
        graph: the plan.
        backend: `vitis` or `vivado`, which chooses the memory of FIFOs by itself.
    """
    inputs, outputs = ports_of(graph)
    ports = [*inputs, *outputs]
    outside = dict(zip([*graph.inputs, *graph.outputs], [p.name for p in ports], strict=True))
    way = loading.way_of(graph)
    calls = []
    for process in graph.processes:
        words = [outside.get(name, name) for name in [*process.inputs, *process.outputs]]
        if process.is_loaded:
            words += [loading.FLAG, way.sources[process.name]]
        if process.name in way.deals:
            calls.append(way.deals[process.name])
        calls.append(f"{process.name}({', '.join(words)});")
    arguments = [port.argument for port in ports]
    given = [port.name for port in ports]
    if way.sources:
        _check_names(graph, way)
        arguments += [f"bool {loading.FLAG}", f"hls::stream<hwflow::load_word>& {loading.PORT}"]
        given += [loading.FLAG, loading.PORT]
    streams = [
        {
            "name": stream.name,
            "beat": f"{emit.beat_type(stream)} ",
            "depth": stream.depth,
            "reason": f"{stream.tensor or 'windows'}: {stream.reason}",
            "storage": stream.storage if backend == "vitis" else None,
        }
        for stream in graph.internal
    ]
    streams += [
        {
            "name": name,
            "beat": "hwflow::load_word",
            "depth": STREAM_DEPTH,
            "reason": "words of a load: any depth will do",
            "storage": "srl" if backend == "vitis" else None,
        }
        for name in way.streams
    ]
    declared = [
        {"name": process.name, "arguments": emit.arguments_of(process, graph.streams)}
        for process in graph.processes
    ]
    name, words_to_load = graph.name, load_words(graph)
    return {
        f"firmware/{name}.h": emit.render(
            "top.h.j2",
            name=name,
            ports=[_described(port) for port in ports],
            arguments=arguments,
            load_words=words_to_load,
        ),
        f"firmware/{name}.cpp": emit.render(
            "top.cpp.j2",
            name=name,
            ports=ports,
            arguments=arguments,
            streams=streams,
            calls=calls,
            load_words=words_to_load,
        ),
        "firmware/layers.h": emit.render(
            "layers.h.j2", name=name, processes=declared, load_words=words_to_load
        ),
        "simulation/simulate.cpp": emit.render(
            "simulate.cpp.j2",
            name=name,
            ports=ports,
            arguments=given,
            load_words=words_to_load,
            inputs=inputs,
            outputs=outputs,
            values_an_image=sum(port.stream.pixels * port.stream.channels for port in inputs),
        ),
        "Makefile": emit.render("Makefile.j2", name=name, cflags=GCC_FLAGS),
    }


def _check_names(graph: StreamGraph, way: loading.Way) -> None:
    """The parameters and streams of a load must hide no function and no stream."""
    taken = {*graph.streams, *(process.name for process in graph.processes)}
    for name in (loading.FLAG, loading.PORT, *way.streams):
        if name in taken:
            raise DesignError(f"a layer leads to the C++ name {name}, which the load port has")


def ports_of(graph: StreamGraph) -> tuple[list[Port], list[Port]]:
    """The top function's inputs and outputs."""
    found = []
    for base, names in (("input", graph.inputs), ("output", graph.outputs)):
        found.append(
            [
                Port(base if len(names) == 1 else f"{base}{index}", graph.streams[name])
                for index, name in enumerate(names)
            ]
        )
    return found[0], found[1]


def testbench_files(
    graph: StreamGraph, inputs: Sequence[IntArray], outputs: Sequence[IntArray]
) -> dict[str, str]:
    """The testbench and its golden vectors.

    Args:
        graph: the plan.
        inputs: raw integers of each input, shape `(N, H, W, C)`.
        outputs: raw integers of each output, the same images.
    """
    in_ports, out_ports = ports_of(graph)
    files = {
        f"{graph.name}_test.cpp": emit.render(
            "testbench.cpp.j2",
            name=graph.name,
            images=len(inputs[0]),
            inputs=in_ports,
            outputs=out_ports,
            load_words=load_words(graph),
        )
    }
    for port, values in zip([*in_ports, *out_ports], [*inputs, *outputs], strict=True):
        lines = "\n".join(map(str, np.asarray(values).ravel().tolist()))
        files[f"tb_data/{port.name}.dat"] = f"{lines}\n"
    return files


@functools.cache
def ap_type_files() -> dict[str, str]:
    """The ap_int headers for plain compilers that hls4ml ships (Apache-2.0)."""
    import importlib.util

    spec = importlib.util.find_spec("hls4ml")
    if spec is None or spec.origin is None:
        raise DesignError("hls4ml is not installed")
    root = Path(spec.origin).parent / "templates" / "vivado" / "ap_types"
    return {
        f"simulation/ap_types/{path.relative_to(root).as_posix()}": path.read_text()
        for path in sorted(root.rglob("*.h"))
        if path.name != "hls_stream.h"  # ours finds reads of empty streams and what is left over
    }


def _described(port: Port) -> dict[str, object]:
    stream = port.stream
    return {
        "name": port.name,
        "pixels": stream.pixels,
        "channels": stream.channels,
        "lanes": stream.lanes,
        "format": stream.format,
    }
