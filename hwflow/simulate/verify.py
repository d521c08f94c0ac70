"""Runs all witnesses on the same images and compares every tensor.

The integer graph in NumPy is what the others are compared with: the user's own QKeras model, if
there is one, and the QKeras model that is built, in float32 where that is provably exact; for the
rest the latter's evaluation in float64; the fast engine; and the C-simulation of the emitted code.
The graph's tensors wait on the disk, in the narrowest integers that their formats fit, and every
witness hands over its tensors one after another: memory is that of the largest, not of all.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, MismatchError
from hwflow.fixed_point import IntArray
from hwflow.integer_graph import IntegerGraph
from hwflow.pictures import batches
from hwflow.plan.streams import StreamGraph
from hwflow.simulate import keras_reference
from hwflow.simulate.compare import Tally, compare
from hwflow.simulate.csim import Simulator, recorded
from hwflow.simulate.fast import FastEngine
from hwflow.simulate.reproduce import write_reproducer
from hwflow.simulate.tensor_files import TensorFiles
from hwflow.workspace import disk_errors

BATCH = 2
"""The most images at a time, whose tensors stand on the disk: 2 GB an image of EfficientNet-B7."""

ENGINE_VALUES = 1 << 26
"""Values of the engine at a time, 256 MiB: a larger network is run once for each such part."""


@dataclass
class Details:
    """What is told beside the tally.

    Attributes:
        summary: joins the `verification` of `metrics.json`.
        tensors: for each tensor its format, extremes, and a digest of its values an image.
    """

    summary: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)


def verify(
    graph: IntegerGraph,
    model: Any,
    simulator: Simulator,
    images: npt.NDArray[np.float32],
    folder: Path,
    log: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    given: Any = None,
) -> tuple[Tally, Details]:
    """Compares all witnesses on images.

    Args:
        graph: the integer graph.
        model: the QKeras model.
        simulator: the compiled project.
        images: preprocessed, shape `(N, H, W, C)`.
        folder: for files in the meantime.
        log: what the C-simulation says.
        progress: told how many images are done.
        given: the user's own QKeras model, if the QKeras model was made of it.

    Returns:
        The tally, and details for the report.

    Raises:
        ToolError: if the C-simulation fails, or the engine is not built.
    """
    exact = keras_reference.float32_exact(graph)
    reference = keras_reference.KerasReference(model, graph)
    own = None if given is None else keras_reference.KerasReference(given, graph)
    engine = FastEngine(graph)
    beyond = [name for name in reference.names if name not in exact]
    tally = Tally()
    details = Details()
    float32_differs = dict.fromkeys(beyond, 0)
    (input_name,) = graph.inputs
    digests: dict[str, list[str]] = {name: [] for name in graph.tensors}
    extremes: dict[str, tuple[int, int]] = {}
    progress(0, len(images))
    values_an_image = sum(math.prod(tensor.shape) for tensor in graph.tensors.values())
    with TensorFiles(folder / "integer") as expected:
        for start, batch in batches(images, BATCH, values_an_image):
            raw = graph.tensors[input_name].format.quantize(batch)
            expected.clear()
            for name, integers in graph.stream({input_name: raw}):
                expected.add(name, graph.narrowed(name, integers))
                _note(name, integers, digests, extremes)
            if own is not None:
                for name, got in own.stream(reference_input(graph, raw)):
                    if name in exact:
                        _compare_keras(tally, "model", graph, expected, name, got, start)
            for name, got in reference.stream(batch):
                if name in exact:
                    _compare_keras(tally, "keras", graph, expected, name, got, start)
                else:
                    same = keras_reference.matches(got, expected[name], graph.tensors[name])
                    float32_differs[name] += int(np.count_nonzero(~same))
            if beyond:
                chosen = frozenset(beyond).__contains__
                for name, got in keras_reference.stream_float64(model, graph, batch, chosen):
                    _compare_keras(tally, "keras_float64", graph, expected, name, got, start)
            for names in _parts(graph, len(batch)):
                fast = engine.predict({input_name: raw}, keep=names)
                found = {name: fast[name] for name in names}
                compare(tally, "fast", graph, expected, found, first_image=start)
                del fast, found
            with recorded(simulator, {input_name: raw}, folder / "csim", log) as recordings:
                compare(tally, "csim", graph, expected, recordings, first_image=start)
            tally.images += len(batch)
            progress(start + len(batch), len(images))
    details.summary["float32_insufficient"] = [
        {"name": name, "differing_values": count} for name, count in float32_differs.items()
    ]
    details.tensors = {
        name: {
            "shape": list(tensor.shape),
            "format": str(tensor.format),
            "minimum": extremes[name][0],
            "maximum": extremes[name][1],
            "sha256": digests[name],
        }
        for name, tensor in graph.tensors.items()
    }
    return tally, details


def reference_input(graph: IntegerGraph, raw: IntArray) -> npt.NDArray[np.float32]:
    """What a user's own model is given: the input as the hardware has it, quantized."""
    (name,) = graph.inputs
    return graph.tensors[name].format.to_float(raw).astype(np.float32)


