"""The emitted kernels read and write in the order that their schedules say."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from hwflow.hls import emit
from hwflow.plan.process_schedule import process_schedule
from hwflow.plan.streams import StreamGraph
from tests.support.kernel_harness import compile_library
from tests.support.plan_graphs import chain, dilated, enlarged, fire, headed, plan, units

LOGGING_STREAM = """
#define HWFLOW_SIMULATION_HLS_STREAM_H_
#include <vector>
std::vector<int> events;
namespace hls {
template <typename T>
class stream {
public:
    explicit stream(int index) : index_(index) {}
    T read() { events.push_back(index_); return T(); }
    void write(const T&) { events.push_back(index_); }
private:
    int index_;
};
}
#include "depthwise.h"
#include "frame.h"
#include "heads.h"
#include "joins.h"
#include "matrix_vector.h"
#include "parallel_window.h"
#include "pooling.h"
#include "requantize.h"
#include "selection.h"
#include "sliding_window.h"
#include "upsampling.h"
"""


def source_of(graph: StreamGraph, number: int) -> str:
    """Functions `run<number>_<process>` that log which of its streams a process moves."""
    text = ""
    for index, process in enumerate(graph.processes):
        made = emit.process_text(process, graph.streams, "vitis")
        names = [*process.inputs, *process.outputs]
        declared = "".join(
            f"hls::stream<{emit.beat_type(graph.streams[name])} > s{place}({place}); "
            for place, name in enumerate(names)
        )
        arguments = ", ".join(f"s{place}" for place in range(len(names)))
        text += (
            f"namespace n{number}_{index} {{\n{made.weights or ''}\n{made.config}\n"
            f"{made.function}}}\n"
            f'extern "C" long run{number}_{index}(const int** found) {{\n'
            f"    events.clear(); {declared}\n"
            f"    n{number}_{index}::{process.name}({arguments});\n"
            "    *found = events.data(); return long(events.size());\n}\n"
        )
    return text


def test_kernels_move_beats_when_their_schedules_say(tmp_path: Path) -> None:
    graphs = [plan(fire(5)), plan(chain(9), 200), plan(enlarged(3), 50), plan(headed())]
    graphs += [plan(chain(9), 1), plan(fire(5), 1), plan(units(5), 1)]
    graphs += [plan(dilated()), plan(dilated(), 1)]
    source = LOGGING_STREAM + "".join(source_of(graph, n) for n, graph in enumerate(graphs))
    library = compile_library(source, tmp_path, ("-O0",))
    seen, spread = set(), set()
    for number, graph in enumerate(graphs):
        for index, process in enumerate(graph.processes):
            seen.add(process.kernel)
            if "dilation_height" in process.settings:
                spread.add(process.kernel)
            run = library[f"run{number}_{index}"]
            run.restype = ctypes.c_long
            found = ctypes.POINTER(ctypes.c_int)()
            count = run(ctypes.byref(found))
            events = np.ctypeslib.as_array(found, (count,))
            schedule = process_schedule(process)
            ticks = np.empty(count, np.int64)
            writes = [times - schedule.latency for times in schedule.writes]
            for place, times in enumerate([*schedule.reads, *writes]):
                assert np.count_nonzero(events == place) == times.size, process.name
                ticks[events == place] = times
            # within an iteration the order is the kernel's own
            assert np.all(np.diff(ticks) >= 0), f"{process.name} ({process.kernel})"
    assert spread == {"sliding_window", "parallel_window"}
    assert {
        "frame",
        "upsample_nearest",
        "upsample_bilinear",
        "top_k",
        "softmax",
        "concatenate",
    } <= seen
