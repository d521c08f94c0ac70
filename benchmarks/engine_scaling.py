"""How the engine's time and memory grow with a network's input, width and depth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine_networks import mobilenet
from benchmarks.measure import Options
from hwflow.simulate.fast import FastEngine

ROUNDS = 25

SWEEPS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "input_size": [(f"{size} px", {"size": size}) for size in (96, 128, 160, 192, 224, 256, 288)],
    "width": [(f"x{alpha}", {"alpha": alpha}) for alpha in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)],
    "depth": [(f"{repeats + 8} blocks", {"repeats": repeats}) for repeats in (1, 5, 9, 13, 17, 21)],
}
"""Variants of MobileNetV1 (224 px, x1.0, 13 blocks): one thing is changed at a time."""


def run(options: Options) -> dict[str, Any]:
    """Time and memory of each variant, and how near to proportional they are.

    Returns:
        `engine_scaling`: by sweep, see `linearity`; `engine_by_<sweep>`: a table of its variants.
    """
    figures: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for sweep, variants in SWEEPS.items():
        chosen = variants[:2] if options.quick else variants
        table = _measure(chosen, 2 if options.quick else ROUNDS)
        figures[f"engine_by_{sweep}"] = table
        summary[sweep] = linearity(table)
    if options.images is not None:
        illustrate(figures, options.images)
    return {"engine_scaling": summary, **figures}


def _measure(
    variants: list[tuple[str, dict[str, Any]]], rounds: int
) -> dict[str, dict[str, float]]:
    """The variants take turns, so that whatever else the machine does falls on all.

    Times are the processor's, which other programs hardly change; the engine has one thread.
    """
    random = np.random.default_rng(5)
    engines, images, table = {}, {}, {}
    for name, parameters in variants:
        graph = mobilenet(**parameters)
        engines[name] = FastEngine(graph, 1)
        images[name] = random.integers(0, 256, (1, *graph.tensors["x"].shape)).astype(np.uint8)
        table[name] = {
            "million_macs": round(graph.macs / 1e6, 1),
            "arena_mb": round(engines[name].arena_bytes / 1e6, 3),
            "weights_mb": round(graph.parameters / 1e6, 3),
        }
    best = dict.fromkeys(engines, np.inf)
    for _ in range(rounds + 1):
        for name, engine in engines.items():
            start = time.thread_time()
            engine.predict({"x": images[name]})
            best[name] = min(best[name], time.thread_time() - start)
    for name, row in table.items():
        row["milliseconds"] = float(f"{1e3 * best[name]:.4g}")
        row["gmacs_per_second"] = round(row["million_macs"] / row["milliseconds"], 1)
    return table


def linearity(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """How near time and memory are to straight lines over MACs.

    Args:
        table: `million_macs`, `milliseconds`, `arena_mb` and `weights_mb` of each variant.

    Returns:
        `time_exponent`: of the power law that fits the times best; `time_explained` and
        `memory_explained`: the share of the variance (R^2) that the best straight line explains.
    """
    rows = list(table.values())
    macs = np.array([row["million_macs"] for row in rows])
    times = np.array([row["milliseconds"] for row in rows])
    memory = np.array([row["arena_mb"] + row["weights_mb"] for row in rows])
    return {
        "time_exponent": round(float(np.polyfit(np.log(macs), np.log(times), 1)[0]), 3),
        "time_explained": _explained(macs, times),
        "memory_explained": _explained(macs, memory),
    }


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    return round(float(1 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2)), 4)


def illustrate(results: Mapping[str, Any], folder: Path) -> None:
    """Draws the sweeps into `engine_scaling.svg` of a folder.

    Args:
        results: tables by sweep, as `run` returns them.
        folder: is made if it is not there.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "hwflow"  # the same figures, the same file
    from matplotlib import pyplot

    figure, (time_axes, memory_axes) = pyplot.subplots(1, 2, figsize=(10, 4))
    for sweep, marker in zip(SWEEPS, "osd", strict=True):
        rows = list(results[f"engine_by_{sweep}"].values())
        macs = np.array([row["million_macs"] for row in rows])
        times = [row["milliseconds"] for row in rows]
        memory = [row["arena_mb"] + row["weights_mb"] for row in rows]
        label = sweep.replace("_", " ")
        (points,) = time_axes.plot(macs, times, marker, label=label)
        line = np.polyval(np.polyfit(macs, times, 1), macs)
        time_axes.plot(macs, line, linewidth=1, color=points.get_color())
        memory_axes.plot(macs, memory, f"{marker}-", linewidth=1, label=label)
    for axes, title in ((time_axes, "ms an image, one thread"), (memory_axes, "MB, with weights")):
        axes.set_xlabel("million MACs an image")
        axes.set_ylabel(title)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "engine_scaling.svg", metadata={"Date": None})
    pyplot.close(figure)
