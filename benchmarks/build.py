"""Whole builds and C-simulations beside stock hls4ml, taking turns on the same network and images.

The build of stock hls4ml begins with the quantized model and ends with the predictions of four
images; that of hwflow begins with the float model, calibrates and quantizes it too, and ends when
every tensor of the same four images has been compared. Both are timed from the start of their
process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Options, Stage, WorkerRun, run_worker
from benchmarks.network import IMAGES

FULL = (224, 1000)
QUICK = (64, 10)
"""Height and width of the input in pixels, and classes."""

LAST_STAGE = {"stock": "predict", "hwflow": "publish"}
"""With which the build ends."""

RUNS = (
    "one process",
    "two processes",
    "one process, every tensor",
    "one process, reference types",
)
"""Stages after the build: the C-simulation of all images."""

REFERENCE_COMPILE = "compile, reference types"
"""Stage after the build: all of it is compiled anew with the reference headers of ap_int."""

STOCK_PASSES = 1
"""Times that stock simulates after each build: an image takes it long, and the builds repeat."""

Sides = Mapping[str, Sequence[WorkerRun]]


def run(options: Options) -> dict[str, Any]:
    """Builds by turns and returns the ratios, stock's seconds by ours, with what they are made of.

    Raises:
        ToolError: if either side fails.
    """
    size, classes = QUICK if options.quick else FULL
    repeats = 1 if options.quick else options.repeats
    load = os.getloadavg()[0]
    sides: dict[str, list[WorkerRun]] = {"stock": [], "hwflow": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run_worker("benchmarks.network", [folder, str(size), str(classes)], folder / "network.txt")
        for index in range(repeats):
            own = folder / f"build{index}"
            own.mkdir()
            stock: list[str | Path] = [
                folder / "quantized.h5",
                folder / "images.npy",
                own / "stock",
                str(STOCK_PASSES),
            ]
            sides["stock"].append(run_worker("benchmarks.stock", stock, own / "stock.txt"))
            ours: list[str | Path] = [folder / "design.yaml", own / "hwflow", str(repeats)]
            sides["hwflow"].append(run_worker("benchmarks.ours", ours, own / "hwflow.txt"))
    case = {
        "network": "SqueezeNet v1.1, 8 bits, pools of 2x2",
        "input": f"{size} x {size} x 3",
        "classes": classes,
        "images": IMAGES,
        "repeats": repeats,
        "load_average_before": round(load, 2),
    }
    return {**summary(sides), "build_case": case}


def summary(sides: Sides) -> dict[str, Any]:
    """Medians of all runs, and the ratios of stock to hwflow.

    Args:
        sides: the runs of `stock` and of `hwflow`.
    """
    wall = {name: _stages(name, runs, lambda s: s.seconds) for name, runs in sides.items()}
    cpu = {name: _stages(name, runs, lambda s: s.cpu_seconds) for name, runs in sides.items()}
    for name, runs in sides.items():
        wall[name]["whole build"] = median(_build_seconds(name, run) for run in runs)
        cpu[name]["whole build"] = sum(cpu[name].values())
    image = {name: _per_image(runs, lambda s: s.seconds) for name, runs in sides.items()}
    image_cpu = {name: _per_image(runs, lambda s: s.cpu_seconds) for name, runs in sides.items()}
    memory = {name: _memory(name, runs) for name, runs in sides.items()}

    def ratio(table: Mapping[str, Mapping[str, float]], row: str) -> float:
        return float(f"{table['stock'][row] / table['hwflow'][row]:.3g}")

    ours = sides["hwflow"]
    compile_cpu = median(run.stages[REFERENCE_COMPILE][0].cpu_seconds for run in ours)

    return {
        "csim_compile_cpu_fast_vs_reference_types": float(
            f"{compile_cpu / cpu['hwflow']['compile']:.3g}"
        ),
        "csim_run_fast_vs_reference_types": float(
            f"{image['hwflow'][RUNS[3]] / image['hwflow'][RUNS[0]]:.3g}"
        ),
        "build_vs_stock": ratio(wall, "whole build"),
        "build_cpu_vs_stock": ratio(cpu, "whole build"),
        "csim_compile_vs_stock": ratio(wall, "compile"),
        "csim_compile_cpu_vs_stock": ratio(cpu, "compile"),
        "csim_run_vs_stock": ratio(image, "one process"),
        "csim_run_cpu_vs_stock": ratio(image_cpu, "one process"),
        "csim_run_two_processes_vs_stock": ratio(image, "two processes"),
        "build_memory_vs_stock": ratio(memory, "whole build"),
        "build_seconds": _rounded(wall),
        "build_cpu_seconds": _rounded(cpu),
        "build_peak_memory_mb": _rounded(memory),
        "build_samples_seconds": {
            name: [round(_build_seconds(name, run), 1) for run in runs]
            for name, runs in sides.items()
        },
        "csim_seconds_per_image": _rounded(image),
        "csim_cpu_seconds_per_image": _rounded(image_cpu),
        "exactness": {name: runs[0].facts for name, runs in sides.items()},
    }


def _build_seconds(name: str, run: WorkerRun) -> float:
    """From the start of the process to the end of the build."""
    return run.stages[LAST_STAGE[name]][0].end_seconds


def _build_stages(name: str, run: WorkerRun) -> dict[str, Stage]:
    return {
        stage: passes[0]
        for stage, passes in run.stages.items()
        if stage not in (*RUNS, REFERENCE_COMPILE) and not (stage == "publish" and name == "hwflow")
    }


def _stages(
    name: str, runs: Sequence[WorkerRun], value: Callable[[Stage], float]
) -> dict[str, float]:
    found = [_build_stages(name, run) for run in runs]
    return {stage: median(value(stages[stage]) for stages in found) for stage in found[0]}


def _per_image(runs: Sequence[WorkerRun], value: Callable[[Stage], float]) -> dict[str, float]:
    return {
        stage: median(value(s) for run in runs for s in run.stages[stage]) / IMAGES
        for stage in RUNS
        if stage in runs[0].stages
    }


def _memory(name: str, runs: Sequence[WorkerRun]) -> dict[str, float]:
    """Peak megabytes of each stage; of the whole build, the largest of them."""
    stages = _stages(name, runs, lambda stage: stage.peak_bytes / 1e6)
    seen = {stage: peak for stage, peak in stages.items() if peak}
    return seen | {"whole build": max(seen.values())}


def _rounded(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {row: float(f"{value:.3g}") for row, value in column.items()}
        for name, column in table.items()
    }
