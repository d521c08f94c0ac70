"""hwflow on a design: the whole build, then the compiled C-simulation by itself, with either types.

Run as a worker: `python -m benchmarks.ours PIPE DESIGN FOLDER REPEATS`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Marks


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


def main(pipe: int, design: Path, folder: Path, repeats: int) -> None:
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
    for _ in range(repeats):
        for name, workers, tensors in (
            ("one process", 1, graph.outputs),
            ("two processes", 2, graph.outputs),
            ("one process, every tensor", 1, None),
        ):
            with marks.stage(name):
                simulate(simulator, inputs, folder / "run", log, tensors=tensors, workers=workers)
    with marks.stage("compile, reference types"):
        hls = result.project / "hls"
        reference = compile_project(
            hls, project.streams, folder / "reference", log, ap_types="reference"
        )
    with marks.stage("one process, reference types"):
        simulate(reference, inputs, folder / "run", log, tensors=graph.outputs, workers=1)
    marks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
