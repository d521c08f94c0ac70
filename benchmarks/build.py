"""Whole builds, C-simulations and the engine beside stock hls4ml, on the same networks and images.

The build of stock hls4ml begins with the quantized model and ends with the predictions of four
images; that of hwflow begins with the float model, calibrates and quantizes it too, and ends when
every tensor of the same four images has been compared. Both are timed from the start of their
process, and take turns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Options, Stage, WorkerRun, run_worker
from benchmarks.network import IMAGES, NETWORKS

FULL = (224, 1000, 1.0)
QUICK = (64, 10, 0.25)
"""Height and width of the input in pixels, classes, and the width multiplier of MobileNets."""

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

Sides = Mapping[str, Sequence[WorkerRun]]


def run(options: Options) -> dict[str, Any]:
    """Builds by turns and returns the ratios, stock's seconds by ours, with what they are made of.

    Raises:
        ToolError: if either side fails.
    """
    size, classes, alpha = QUICK if options.quick else FULL
    load = os.getloadavg()[0]
    found = {}
    for index, family in enumerate(NETWORKS):
        # The first network takes the longest and is what a repeat tells most about.
        repeats = options.repeats if index == 0 and not options.quick else 1
        found[family] = summary(_sides(family, size, classes, alpha, repeats))
    case = {
        "networks": ", ".join(NETWORKS.values()) + "; 8 bits",
        "input": f"{size} x {size} x 3",
        "classes": classes,
        "images": IMAGES,
        "builds": [len(network["samples"]["stock"]) for network in found.values()],
        "load_average_before": round(load, 2),
    }
    return {**published(found), "build_case": case}


def _sides(family: str, size: int, classes: int, alpha: float, repeats: int) -> Sides:
    sides: dict[str, list[WorkerRun]] = {"stock": [], "hwflow": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        words: list[str | Path] = [folder, family, str(size), str(classes), str(alpha)]
        run_worker("benchmarks.network", words, folder / "network.txt")
        for index in range(repeats):
            own = folder / f"build{index}"
            own.mkdir()
            stock: list[str | Path] = [folder / "quantized.h5", folder / "images.npy"]
            stock += [own / "stock"]
            sides["stock"].append(run_worker("benchmarks.stock", stock, own / "stock.txt"))
            ours: list[str | Path] = [folder / "design.yaml", own / "hwflow"]
            sides["hwflow"].append(run_worker("benchmarks.ours", ours, own / "hwflow.txt"))
    return sides


# --- one network -----------------------------------------------------------------------------


def summary(sides: Sides) -> dict[str, Any]:
    """Medians of all runs of a network, and the ratios of stock to hwflow.

    Args:
        sides: the runs of `stock` and of `hwflow`.

    Returns:
        `ratios` by name; `seconds`, `cpu_seconds`, `memory_mb` of the build's stages, `image` and
        `image_cpu` seconds of the C-simulation, `samples` and `facts` by side; `engine`: its
        seconds an image.
    """
    wall = {name: _stages(name, runs, lambda s: s.seconds) for name, runs in sides.items()}
    cpu = {name: _stages(name, runs, lambda s: s.cpu_seconds) for name, runs in sides.items()}
    for name, runs in sides.items():
        wall[name]["whole build"] = median(_build_seconds(name, run) for run in runs)
        cpu[name]["whole build"] = sum(cpu[name].values())
    image = {name: _per_image(runs, lambda s: s.seconds) for name, runs in sides.items()}
    image_cpu = {name: _per_image(runs, lambda s: s.cpu_seconds) for name, runs in sides.items()}
    memory = {name: _memory(name, runs) for name, runs in sides.items()}
    ours = sides["hwflow"]
    engine = {
        f"engine, {threads}": median(run.facts["engine"][threads] for run in ours)
        for threads in ("one thread", "two threads")
    }
    compile_cpu = median(run.stages[REFERENCE_COMPILE][0].cpu_seconds for run in ours)

    def ratio(table: Mapping[str, Mapping[str, float]], row: str) -> float:
        return _short(table["stock"][row] / table["hwflow"][row])

    return {
        "ratios": {
            "build": ratio(wall, "whole build"),
            "build_cpu": ratio(cpu, "whole build"),
            "build_memory": ratio(memory, "whole build"),
            "csim_compile": ratio(wall, "compile"),
            "csim_compile_cpu": ratio(cpu, "compile"),
            "csim_run_one_process": ratio(image, RUNS[0]),
            "csim_run_one_process_cpu": ratio(image_cpu, RUNS[0]),
            "csim_run_two_processes": ratio(image, RUNS[1]),
            "engine_one_thread": _short(image["stock"][RUNS[0]] / engine["engine, one thread"]),
            "engine_two_threads": _short(image["stock"][RUNS[1]] / engine["engine, two threads"]),
            "csim_compile_cpu_fast_types": _short(compile_cpu / cpu["hwflow"]["compile"]),
            "csim_run_fast_types": _short(image["hwflow"][RUNS[3]] / image["hwflow"][RUNS[0]]),
        },
        "seconds": wall,
        "cpu_seconds": cpu,
        "memory_mb": memory,
        "image": image,
        "image_cpu": image_cpu,
        "engine": engine,
        "samples": {
            name: [round(_build_seconds(name, run), 1) for run in runs]
            for name, runs in sides.items()
        },
        "facts": {
            name: {fact: value for fact, value in runs[0].facts.items() if fact != "engine"}
            for name, runs in sides.items()
        },
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


# --- all networks ----------------------------------------------------------------------------


def published(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `results.json` holds: the least ratio of all networks, and each network's figures.

    Args:
        found: `summary` by network.
    """

    def least(*names: str) -> float:
        return min(network["ratios"][name] for network in found.values() for name in names)

    def by_side(part: str) -> dict[str, Any]:
        return {
            f"{family} {side}": _rounded(network[part][side])
            for family, network in found.items()
            for side in ("stock", "hwflow")
        }

    return {
        "build_vs_stock": least("build"),
        "build_cpu_vs_stock": least("build_cpu"),
        "build_memory_vs_stock": least("build_memory"),
        "csim_compile_vs_stock": least("csim_compile"),
        "csim_compile_cpu_vs_stock": least("csim_compile_cpu"),
        "csim_run_vs_stock": least("csim_run_one_process", "csim_run_two_processes"),
        "csim_run_cpu_vs_stock": least("csim_run_one_process_cpu"),
        "engine_vs_stock_csim": least("engine_one_thread", "engine_two_threads"),
        "csim_compile_cpu_fast_vs_reference_types": least("csim_compile_cpu_fast_types"),
        "csim_run_fast_vs_reference_types": least("csim_run_fast_types"),
        "vs_stock": {family: network["ratios"] for family, network in found.items()},
        "build_seconds": by_side("seconds"),
        "build_cpu_seconds": by_side("cpu_seconds"),
        "build_peak_memory_mb": by_side("memory_mb"),
        "build_samples_seconds": {
            f"{family} {side}": network["samples"][side]
            for family, network in found.items()
            for side in ("stock", "hwflow")
        },
        "csim_seconds_per_image": {
            name: _rounded(column | (found[family]["engine"] if side == "hwflow" else {}))
            for name, column in by_side("image").items()
            for family, side in [name.split()]
        },
        "csim_cpu_seconds_per_image": by_side("image_cpu"),
        "exactness": {
            f"{family} {side}": network["facts"][side]
            for family, network in found.items()
            for side in ("stock", "hwflow")
        },
    }


def _rounded(column: Mapping[str, float]) -> dict[str, float]:
    return {row: _short(value) for row, value in column.items()}


def _short(value: float) -> float:
    return float(f"{value:.3g}")
