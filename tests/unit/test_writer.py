"""The limits that are checked before a project is written."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.hls import writer
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input, Requantize
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.streams import StreamGraph
from hwflow.sections import LayerHardware


def small_graph() -> StreamGraph:
    weights = np.ones((3, 3, 4, 8), np.int64)
    eight = FixedPoint(8, 4)
    graph = IntegerGraph.build(
        "toy",
        [
            Input("image", (), (6, 6, 4), eight),
            Conv2D("conv", ("image",), weights, np.zeros(8, np.int64), eight),
            Requantize("relu", ("conv",), FixedPoint(8, 4, False), 8),
        ],
        ["relu"],
    )
    return map_graph(graph, Choices(for_layer=lambda name: LayerHardware(None, "auto")))


def test_a_legal_plan_passes() -> None:
    writer.check(small_graph())


def test_every_excess_is_told_at_once_with_its_source() -> None:
    graph = small_graph()
    streams = {
        name: dataclasses.replace(stream, lanes=1024, channels=1024)
        for name, stream in graph.streams.items()
    }
    processes = tuple(
        dataclasses.replace(process, multipliers=8192) if process.multipliers else process
        for process in graph.processes
    )
    excessive = dataclasses.replace(graph, streams=streams, processes=processes)
    with pytest.raises(DesignError) as caught:
        writer.check(excessive)
    text = str(caught.value)
    assert len(caught.value.faults) >= len(streams) + 2
    assert "1024 x 8 bits must not exceed 4096 bits" in text
    assert "UG1399" in text
    assert "layer conv" in text


def test_the_scripts_know_part_clock_and_sources() -> None:
    files = writer.shell_files(small_graph())
    assert "#pragma HLS DATAFLOW" in files["firmware/toy.cpp"]
    assert "hls::stream<hwflow::beat<ap_uint<8>" in files["firmware/toy.h"]
