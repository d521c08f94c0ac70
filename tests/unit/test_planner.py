"""The planner: against exhaustive search, by hand, targets, and what it says when nothing fits."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping

import numpy as np
import pytest

from hwflow.errors import DesignError, DoesNotFitError
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.plan import cost, planner
from hwflow.plan.choosing import LayerOptions, Option, choose, undominated
from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.dataflow import Simulator
from hwflow.plan.device import Device, find_device
from hwflow.plan.fifo_search import sized
from hwflow.plan.folding import Fold
from hwflow.plan.mapping import Choices, foldable, map_graph
from hwflow.plan.planner import interval_of, plan
from hwflow.plan.search import slowest
from hwflow.plan.steering import Goal, for_devices
from tests.support.plan_graphs import Builder, Layer, bypass, chain, fire

ZCU102 = find_device("zcu102")


def choices(layers: Mapping[str, Layer] | None = None) -> Choices:
    given = layers or {}
    return Choices(
        lambda name: given.get(name, Layer()),
        explicit=lambda name: name in given and given[name].reuse_factor is not None,
    )


def device(**fields: int) -> Device:
    """A small part."""
    return dataclasses.replace(ZCU102, name="small", **fields)


def two_layers() -> IntegerGraph:
    build = Builder((6, 6, 4))
    one = build.convolution("image", "one", 4)
    return build.build(build.convolution(one, "two", 6))


def windowed() -> IntegerGraph:
    build = Builder((7, 6, 2))
    one = build.convolution("image", "one", 4, (3, 3), (2, 2), (0, 1, 1, 1))
    return build.build(build.convolution(one, "two", 4, (3, 3), padding=(1, 1, 1, 1), groups=4))


def exhaustive(graph: IntegerGraph, part: Device, share: float) -> int | None:
    """The shortest interval over every fold, multiplier and storage of every layer."""
    convolutions = [op for op in graph.operations if isinstance(op, Conv2D)]
    folds = [foldable(graph, op).folds() for op in convolutions]
    names = [op.name for op in convolutions]
    best = None
    for chosen in itertools.product(*folds):
        for multipliers in itertools.product(("lut", "dsp"), repeat=len(names)):
            for storages in itertools.product(("lut", "bram"), repeat=len(names)):
                mapped = map_graph(
                    graph,
                    dataclasses.replace(
                        choices(),
                        folds=dict(zip(names, chosen, strict=True)),
                        multipliers=dict(zip(names, multipliers, strict=True)),
                        storages=dict(zip(names, storages, strict=True)),
                    ),
                )
                total = cost.total_cost(mapped)
                if all(getattr(total, k) <= share * getattr(part, k) for k in KINDS):
                    interval, _ = slowest(mapped)
                    best = interval if best is None else min(best, interval)
    return best


@pytest.mark.parametrize(
    "part",
    [
        device(lut=3_000),
        device(lut=2_200, dsp=12),
        device(lut=2_200, dsp=40),
        device(lut=4_000, bram_18k=4),
        device(lut=6_000, dsp=0),
    ],
    ids=["lut", "few dsp", "some dsp", "few bram", "no dsp"],
)
def test_as_good_as_exhaustive_search(part: Device) -> None:
    graph = two_layers()
    best = exhaustive(graph, part, 0.8)
    if best is None:
        with pytest.raises(DoesNotFitError):
            plan(graph, choices(), part, share=0.8)
        return
    assert plan(graph, choices(), part, share=0.8).interval_cycles == best


@pytest.mark.parametrize(
    "part",
    [device(lut=2_600), device(lut=3_300, dsp=30), device(lut=4_000, dsp=0), device()],
    ids=["few lut", "some dsp", "no dsp", "all"],
)
def test_windows_as_good_as_exhaustive_search(part: Device) -> None:
    best = exhaustive(windowed(), part, 0.8)
    assert best is not None
    made = plan(windowed(), choices(), part)
    assert made.interval_cycles == best
    parallel = [fold.taps for fold in made.choices.folds.values()]
    assert 9 in parallel


def test_a_layer_takes_a_pixel_a_cycle_where_that_is_wanted() -> None:
    build = Builder((12, 12, 3))
    now = build.convolution("image", "conv", 8, (3, 3), padding=(1, 1, 1, 1))
    graph = build.build(build.max_pool(now, "pool", 3, 2))
    made = plan(graph, choices(), ZCU102)
    assert {p.kernel for p in made.graph.processes} >= {"parallel_window"}
    assert made.bottleneck == "conv"
    assert "conv takes a pixel of its input a cycle" in made.advice
    assert made.interval_cycles < 144 + 13 + 20  # pixels, those beyond the border, the pipeline
    settings = {p.name: p.settings for p in made.graph.processes}
    assert settings["pool"]["parallel"] == 9
    assert (settings["conv"]["taps"], settings["conv"]["simd"]) == (1, 27)
    slow = plan(graph, choices(), ZCU102, target_interval=20_000)
    assert "parallel_window" not in {p.kernel for p in slow.graph.processes}


@pytest.mark.parametrize("graph", [fire(), bypass(), chain()], ids=["fire", "bypass", "chain"])
def test_plans_fit_and_keep_their_interval_when_simulated(graph: IntegerGraph) -> None:
    for part in (device(lut=12_000, dsp=60), ZCU102):
        made = plan(graph, choices(), part)
        assert all(getattr(made.total, k) <= 0.8 * getattr(part, k) for k in KINDS)
        assert sum(made.per_layer.values(), Resources()) == made.total
        streams = sized(made.graph)
        assert Simulator(streams).run().interval_cycles == made.interval_cycles
        again = map_graph(graph, made.choices)
        assert cost.total_cost(again) == made.total


def test_more_of_a_resource_never_slows() -> None:
    intervals = [
        plan(fire(), choices(), device(lut=lut, dsp=0)).interval_cycles
        for lut in (4_500, 6_500, 8_000, 12_000, 200_000)
    ]
    assert intervals == sorted(intervals, reverse=True)
    assert intervals[0] > intervals[-1]


def test_a_target_is_reached_with_less() -> None:
    fastest = plan(fire(), choices(), ZCU102)
    relaxed = plan(fire(), choices(), ZCU102, target_interval=4 * fastest.interval_cycles)
    assert relaxed.interval_cycles <= 4 * fastest.interval_cycles
    assert relaxed.total.lut < fastest.total.lut


def test_reuse_factors_by_hand_stay() -> None:
    made = plan(fire(), choices({"expand3x3": Layer(288, "bram")}), ZCU102)
    (process,) = [p for p in made.graph.processes if p.name == "expand3x3"]
    assert process.cycles == 144 * 288
    assert made.choices.storages["expand3x3"] == "bram"
    assert made.bottleneck == "expand3x3"
    assert "by hand" in made.advice
    with pytest.raises(DesignError, match="expand3x3") as caught:
        plan(fire(), choices({"expand3x3": Layer(35), "squeeze": Layer(5)}), ZCU102)
    assert "squeeze" in str(caught.value)


def test_impossible_targets_say_what_is_nearest() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        plan(fire(), choices(), ZCU102, target_interval=10)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    assert "however many multipliers" in text
    assert "slower:" in text
    with pytest.raises(DoesNotFitError, match="larger part: "):
        plan(fire(), choices(), device(lut=1_500))
    with pytest.raises(DoesNotFitError, match=r"split over \d+ such devices"):
        plan(fire(), choices(), device(lut=4_000, dsp=10), target_interval=1_500)


def test_two_products_share_a_dsp_where_dsps_are_scarce() -> None:
    room = device(lut=5_000, dsp=30)
    made = plan(fire(), choices(), room)
    assert "dsp_pair" in made.choices.multipliers.values()
    halved = {n: "dsp" if m == "dsp_pair" else m for n, m in made.choices.multipliers.items()}
    again = map_graph(fire(), dataclasses.replace(made.choices, multipliers=halved))
    assert cost.total_cost(again).dsp > made.total.dsp


def test_pairs_that_no_dsp_holds() -> None:
    given = {"squeeze": Layer(multiplier="dsp_pair")}
    assert plan(fire(), choices(given), ZCU102).choices.multipliers["squeeze"] == "dsp_pair"
    for make in (plan, lambda graph, said, device: map_graph(graph, said)):
        with pytest.raises(DesignError, match="must not be 'dsp_pair' for layer 'depthwise': each"):
            make(chain(), choices({"depthwise": Layer(multiplier="dsp_pair")}), ZCU102)


def test_bad_wishes() -> None:
    with pytest.raises(DesignError, match="share") as caught:
        plan(fire(), choices(), ZCU102, share=1.5, target_interval=0)
    assert "target" in str(caught.value)
    with pytest.raises(DesignError, match="above 0"):
        interval_of(0, 5)
    with pytest.raises(DesignError, match="more than the clock"):
        interval_of(1e9, 5)
    assert interval_of(1500, 5) == 133_333


def test_the_result_is_json_of_the_promised_form() -> None:
    made = plan(chain(), choices(), ZCU102, clock_period_ns=4)
    found = json.loads(json.dumps(made.to_json()))
    assert set(found["resources"]) == {
        *("source", "lut", "ff", "dsp", "bram_18k", "uram", "available", "fits", "per_layer")
    }
    assert set(found["latency"]) == {
        *("source", "latency_cycles", "initiation_interval_cycles", "clock_period_ns"),
        *("frames_per_second", "bottleneck", "load_cycles"),
    }
    assert found["latency"]["load_cycles"] == 0
    assert found["resources"]["fits"] is True
    assert found["latency"]["frames_per_second"] == 1e9 / 4 / made.interval_cycles
    assert found["binding"] in KINDS
    assert found["advice"]


def test_for_devices_names_those_that_fail() -> None:
    found = for_devices(fire(), choices(), [ZCU102, device(lut=1_000)], Goal(), 5.0)
    assert isinstance(found["zcu102"], planner.Plan)
    assert "does not fit" in str(found["small"])


def test_many_layers_are_chosen_by_prices() -> None:
    """The best total of many equal layers is known: as many as possible take the scarce kind."""
    options = [
        Option(Fold(1, 1), "lut", "lut", 10, Resources(lut=40)),
        Option(Fold(1, 1), "dsp", "lut", 10, Resources(lut=10, dsp=1)),
    ]
    layers = [LayerOptions.of(f"layer{i}", options) for i in range(40)]
    prices = np.array([1 / 1000, 0, 1 / 10, 1, 1])
    for lut, dsp, fits in ((1600, 0, True), (1000, 20, True), (999, 20, False), (400, 40, True)):
        made = choose(layers, 10, np.array([lut, 0, dsp, 0, 0], float), prices)
        assert (made is not None) == fits
        if made is not None:
            assert sum(o.resources.lut for o in made) <= lut
            assert sum(o.resources.dsp for o in made) <= dsp
    assert choose(layers, 9, np.full(5, 1e9), prices) is None


def test_undominated() -> None:
    uses = np.array([[2.0, 1], [1, 2], [2, 2], [1, 2], [3, 0]])
    assert sorted(uses[undominated(uses)].tolist()) == [[1, 2], [2, 1], [3, 0]]


def test_costs_follow_the_rules_of_reports() -> None:
    assert cost.multiplier(8, 8) == Resources(lut=40)
    assert cost.multiplier(8, 8, "dsp") == Resources(dsp=1)
    assert cost.multiplier(16, 8) == Resources(dsp=1)
    assert cost.multiplier(8, 4) == Resources(lut=5)
    assert cost.multiplier(32, 24) == Resources(dsp=2)
    assert cost.memory(1024, 32, "bram").bram_18k == 2
    assert cost.memory(128, 32, "lutram").lut == 64
    assert cost.memory(4096, 72, "uram").uram == 1
    assert cost.requantization(16, 10).lut == 58


# --- weights loaded into UltraRAM -----------------------------------------------------------------

NARROW = {"lut": 4_000, "bram_18k": 4}


def heavy(filters: int = 64) -> IntegerGraph:
    """Two layers whose weights need more block RAMs than a small part has."""
    build = Builder((4, 4, 64))
    one = build.convolution("image", "one", filters, (3, 3), padding=(1, 1, 1, 1))
    return build.build(build.convolution(one, "two", 64))


def allowed(layers: Mapping[str, Layer] | None = None) -> Choices:
    return dataclasses.replace(choices(layers), uram_load_port=True)


def test_the_port_lets_a_network_fit_that_does_not_without() -> None:
    part = device(uram=8, **NARROW)
    with pytest.raises(DoesNotFitError, match=r"loaded into UltraRAM: hardware.uram_load_port: tr"):
        plan(heavy(), choices(), part)
    made = plan(heavy(), allowed(), part)
    assert 0 < made.total.uram <= 0.8 * 8
    assert made.total.bram_18k <= 0.8 * 4
    loaded = [process for process in made.graph.processes if process.is_loaded]
    assert loaded
    found = made.to_json()
    assert found["resources"]["fits"] is True
    assert found["resources"]["per_layer"]["one"]["uram"] > 0
    words = sum(
        process.memories[0].words * -(-process.memories[0].width_bits // 64) for process in loaded
    )
    assert found["latency"]["load_cycles"] == words > 0


def test_where_the_port_is_not_enough_the_widest_that_fits_with_it_is_named() -> None:
    part = device(uram=8, lut=1_800, bram_18k=2)
    with pytest.raises(DoesNotFitError) as caught:
        plan(heavy(), choices(), part)
    assert "weights loaded into UltraRAM" not in str(caught.value)
    assert "weights and activations of 4 bits with hardware.uram_load_port" in str(caught.value)
    with pytest.raises(DoesNotFitError):
        plan(heavy(), allowed(), part)
    with pytest.raises(DoesNotFitError, match="weights loaded into UltraRAM") as caught:
        plan(heavy(), choices(), device(uram=8, lut=2_000, bram_18k=4))
    assert "bits with hardware" not in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"bram_18k": 64}, {"lut": 6_000, "dsp": 40}])
@pytest.mark.parametrize("target", [None, 40_000])
@pytest.mark.parametrize("graph", [heavy(), chain(), fire()], ids=["heavy", "chain", "fire"])
def test_a_plan_with_the_port_is_never_worse(
    graph: IntegerGraph, target: int | None, fields: dict[str, int]
) -> None:
    part = device(uram=12, **fields)
    plain = plan(graph, choices(), part, target_interval=target)
    made = plan(graph, allowed(), part, target_interval=target)
    if target is None:
        assert made.interval_cycles <= plain.interval_cycles
    else:
        assert max(made.interval_cycles, plain.interval_cycles) <= target
    if target is not None or made.interval_cycles == plain.interval_cycles:
        weight = sum(share**2 for share in made.total.shares(part).values())
        assert weight <= sum(share**2 for share in plain.total.shares(part).values())


def test_the_advice_names_the_port_where_idle_ultraram_would_help() -> None:
    part = device(uram=40, lut=12_000, dsp=1_000, bram_18k=24)
    plain = plan(heavy(), choices(), part)
    found = re.search(r"uram_load_port: true\) a frame would take (\d+) cycles", plain.advice)
    assert found is not None, plain.advice
    assert int(found[1]) < plain.interval_cycles
    made = plan(heavy(), allowed(), part)
    assert made.interval_cycles < plain.interval_cycles
    assert "uram_load_port" not in made.advice
    without = plan(heavy(), choices(), dataclasses.replace(part, uram=0))
    assert "uram_load_port" not in without.advice


def test_the_port_changes_nothing_where_there_is_no_ultraram_or_it_can_be_initialised() -> None:
    for part in (device(), device(uram=8, uram_initialisable=True)):
        said = dataclasses.replace(choices(), uram_initialisable=part.uram_initialisable)
        plain = plan(heavy(), said, part)
        made = plan(heavy(), dataclasses.replace(said, uram_load_port=True), part)
        assert made.to_json() == plain.to_json()
        assert made.to_json()["latency"]["load_cycles"] == 0


def test_weights_put_into_ultraram_by_hand() -> None:
    part = device(uram=64)
    made = plan(fire(), allowed({"expand3x3": Layer(storage="uram")}), part)
    assert made.choices.storages["expand3x3"] == "uram"
    assert made.total.uram >= 1
    with pytest.raises(DesignError, match=r"'expand3x3'.*hardware\.uram_load_port: true"):
        plan(fire(), choices({"expand3x3": Layer(storage="uram")}), part)


def test_loaded_rows_are_counted_in_whole_integers() -> None:
    """Nine weights of 8 bits are 72 bits, an UltraRAM's width; ten are two of them wide."""
    assert cost.memory(4097, 72, "uram").uram == 2
    mapped = map_graph(fire(), dataclasses.replace(allowed(), storages={"expand3x3": "uram"}))
    (process,) = (p for p in mapped.processes if p.is_loaded)
    made = cost.process_cost(process, mapped.streams)
    held = process.memories[0]
    assert made.uram == -(-held.words // 4096) * -(-held.width_bits // 72)
    plain = map_graph(fire(), dataclasses.replace(choices(), storages={"expand3x3": "bram"}))
    (other,) = (p for p in plain.processes if p.name == process.name)
    assert made.lut > cost.process_cost(other, plain.streams).lut  # what loads it
