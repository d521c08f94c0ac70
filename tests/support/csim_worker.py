"""A worker for `benchmarks.measure`: `PIPE HLS PLAN FOLDER` compiles and runs two images."""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.measure import Marks
from hwflow.plan.streams import StreamGraph
from hwflow.simulate.csim import compile_project, simulate


def main(pipe: int, hls: Path, plan: Path, folder: Path) -> None:
    marks = Marks(pipe)
    graph = StreamGraph.from_json(json.loads(plan.read_text()))
    (name,) = graph.inputs
    stream = graph.streams[name]
    rng = np.random.default_rng(1)
    low, high = stream.format.minimum, stream.format.maximum
    raw = rng.integers(low, high + 1, (2, stream.pixels * stream.channels))
    inputs = {stream.tensor or name: raw}
    with marks.stage("compile"):
        simulator = compile_project(hls, graph, folder / "cache", folder / "compile.txt")
    with marks.stage("run"):
        found = simulate(simulator, inputs, folder / "run", folder / "run.txt")
    marks.fact("tensors", len(found))
    marks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:5]))
