"""The files of an HLS project, planned in memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwflow.errors import DesignError
from hwflow.fixed_point import IntArray
from hwflow.hls import emit
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
        """C++ type of a beat."""
        return emit.beat_type(self.stream)

    @property
    def beats(self) -> int:
        """Beats an image."""
        return self.stream.beats

    @property
    def argument(self) -> str:
        """The parameter's declaration."""
        return f"hls::stream<{self.beat} >& {self.name}"


def check(graph: StreamGraph) -> None:
    """Refuses what the vendor's tools would refuse hours later.

    Raises:
        DesignError: with every array, stream and fold beyond a limit, and the limit's source.
    """


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
        files[source_of(layer, graph)] = emit.render(
            "layer.cpp.j2",
            title=titles.get(layer, layer),
            remarks=[_remark(process, graph.streams) for process in processes],
            headers=sorted({emit.HEADERS[process.kernel] for process in processes}),
            weight_headers=weight_headers,
            processes=[texts[process.name] for process in processes],
        )
    return files


def source_of(layer: str, graph: StreamGraph) -> str:
    """Path of a layer's source file: named by its last process that is no helper."""
    from hwflow.plan.mapping import identifier

    return f"firmware/layers/{identifier(layer)}.cpp"


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
    """Everything but the golden vectors.

    Args:
        graph: the plan.
        texts: the C++ of each process, in order.
        titles: a line about each layer.
        settings: for the scripts.

    Raises:
        DesignError: if a limit of the vendor's tools is exceeded.
    """
    check(graph)
    name = graph.name
    inputs = [
        Port(_port_name("input", i, graph.inputs), graph.streams[s])
        for i, s in enumerate(graph.inputs)
    ]
    outputs = [
        Port(_port_name("output", i, graph.outputs), graph.streams[s])
        for i, s in enumerate(graph.outputs)
    ]
    ports = [*inputs, *outputs]
    outside = {s: p.name for s, p in zip([*graph.inputs, *graph.outputs], ports, strict=True)}
    calls = []
    for process in graph.processes:
        words = [outside.get(s, s) for s in [*process.inputs, *process.outputs]]
        calls.append(f"{process.name}({', '.join(words)});")
    arguments = [port.argument for port in ports]
    files = layer_files(graph, titles, texts)
    sources = sorted(path for path in files if path.endswith(".cpp"))
    script = {
        "name": name,
        "part": settings.part,
        "clock_period_ns": settings.clock_period_ns,
        "clock_uncertainty": settings.clock_uncertainty,
        "backend": settings.backend,
        "sources": sources,
        "cflags": CFLAGS,
    }
    declared = [
        {"name": process.name, "arguments": texts[process.name].arguments}
        for process in graph.processes
    ]
    streams = [
        {"name": s.name, "beat": f"{emit.beat_type(s)} ", "depth": s.depth, "reason": _why(s)}
        for s in graph.internal
    ]
    port_data = [_port_data(port) for port in ports]
    files |= {
        f"firmware/{name}.h": emit.render(
            "top.h.j2", name=name, ports=port_data, arguments=arguments
        ),
        f"firmware/{name}.cpp": emit.render(
            "top.cpp.j2", name=name, ports=ports, arguments=arguments, streams=streams, calls=calls
        ),
        "firmware/layers.h": emit.render("layers.h.j2", name=name, processes=declared),
        "simulation/simulate.cpp": emit.render(
            "simulate.cpp.j2",
            name=name,
            ports=[_port_code(port) for port in ports],
            inputs=[_port_code(port) for port in inputs],
            outputs=[_port_code(port) for port in outputs],
            values_an_image=sum(p.stream.pixels * p.stream.channels for p in inputs),
        ),
        "Makefile": emit.render("Makefile.j2", name=name, cflags=GCC_FLAGS),
        "build_prj.tcl": emit.render("build_prj.tcl.j2", **script),
        "vivado_synth.tcl": emit.render("vivado_synth.tcl.j2", **script),
        "project.tcl": emit.render("project.tcl.j2", **script),
        "build_opt.tcl": emit.render("build_opt.tcl"),
    }
    for folder, target in ((KERNELS, "firmware/kernels"), (SIMULATION, "simulation")):
        for path in sorted(folder.glob("*.h")):
            files[f"{target}/{path.name}"] = path.read_text()
    return dict(sorted(files.items()))


def testbench_files(
    graph: StreamGraph, inputs: Sequence[IntArray], outputs: Sequence[IntArray]
) -> dict[str, str]:
    """The testbench and its golden vectors.

    Args:
        graph: the plan.
        inputs: raw integers of each input, shape `(N, H, W, C)`.
        outputs: raw integers of each output, the same images.
    """
    in_ports = [
        Port(_port_name("input", i, graph.inputs), graph.streams[s])
        for i, s in enumerate(graph.inputs)
    ]
    out_ports = [
        Port(_port_name("output", i, graph.outputs), graph.streams[s])
        for i, s in enumerate(graph.outputs)
    ]
    files = {
        f"{graph.name}_test.cpp": emit.render(
            "testbench.cpp.j2",
            name=graph.name,
            images=len(inputs[0]),
            inputs=[_port_code(port) for port in in_ports],
            outputs=[_port_code(port) for port in out_ports],
            ports=[_port_code(port) for port in [*in_ports, *out_ports]],
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


def _port_name(base: str, index: int, names: Sequence[str]) -> str:
    return base if len(names) == 1 else f"{base}{index}"


def _why(stream: Stream) -> str:
    what = stream.tensor or "windows"
    return f"{what}: {stream.reason}"


def _port_data(port: Port) -> dict[str, object]:
    stream = port.stream
    return {
        "name": port.name,
        "pixels": stream.pixels,
        "channels": stream.channels,
        "lanes": stream.lanes,
        "format": stream.format,
    }


def _port_code(port: Port) -> dict[str, object]:
    return {"name": port.name, "beat": f"{port.beat} ", "beats": port.beats}
