"""The engine against the C-simulation of stock hls4ml, on the same network and images.

The engine's images are timed before stock's run and after it, on one thread, one image at a time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.build import FULL, QUICK
from benchmarks.measure import Options, run_worker
from benchmarks.network import IMAGES
from hwflow.integer_graph import IntegerGraph
from hwflow.keras_models import load_keras
from hwflow.quantize.lower import lower
from hwflow.simulate.fast import FastEngine
from hwflow.simulate.verify import quantized_input

ROUNDS = 10


def run(options: Options) -> dict[str, Any]:
    """Seconds an image of both, and their ratio, stock's by the engine's.

    Raises:
        ToolError: if stock hls4ml fails.
    """
    size, classes = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run_worker("benchmarks.network", [folder, str(size), str(classes)], folder / "network.txt")
        graph = lower(load_keras(folder / "quantized.h5"), "squeezenet_benchmark")
        images = np.load(folder / "images.npy")
        seconds = _engine_seconds(graph, images)
        given: list[str | Path] = [folder / "quantized.h5", folder / "images.npy", folder / "stock"]
        stock = run_worker("benchmarks.stock", [*given, "0"], folder / "stock.txt")
        seconds += _engine_seconds(graph, images)
    stock_seconds = stock.stages["predict"][0].seconds / IMAGES
    ours = float(np.median(seconds))
    return {
        "engine_vs_stock_csim": float(f"{stock_seconds / ours:.4g}"),
        "engine_seconds_per_image": {
            "stock C-simulation": float(f"{stock_seconds:.4g}"),
            "engine, one thread": float(f"{ours:.4g}"),
            "million MACs an image": round(graph.macs / 1e6, 1),
        },
    }


def _engine_seconds(graph: IntegerGraph, images: np.ndarray) -> list[float]:
    """Of every image in every round but the first, which warms up."""
    (name,) = graph.inputs
    raw = quantized_input(graph, images)
    engine = FastEngine(graph, 1)
    seconds = []
    for _ in range(ROUNDS + 1):
        for image in raw:
            start = time.perf_counter()
            engine.predict({name: image[None]})
            seconds.append(time.perf_counter() - start)
    return seconds[len(raw) :]
