"""From the integer graph to processes and streams."""

from __future__ import annotations

import pytest

from hwflow.errors import DesignError
from hwflow.hls import emit
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.plan.folding import Fold
from hwflow.plan.mapping import foldable, identifier
from hwflow.plan.streams import StreamGraph
from tests.support.plan_graphs import Builder, Layer, bypass, chain, dilated, fire, plan, units


def well_formed(graph: StreamGraph) -> None:
    """Every stream has one writer and one reader, and comes before it is read."""
    written = set(graph.inputs)
    read: list[str] = []
    for process in graph.processes:
        assert set(process.inputs) <= written, process.name
        assert not written & set(process.outputs)
        written |= set(process.outputs)
        read += process.inputs
    assert written == set(graph.streams)
    assert sorted([*read, *graph.outputs]) == sorted(graph.streams)
    names = [process.name for process in graph.processes]
    assert len(names) == len(set(names))
    for stream in graph.streams.values():
        assert stream.channels % stream.lanes == 0
        assert stream.depth >= 1


@pytest.mark.parametrize(
    "graph",
    [fire(), bypass(), chain(), dilated(), units()],
    ids=["fire", "bypass", "chain", "dilated", "units"],
)
@pytest.mark.parametrize("interval", [1, 500, 3_000, 10**6])
def test_streams_join_processes(graph: IntegerGraph, interval: int) -> None:
    mapped = plan(graph, interval)
    well_formed(mapped)
    tensors = {s.tensor for s in mapped.streams.values() if s.tensor}
    assert tensors <= set(graph.tensors)
    assert {mapped.streams[name].tensor for name in mapped.outputs} == set(graph.outputs)


def test_the_interval_is_kept_where_it_can_be() -> None:
    for interval in (2_000, 5_000, 20_000):
        mapped = plan(fire(), interval)
        assert max(process.cycles for process in mapped.processes) <= interval * 1.05


def test_one_tensor_read_twice_by_one_operation() -> None:
    build = Builder((4, 4, 2))
    one = build.requantize("image", "one")
    mapped = plan(build.build(build.add([one, one], "twice")))
    well_formed(mapped)
    (add,) = [p for p in mapped.processes if p.kernel == "add"]
    assert len(set(add.inputs)) == 2


def test_joins_take_any_number_of_inputs() -> None:
    build = Builder((3, 3, 4))
    parts = [build.requantize("image", f"part{index}") for index in range(5)]
    joined = build.concatenate([*parts, build.add(parts[1:], "sum")], "joined")
    mapped = plan(build.build(joined))
    well_formed(mapped)
    (add,) = [p for p in mapped.processes if p.kernel == "add"]
    (concatenate,) = [p for p in mapped.processes if p.kernel == "concatenate"]
    assert (len(add.inputs), len(concatenate.inputs)) == (4, 6)
    assert add.accumulator is not None
    assert add.accumulator.width == 8 + 2  # of four values of 8 bits


def test_choices_by_hand() -> None:
    mapped = plan(fire(), layers={"expand3x3": Layer(36, "bram"), "squeeze": Layer(4, "lut")})
    (three,) = [p for p in mapped.processes if p.name == "expand3x3"]
    assert three.cycles == 144 * 36
    assert three.memories[0].storage == "bram"
    (squeeze,) = [p for p in mapped.processes if p.name == "squeeze"]
    assert squeeze.memories[0].storage == "lutram"


def test_all_faults_at_once() -> None:
    with pytest.raises(DesignError) as caught:
        plan(fire(), layers={"expand3x3": Layer(35), "squeeze": Layer(5)})
    text = str(caught.value)
    assert "expand3x3" in text
    assert "squeeze" in text
    with pytest.raises(DesignError, match="UltraRAM of this device cannot be initialised"):
        plan(fire(), layers={"squeeze": Layer(storage="uram")})


def test_a_plan_overrides() -> None:
    mapped = plan(
        fire(),
        folds={"expand3x3": Fold(2, 4)},
        storages={"expand3x3": "bram"},
        multipliers={"expand3x3": "dsp"},
    )
    (process,) = [p for p in mapped.processes if p.name == "expand3x3"]
    assert (process.settings["simd"], process.settings["pe"]) == (2, 4)
    assert process.memories[0].storage == "bram"
    assert process.multiplier == "dsp"


def test_what_folds_depend_on_is_read_from_the_graph() -> None:
    graph = chain()
    layer = foldable(graph, graph.operation("conv1"))  # type: ignore[arg-type]
    assert (layer.pixels, layer.taps, layer.inputs, layer.filters) == (49, 9, 3, 8)
    assert layer.input_pixels == 14 * 14
    assert layer.buffer_pixels == 2 * 14 + 3 + 14
    assert layer.output_width == 8
    point = foldable(graph, graph.operation("pointwise"))  # type: ignore[arg-type]
    assert point.input_pixels == point.buffer_pixels == 0


def test_every_legal_reuse_factor_is_built_as_it_says() -> None:
    """Depthwise layers with a multiplier and grouped ones included: products, words and cycles."""
    build = Builder((5, 6, 12))
    now = build.convolution("image", "twice", 24, (3, 3), (2, 1), (1, 1, 1, 1), groups=12)
    now = build.convolution(now, "grouped", 18, (3, 3), padding=(1, 1, 1, 1), groups=3)
    graph = build.build(build.convolution(now, "pointwise", 8, groups=2))
    seen = 0
    for name in ("twice", "grouped", "pointwise"):
        operation = graph.operation(name)
        assert isinstance(operation, Conv2D)
        pixels = graph.tensors[name].shape[0] * graph.tensors[name].shape[1]
        for reuse_factor in foldable(graph, operation).reuse_factors():
            mapped = plan(graph, layers={name: Layer(reuse_factor)})
            (process,) = [p for p in mapped.processes if p.name == name]
            assert process.multipliers * reuse_factor == operation.weights.size
            assert process.memories[0].words == reuse_factor
            assert process.cycles == pixels * reuse_factor
            text = emit.process_text(process, mapped.streams, "vitis")
            assert text.weights is not None
            seen += 1
    # of layers of nine taps: one tap a cycle, and all
    assert seen == (6 + 6) + (10 + 10) + 9


def test_identifiers() -> None:
    assert identifier("fire2/expand 3x3") == "fire2_expand_3x3"
    assert identifier("3x3") == "layer_3x3"
