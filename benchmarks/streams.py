"""What all FIFOs of every shipped design hold, beside stock hls4ml's. Nothing here is timed.

Stock's rule (io_stream, without its FIFO optimiser, which needs a co-simulation): each layer's
result has a FIFO of a whole feature map. A convolution's holds sums, and its activation is a layer
of its own; padding in a convolution is a layer too, and what several layers read is cloned for
each. Widths are those of the integer graph, whose accumulators are proved to be the narrowest.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Options
from hwflow import flow
from hwflow.integer_graph import IntegerGraph

QUICK = ("ds_cnn_int8", "squeezenet_small")


def stock_bits(graph: IntegerGraph) -> int:
    """Bits of all of stock's FIFOs at their default depths."""
    readers = Counter(source for operation in graph.operations for source in operation.inputs)
    readers.update(graph.outputs)
    total = 0
    for operation in graph.operations:
        tensor = graph.tensors[operation.name]
        height, width, channels = tensor.shape
        size = height * width * channels * tensor.format.width
        copies = readers[operation.name]
        total += size * (1 + copies if copies > 1 else 1)
        padding = getattr(operation, "padding", (0, 0, 0, 0))
        if any(padding):
            read = graph.tensors[operation.inputs[0]]
            height, width, channels = read.shape
            top, bottom, left, right = padding
            padded = (height + top + bottom) * (width + left + right)
            total += padded * channels * read.format.width
    return total


def run(options: Options) -> Mapping[str, Any]:
    """Plans every shipped design as a build does; returns Mb by design, and how many times less."""
    paths = sorted((ROOT / "designs").glob("*.yaml"))
    table: dict[str, dict[str, float]] = {"stock_mb": {}, "hwflow_mb": {}, "times_less": {}}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            if options.quick and path.stem not in QUICK:
                continue
            print(f"  {path.stem}", file=sys.stderr, flush=True)
            ours = flow.planned_streams(path, Path(folder)).stream_bits
            stock = stock_bits(flow.integer_graph(path, Path(folder)))
            table["stock_mb"][path.stem] = round(stock / 1e6, 1)
            table["hwflow_mb"][path.stem] = round(ours / 1e6, 3)
            table["times_less"][path.stem] = round(stock / ours, 1)
    return {"stream_memory": table}
