"""The load port in the emitted project: the way of the words, and the file a host streams in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwflow.errors import DesignError, Fault
from hwflow.hls import arrays, emit
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.plan.loading import (
    INDEX_FILE,
    PORT_BITS,
    READER_FILE,
    WEIGHTS_FILE,
    Load,
    load_words,
    loads_of,
)
from hwflow.plan.streams import StreamGraph
from hwflow.workspace import json_bytes

PORT = "weights_in"
"""The top function's parameter that takes the words."""

FLAG = "load_weights"
"""The top function's parameter that says whether a call begins with a load."""

_WORD_BYTES = PORT_BITS // 8


@dataclass(frozen=True)
class Way:
    """How the words of a load reach the layers, as the top function writes it.

    Attributes:
        streams: names of the FIFOs on the way.
        deals: by the name of a process: the call that deals its words out, if there is one.
        sources: by the name of a process: the stream that its words come from.
    """

    streams: tuple[str, ...]
    deals: Mapping[str, str]
    sources: Mapping[str, str]


def way_of(graph: StreamGraph) -> Way:
    """The way of the words through a graph; empty where nothing is loaded."""
    streams: list[str] = []
    deals: dict[str, str] = {}
    sources: dict[str, str] = {}
    coming, left = PORT, load_words(graph)
    for load in loads_of(graph):
        left -= load.words
        if left == 0:  # what is left is the last one's
            sources[load.process] = coming
            break
        own, rest = f"{load.process}_load", f"{load.process}_load_rest"
        streams += [own, rest]
        sizes = f"{load.words}, {left}"
        deals[load.process] = f"hwflow::deal_words<{sizes}>({FLAG}, {coming}, {own}, {rest});"
        sources[load.process], coming = own, rest
    return Way(tuple(streams), deals, sources)


def weights_bytes(graph: StreamGraph) -> bytes:
    """The words of a load: 64-bit integers, the least significant byte first.

    Args:
        graph: a plan with its constants.

    Raises:
        DesignError: if a process's weights are not as many as its memory takes.
    """
    parts = []
    loads = loads_of(graph)
    by_name = {process.name: process for process in graph.processes}
    for load in loads:
        rows = np.ascontiguousarray(arrays.packed_weights(by_name[load.process]))
        plain = rows.astype(rows.dtype.newbyteorder("<")).view(np.uint8)
        if plain.shape != (load.rows, load.row_bits // 8):
            raise DesignError(
                f"{load.process}: {plain.shape[0]} rows of {8 * plain.shape[1]} bits to load, "
                f"planned {load.rows} of {load.row_bits}"
            )
        padded = np.zeros((load.rows, load.words_a_row * _WORD_BYTES), np.uint8)
        padded[:, : plain.shape[1]] = plain
        parts.append(padded.tobytes())
    content = b"".join(parts)
    if len(content) != load_words(graph) * _WORD_BYTES:
        raise DesignError(
            f"a load of {len(content) // _WORD_BYTES} words, planned {load_words(graph)}"
        )
    return content


def weights_of(streams: StreamGraph, built: IntegerGraph, other: IntegerGraph) -> bytes:
    """The words that turn a built project into the same network with other loaded weights.

    Args:
        streams: the plan; its constants are not looked at.
        built: the integer graph that the project was built of.
        other: the integer graph with other weights in the layers that are loaded.

    Raises:
        DesignError: if nothing is loaded, or the graphs differ in anything else: every difference.
    """
    layers = {load.layer for load in loads_of(streams)}
    faults = [] if layers else [Fault("", "", "the project has no weights that are loaded")]
    faults += _differences(built, other, layers)
    if faults:
        raise DesignError(faults)
    processes = []
    for process in streams.processes:
        if process.is_loaded:
            operation = other.operation(process.layer)
            assert isinstance(operation, Conv2D)
            process = replace(process, weights=operation.weights, biases=operation.biases)
        processes.append(process)
    return weights_bytes(replace(streams, processes=tuple(processes)))


def _differences(built: IntegerGraph, other: IntegerGraph, layers: set[str]) -> list[Fault]:
    """What tells two graphs apart beside the weights of some layers."""
    names = [operation.name for operation in built.operations]
    if names != [operation.name for operation in other.operations]:
        return [Fault("", "", "the other network must have the same layers in the same order")]
    faults = []
    for mine in built.operations:
        name = mine.name
        theirs = other.operation(name)
        have, want = built.tensors[name].format, other.tensors[name].format
        fits = have.minimum <= want.minimum and want.maximum <= have.maximum
        if have.fraction_bits != want.fraction_bits or not fits:
            faults.append(Fault("", name, f"values of {want} do not fit those built, {have}"))
        if isinstance(mine, Conv2D) and isinstance(theirs, Conv2D) and name in layers:
            if mine.weights.shape != theirs.weights.shape:
                shapes = f"{theirs.weights.shape}, built {mine.weights.shape}"
                faults.append(Fault("", name, f"has weights of shape {shapes}"))
                continue
            theirs = replace(theirs, weights=mine.weights)
        if not _same(mine, theirs):
            what = "anything but its weights" if name in layers else "anything: it is not loaded"
            faults.append(Fault("", name, f"must not differ in {what}"))
    return faults


def _same(first: object, second: object) -> bool:
    if type(first) is not type(second):
        return False
    values = vars(second)
    return all(np.array_equal(value, values[name]) for name, value in vars(first).items())


def part_of(content: bytes, streams: StreamGraph, layer: str) -> bytes:
    """The words of one layer in the file of a whole design."""
    return b"".join(
        content[load.first_word * _WORD_BYTES : (load.first_word + load.words) * _WORD_BYTES]
        for load in loads_of(streams)
        if load.layer == layer
    )


def host_files(graph: StreamGraph) -> dict[str, str | bytes]:
    """What a host needs to load the weights: the words, what they are, and how to read them.

    Args:
        graph: a plan with its constants.

    Returns:
        Nothing where nothing is loaded.

    Raises:
        DesignError: as `weights_bytes`.
    """
    if not loads_of(graph):
        return {}
    return files_of(graph, weights_bytes(graph))


def files_of(graph: StreamGraph, content: bytes) -> dict[str, str | bytes]:
    """The same with words that are given."""
    words = load_words(graph)
    index = {
        "file": WEIGHTS_FILE.rpartition("/")[2],
        "sha256": hashlib.sha256(content).hexdigest(),
        "word_bits": PORT_BITS,
        "byte_order": "little",
        "words": words,
        "layers": [_entry(load) for load in loads_of(graph)],
    }
    reader = emit.render("weights_file.h.j2", name=graph.name, words=words)
    return {
        WEIGHTS_FILE: content,
        INDEX_FILE: json_bytes(index).decode(),
        READER_FILE: reader,
    }


def _entry(load: Load) -> dict[str, str | int]:
    return {
        "layer": load.layer,
        "process": load.process,
        "first_word": load.first_word,
        "words": load.words,
        "rows": load.rows,
        "words_a_row": load.words_a_row,
        "row_bits": load.row_bits,
    }
