"""A reproducer: the diverging layer alone, with the emitted code and golden vectors around it."""

from __future__ import annotations

from pathlib import Path

from hwflow.fixed_point import IntArray
from hwflow.hls import loading, writer
from hwflow.integer_graph import IntegerGraph
from hwflow.plan.loading import WEIGHTS_FILE, load_words
from hwflow.plan.mapping import identifier
from hwflow.plan.streams import StreamGraph
from hwflow.simulate.compare import Divergence
from hwflow.workspace import PlannedFiles


def layer_graph(graph: StreamGraph, layer: str) -> StreamGraph | None:
    """The processes of one layer as a design of their own.

    Args:
        graph: the plan of the whole design.
        layer: name of an operation.

    Returns:
        None if the layer has no process, or streams that carry no tensor.
    """
    processes = graph.of_layer(layer)
    if not processes:
        return None
    read = [name for process in processes for name in process.inputs]
    written = [name for process in processes for name in process.outputs]
    inputs = tuple(name for name in read if name not in written)
    outputs = tuple(name for name in written if name not in read)
    if any(graph.streams[name].tensor is None for name in (*inputs, *outputs)):
        return None
    streams = {name: graph.streams[name] for name in dict.fromkeys([*read, *written])}
    name = f"{graph.name}_{processes[0].layer}"
    return StreamGraph(identifier(name), processes, streams, inputs, outputs)


def write_reproducer(
    graph: IntegerGraph,
    streams: StreamGraph,
    project: Path,
    divergence: Divergence,
    inputs: IntArray,
    folder: Path,
) -> Path | None:
    """Writes a folder in which `make` runs the layer on the image and compares its outputs.

    Args:
        graph: the integer graph: what is right.
        streams: the plan.
        project: the emitted project whose code is run.
        divergence: names the tensor and the image.
        inputs: raw integers of all images, shape `(N, H, W, C)`.
        folder: to be made.

    Returns:
        The folder, or None if no process of the hardware makes the tensor.
    """
    maker = next(
        (
            process.layer
            for process in streams.processes
            for name in process.outputs
            if streams.streams[name].tensor == divergence.layer
            and process.kernel not in ("repack", "duplicate")
        ),
        None,
    )
    alone = layer_graph(streams, maker) if maker is not None else None
    if maker is None or alone is None:
        return None
    image = inputs[divergence.image : divergence.image + 1]
    read = {str(alone.streams[name].tensor) for name in (*alone.inputs, *alone.outputs)}
    values = graph.evaluate({graph.inputs[0]: image}, read.__contains__)
    files = PlannedFiles()
    for path, text in writer.shell_files(alone).items():
        files.add(path, text)
    golden = writer.testbench_files(
        alone,
        [values[str(alone.streams[name].tensor)] for name in alone.inputs],
        [values[str(alone.streams[name].tensor)] for name in alone.outputs],
    )
    for path, text in golden.items():
        files.add(path, text)
    if load_words(alone):
        words = loading.part_of((project / WEIGHTS_FILE).read_bytes(), streams, maker)
        for path, content in loading.files_of(alone, words).items():
            files.add(path, content)
    kept = [f"firmware/layers/{identifier(alone.processes[0].layer)}.cpp"]
    kept += [f"firmware/weights/{process.name}.h" for process in alone.processes]
    kept += [p.relative_to(project).as_posix() for p in (project / "simulation").rglob("*.h")]
    kept += [p.relative_to(project).as_posix() for p in (project / "firmware/kernels").glob("*.h")]
    for path in kept:
        if (project / path).exists():
            files.add(path, (project / path).read_bytes())
    files.write(folder)
    return folder