def _parts(graph: IntegerGraph, images: int) -> Iterator[list[str]]:
    """The tensors' names in their order, in parts of `ENGINE_VALUES` for so many images."""
    part: list[str] = []
    size = 0
    for name, tensor in graph.tensors.items():
        values = images * math.prod(tensor.shape)
        if part and size + values > ENGINE_VALUES:
            yield part
            part, size = [], 0
        part.append(name)
        size += values
    yield part


def _compare_keras(
    tally: Tally,
    witness: str,
    graph: IntegerGraph,
    expected: Mapping[str, npt.NDArray[Any]],
    name: str,
    got: npt.NDArray[Any],
    start: int,
) -> None:
    tensor = graph.tensors[name]
    same = keras_reference.matches(got, expected[name], tensor)
    if same.all():
        tally.add(witness, name, got.size, 0)
        return
    raw = {name: keras_reference.to_raw(got, tensor)}
    compare(tally, witness, graph, expected, raw, {name: same}, first_image=start)


def _note(
    name: str,
    array: IntArray,
    digests: dict[str, list[str]],
    extremes: dict[str, tuple[int, int]],
) -> None:
    low, high = int(array.min()), int(array.max())
    before = extremes.get(name, (low, high))
    extremes[name] = (min(low, before[0]), max(high, before[1]))
    for image in array:
        content = np.ascontiguousarray(image, "<i8")
        digests[name].append(hashlib.sha256(content.data).hexdigest())


def quantized_input(graph: IntegerGraph, images: Any) -> Any:
    """Raw integers of preprocessed images, in the input's declared format.

    Args:
        graph: with one input.
        images: real values, shape `(N, H, W, C)`.

    Raises:
        DesignError: for another shape or values that are not finite.
    """
    (name,) = graph.inputs
    tensor = graph.tensors[name]
    values = np.asarray(images)
    if values.ndim != 4 or values.shape[1:] != tensor.shape:
        wanted = ", ".join(map(str, tensor.shape))
        raise DesignError(f"images must have shape (N, {wanted}), not {values.shape}")
    try:
        return tensor.format.quantize(values)
    except ValueError as error:
        raise DesignError(f"images: {error}") from error


def require_exact(
    tally: Any,
    graph: IntegerGraph,
    streams: StreamGraph,
    hls: Path,
    images: Any,
    reproducer: Path,
) -> None:
    """Raises MismatchError where witnesses disagree, with a reproducer if the hardware is wrong."""
    if not tally.first:
        return
    order = list(graph.tensors)
    first = min(tally.first.values(), key=lambda divergence: order.index(divergence.layer))
    text = str(first)
    with disk_errors("writing the reproducer"):
        shutil.rmtree(reproducer, ignore_errors=True)
        if first.witness == "csim":
            raw = quantized_input(graph, images)
            made = write_reproducer(graph, streams, hls, first, raw, reproducer)
            if made is not None:
                text += f". Reproduce it alone: make -C {made}"
    raise MismatchError(text)
