"""One batch of pictures through the witnesses: what is kept, and sent to other machines."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault, ToolError
from hwflow.evaluate.figures import has_tie, top_classes
from hwflow.keras_models import load_keras
from hwflow.pictures import PixelArray, normalized, read_pixels
from hwflow.project import Project
from hwflow.quantize.inference import predict
from hwflow.simulate.fast import FastEngine
from hwflow.simulate.keras_reference import to_raw
from hwflow.workspace import package_digest

WITNESSES = ("float", "qkeras", "fast")
"""The float network, its QKeras model, and the hardware's arithmetic by the engine."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BatchJob:
    """What is to be done; it can be sent to another process.

    Attributes:
        project: folder of the project.
        files: the pictures.
        witnesses: that shall predict them.
        statistics: gather those of every tensor in the engine.
        threads: of the engine; 0 for one a processor.
        package: digest of the hwflow that made the job; another one refuses it.
        content: digest of the project: a worker opens it again when it changed.
    """

    project: str
    files: tuple[str, ...]
    witnesses: tuple[str, ...]
    statistics: bool
    threads: int
    package: str
    content: str


@dataclass(frozen=True)
class BatchResult:
    """What came of it.

    Attributes:
        records: by witness, ready for JSON: `top` (classes by rank, for each picture), `logits`
            (a digest of each picture's raw outputs), `ties` (pictures whose greatest output is not
            the only one), `seconds`, and the engine's `statistics` if asked for.
        faults: of pictures that cannot be read; then there are no records.
    """

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Predictor:
    """A project's witnesses on pictures, one batch after the other.

    Args:
        folder: of the project.
        statistics: gather those of every tensor in the engine (slower).
        threads: of the engine; 0 for one a processor.

    Raises:
        DesignError: if the folder is no project, or its network does not classify pictures.
    """

    def __init__(self, folder: Path | str, *, statistics: bool = False, threads: int = 0) -> None:
        self.project = Project(folder)
        self.statistics = statistics
        self.threads = threads
        graph = self.project.graph
        shape = graph.tensors[graph.outputs[0]].shape
        if len(graph.outputs) != 1 or shape[:2] != (1, 1) or shape[2] < 2:
            raise DesignError(
                Fault(
                    str(folder),
                    "",
                    "must classify: have one output of shape (1, 1, classes), not "
                    + ", ".join(str(graph.tensors[name].shape) for name in graph.outputs),
                )
            )
        self.classes = shape[2]
        self.input_shape = graph.tensors[graph.inputs[0]].shape

    def pixels(self, files: Sequence[str], pool: ThreadPoolExecutor) -> PixelArray:
        """Pixels of pictures, shape `(N, H, W, C)`; read side by side in the pool's threads.

        Raises:
            DesignError: with every picture that cannot be read.
        """
        preprocessing = self.project.preprocessing
        pixels = np.empty((len(files), *self.input_shape), np.uint8)

        def read(index: int) -> Sequence[Fault]:
            try:
                pixels[index] = read_pixels(Path(files[index]), preprocessing, self.input_shape)
            except DesignError as error:
                return error.faults
            return ()

        faults = [fault for found in pool.map(read, range(len(files))) for fault in found]
        if faults:
            raise DesignError(faults)
        return pixels

    def record(self, witness: str, pixels: PixelArray) -> dict[str, Any]:
        """What a witness makes of a batch; see `BatchResult`."""
        begin = time.perf_counter()
        record: dict[str, Any] = {}
        if witness == "fast":
            if self.statistics:
                self._engine.reset_statistics()
            scores = self._of_engine(pixels)
            if self.statistics:
                found = self._engine.statistics
                record["statistics"] = {name: asdict(seen) for name, seen in found.items()}
                for seen in record["statistics"].values():
                    del seen["unused_bits"]  # which follows from the extremes of all batches
        else:
            images = normalized(pixels, self.project.preprocessing)
            scores = self._of_float(images) if witness == "float" else self._of_qkeras(images)
        record["seconds"] = time.perf_counter() - begin
        record["top"] = top_classes(scores).tolist()
        record["ties"] = int(has_tie(scores).sum())
        record["logits"] = [
            hashlib.sha256((image + 0.0).astype("<f8").tobytes()).hexdigest()[:16]
            for image in scores  # + 0.0: minus zero equals zero
        ]
        return record

    @cached_property
    def _engine(self) -> FastEngine:
        return FastEngine(self.project.graph, self.threads, statistics=self.statistics)

    @cached_property
    def _float_model(self) -> Any:
        return load_keras(self.project.folder / "model" / "float.h5")

    @cached_property
    def _raw_pixels(self) -> npt.NDArray[np.int64]:
        """The input's raw integer of every pixel, shape `(256, C)`: pixels have few values."""
        channels = self.input_shape[2]
        every = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, 1)
        images = normalized(every.reshape(1, 256, 1, channels), self.project.preprocessing)
        (name,) = self.project.graph.inputs
        raw = self.project.graph.tensors[name].format.quantize(images)
        return raw.reshape(256, channels)

    def _of_engine(self, pixels: PixelArray) -> Scores:
        table = self._raw_pixels
        if table.min() >= 0 and table.max() <= 255:
            table = table.astype(np.uint8)
        elif table.min() >= -(1 << 15) and table.max() < 1 << 15:
            table = table.astype(np.int16)
        raw = np.stack([table[pixels[..., c], c] for c in range(pixels.shape[-1])], -1)
        (name,) = self.project.graph.inputs
        (output,) = self.project.graph.outputs
        # that it reports after each image lets an interrupt in
        found = self._engine.predict({name: raw}, progress=lambda done, total: None)
        return found[output].reshape(len(pixels), -1).astype(np.float64)

    def _of_float(self, images: npt.NDArray[np.float32]) -> Scores:
        values = predict(self._float_model, images)
        return np.asarray(values, np.float64).reshape(len(images), -1)

    def _of_qkeras(self, images: npt.NDArray[np.float32]) -> Scores:
        """In the unit of the integer graph's output, as the engine's."""
        (output,) = self.project.graph.outputs
        values = predict(self.project.model, images)
        return to_raw(values, self.project.graph.tensors[output]).reshape(len(images), -1)


def run_batch(job: BatchJob) -> BatchResult:
    """Runs a job in a process that may have run others before, as a worker of a cluster has.

    Raises:
        ToolError: if the job is another hwflow's, whose figures could differ.
    """
    if job.package != _own_digest():
        raise ToolError(
            "a worker of the cluster has another hwflow than this one: install the same on both"
        )
    predictor = _predictor(
        job.project, job.content, job.statistics, job.threads, threading.get_ident()
    )
    with ThreadPoolExecutor(1) as pool:
        try:
            pixels = predictor.pixels(job.files, pool)
        except DesignError as error:
            return BatchResult(faults=tuple(error.faults))
    return BatchResult({name: predictor.record(name, pixels) for name in job.witnesses})


@functools.cache
def _own_digest() -> str:
    return package_digest()


@functools.lru_cache(maxsize=4)
def _predictor(folder: str, content: str, statistics: bool, threads: int, thread: int) -> Predictor:
    """One for each thread of a worker, because an engine runs one batch at a time."""
    return Predictor(folder, statistics=statistics, threads=threads)
