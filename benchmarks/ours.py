"""hwflow on a design: the whole build, then its C-simulation, with either types, and the engine.

Run as a worker: `python -m benchmarks.ours PIPE DESIGN FOLDER`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Marks

ENGINE_ROUNDS = 10


class MarkedProgress:
    """A flow's progress, as stages.

    Args:
        marks: which are told.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    @contextlib.contextmanager
    def step(self, name: str, reused: bool = False) -> Iterator[None]:
        if reused:
            raise RuntimeError(f"step {name} was reused: the folder must be new")
        with self._marks.stage(name):
            yield

    def advance(self, done: int, total: int, what: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def engine_seconds(graph: Any, raw: Any, threads: int) -> list[float]:
    """Seconds of the engine for one image at a time, without the first round, which warms up.

    Args:
        graph: an integer graph with one input.
        raw: its raw integers, shape `(N, H, W, C)`.
        threads: of the engine.
    """
    from hwflow.simulate.fast import FastEngine

    (name,) = graph.inputs
    engine = FastEngine(graph, threads)
    seconds = []
    for _ in range(ENGINE_ROUNDS + 1):
        for image in raw:
            start = time.perf_counter()
            engine.predict({name: image[None]})
            seconds.append(time.perf_counter() - start)
    return seconds[len(raw) :]


def main(pipe: int, design: Path, folder: Path) -> None:
    marks = Marks(pipe)
    with marks.stage("import"):
        import numpy as np

        from hwflow import flow
        from hwflow.progress import SilentProgress
        from hwflow.project import Project
        from hwflow.simulate.csim import compile_project, simulate
    result = flow.build(design, folder, progress=MarkedProgress(marks))
    with marks.stage("publish"):
        pass  # the build's last act has just ended; this marks when
    verification = result.metrics["verification"]
    marks.fact("values compared", verification["values_compared"])
    marks.fact("values that differ from Keras", verification["mismatches"])
    project = Project(result.project)
    log = folder / "log.txt"
    simulator = project.simulator(log, SilentProgress())
    if simulator.compiled:
        raise RuntimeError("the build left nothing compiled to simulate with")
    graph = project.graph
    raw = np.load(result.project / "verification" / "inputs.npy").astype(np.int64)
    inputs = {graph.inputs[0]: raw}
    for name, workers, tensors in (
        ("one process", 1, graph.outputs),
        ("two processes", 2, graph.outputs),
        ("one process, every tensor", 1, None),
    ):
        for _ in range(2):
            with marks.stage(name):
                simulate(simulator, inputs, folder / "run", log, tensors=tensors, workers=workers)
    marks.fact(
        "engine",
        {
            "one thread": median(engine_seconds(graph, raw, 1)),
            "two threads": median(engine_seconds(graph, raw, 2)),
        },
    )
    with marks.stage("compile, reference types"):
        hls = result.project / "hls"
        reference = compile_project(
            hls, project.streams, folder / "reference", log, ap_types="reference"
        )
    with marks.stage("one process, reference types"):
        simulate(reference, inputs, folder / "run", log, tensors=graph.outputs, workers=1)
    marks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
