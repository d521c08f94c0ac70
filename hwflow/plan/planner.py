"""The planner: folds, multipliers and memories for a device, for most speed or least resources."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwflow.errors import DesignError, DoesNotFitError, Fault
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.plan import cost, folding
from hwflow.plan.choosing import (
    LARGEST_EXACT,
    FloatArray,
    LayerOptions,
    Option,
    burden,
    choose,
    convolution_options,
)
from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.dataflow import Simulator
from hwflow.plan.device import Device, load_devices
from hwflow.plan.fifo_search import UNLIMITED_BEATS
from hwflow.plan.folding import Fold, Foldable
from hwflow.plan.lanes import multiplier_of
from hwflow.plan.loading import load_words
from hwflow.plan.mapping import Choices, foldable, map_graph
from hwflow.plan.process_schedule import LATENCIES, RESTART_CYCLES, period_cycles
from hwflow.plan.streams import Process, StreamGraph

DEFAULT_SHARE = 0.8
"""Of each resource that a plan may take: more is hard to place and route."""

_ROUNDS = 6
_MOST_MAPPED = 2_000  # combinations that are mapped for their full cost
_WORTHWHILE = 0.98  # of the interval: what a change must bring it below to be worth saying
_MARGIN_CYCLES = 24  # of processes without multipliers: their pipelines and restart


@dataclass(frozen=True, eq=False)
class Plan:
    """What the planner chose, and what it costs.

    Attributes:
        device: it is for.
        clock_period_ns: of the design.
        choices: for `map_graph`: folds, storages and multipliers by layer.
        graph: processes and streams.
        total: resources.
        per_layer: resources by layer.
        interval_cycles: from frame to frame: the longest period of a process.
        latency_cycles: from the first input beat to the last output beat of a frame.
        bottleneck: the layer with the longest period.
        binding: the resource of which the largest share is taken.
        advice: the change that would help most.
    """

    device: Device
    clock_period_ns: float
    choices: Choices
    graph: StreamGraph
    total: Resources
    per_layer: dict[str, Resources]
    interval_cycles: int
    latency_cycles: int
    bottleneck: str
    binding: str
    advice: str

    @property
    def frames_per_second(self) -> float:
        """At the design's clock."""
        return 1e9 / (self.clock_period_ns * self.interval_cycles)

    def to_json(self) -> dict[str, Any]:
        """`resources` and `latency`, as metrics have them, and what the planner says of them."""
        return {
            "device": self.device.name,
            "part": self.device.part,
            "resources": {
                "source": "estimate",
                **self.total.to_json(),
                "available": {kind: getattr(self.device, kind) for kind in KINDS},
                "fits": all(
                    getattr(self.total, kind) <= getattr(self.device, kind) for kind in KINDS
                ),
                "per_layer": {name: part.to_json() for name, part in self.per_layer.items()},
            },
            "latency": {
                "source": "simulation",
                "latency_cycles": self.latency_cycles,
                "initiation_interval_cycles": self.interval_cycles,
                "clock_period_ns": self.clock_period_ns,
                "frames_per_second": self.frames_per_second,
                "bottleneck": self.bottleneck,
                "load_cycles": load_words(self.graph),
            },
            "binding": self.binding,
            "advice": self.advice,
            "folds": {
                name: {
                    "simd": fold.simd,
                    "pe": fold.pe,
                    "taps": fold.taps,
                    "multiplier": self.choices.multipliers[name],
                    "storage": self.choices.storages[name],
                }
                for name, fold in self.choices.folds.items()
            },
        }


def plan(
    graph: IntegerGraph,
    choices: Choices,
    device: Device,
    *,
    clock_period_ns: float = 5.0,
    share: float = DEFAULT_SHARE,
    target_interval: int | None = None,
) -> Plan:
    """Chooses folds, multipliers and storages.

    Args:
        graph: the network.
        choices: what the design says; reuse factors and storages given by hand stay.
        device: to fit.
        clock_period_ns: for frames per second.
        share: of each resource that may be taken, above 0 and up to 1.
        target_interval: cycles a frame may take, at least resources; without it, the shortest
            interval that fits.

    Raises:
        DesignError: for illegal reuse factors, storages, shares or targets.
        DoesNotFitError: if nothing fits, with the nearest plans that do.
    """
    faults = []
    if not 0 < share <= 1:
        faults.append(Fault("", "share", f"must be above 0 and at most 1, not {share}"))
    if target_interval is not None and target_interval < 1:
        faults.append(Fault("", "target", f"must be at least one cycle, not {target_interval}"))
    if faults:
        raise DesignError(faults)
    may_load = can_load(device) and choices.uram_load_port
    planner = _Planner(graph, choices, device, share, may_load=may_load)
    found = planner.solve(target_interval)
    if may_load:  # the search is no proof: what it finds without the port may be the better plan
        plain = _Planner(graph, choices, device, share, may_load=False)
        other = plain.solve(target_interval)
        if other is not None and (found is None or planner.better(other, found, target_interval)):
            planner, found = plain, other
    if found is None:
        raise DoesNotFitError(planner.explain(target_interval, clock_period_ns))
    mapped, chosen, total = found
    interval, bottleneck = _slowest(mapped)
    shares = total.shares(device)
    binding = max(shares, key=lambda kind: shares[kind])
    simulator = Simulator(mapped)
    unlimited = {name: min(s.beats, UNLIMITED_BEATS) for name, s in mapped.streams.items()}
    return Plan(
        device,
        clock_period_ns,
        chosen,
        mapped,
        total,
        cost.layer_costs(mapped),
        interval,
        simulator.run(unlimited, frames=1).latency_cycles,
        bottleneck,
        binding,
        planner.advice(mapped, total, interval, bottleneck),
    )


def _slowest(mapped: StreamGraph) -> tuple[int, str]:
    """The interval that the streams can keep, and the layer that sets it."""
    periods = {process: period_cycles(process) for process in mapped.processes}
    slowest = max(periods, key=lambda process: periods[process])
    outside = [mapped.streams[name] for name in (*mapped.inputs, *mapped.outputs)]
    most = max(outside, key=lambda stream: stream.beats)
    if most.beats > periods[slowest]:
        return most.beats, most.tensor or most.name
    return periods[slowest], slowest.layer


def can_load(device: Device) -> bool:
    """Whether a device has UltraRAM that weights have to be loaded into."""
    return device.uram > 0 and not device.uram_initialisable


_Found = tuple[StreamGraph, Choices, Resources]


@dataclass(frozen=True, eq=False)
class _Layer:
    shape: Foldable
    folds: tuple[Fold, ...]
    storage: str
    multiplier: str
    by_hand: bool


class _Planner:
    def __init__(
        self,
        graph: IntegerGraph,
        choices: Choices,
        device: Device,
        share: float,
        *,
        may_load: bool,
    ) -> None:
        self.graph, self.choices, self.device, self.share = graph, choices, device, share
        self.may_load = may_load  # weights into UltraRAM where the design leaves their place open
        self.layers = self.read_layers()
        self.options = self.options_of(self.layers)
        self.prices = np.array(
            [1 / getattr(device, kind) if getattr(device, kind) else 1.0 for kind in KINDS]
        )
        self.overhead = np.zeros(len(KINDS))  # of what has no options, at the last probe
        self.eager = True  # for speed: a slower process elsewhere is no reason to give up

    def read_layers(self) -> list[_Layer]:
        faults: list[Fault] = []
        layers = []
        for operation in self.graph.operations:
            if not isinstance(operation, Conv2D):
                continue
            shape = foldable(self.graph, operation)
            said = self.choices.for_layer(operation.name)
            folds = shape.folds()
            if said.reuse_factor is not None:
                factor = said.reuse_factor
                if not self.choices.explicit(operation.name):
                    legal = shape.reuse_factors()
                    factor = min((rf for rf in legal if rf >= factor), default=max(legal))
                try:
                    folds = (folding.fold_for_reuse_factor(shape, factor),)
                except DesignError as error:
                    faults += error.faults
            multiplier = said.multiplier
            try:
                multiplier = multiplier_of(self.choices, operation, shape)
            except DesignError as error:
                faults += error.faults
            by_hand = said.reuse_factor is not None
            layers.append(_Layer(shape, folds, said.storage, multiplier, by_hand))
        if faults:
            raise DesignError(faults)
        return layers

    def options_of(self, layers: Sequence[_Layer]) -> list[LayerOptions]:
        latency, window_latency = (
            LATENCIES[kernel] + RESTART_CYCLES for kernel in ("matrix_vector", "parallel_window")
        )
        return [
            LayerOptions.of(
                layer.shape.name,
                convolution_options(
                    layer.shape,
                    latency,
                    window_latency,
                    layer.folds,
                    layer.storage,
                    layer.multiplier,
                    uram_initialisable=self.choices.uram_initialisable,
                    uram_load_port=self.may_load,
                ),
            )
            for layer in layers
        ]

    def budget(self, device: Device, scale: float = 1.0) -> FloatArray:
        return np.array([getattr(device, kind) * self.share * scale for kind in KINDS])

    # --- search ------------------------------------------------------------------------------

    def solve(self, target: int | None) -> _Found | None:
        """The best plan whose full cost fits."""
        self.eager = target is None
        if target is None:
            return self.fastest()
        found = self.probe(target)
        if found is None:  # the periods of options are upper bounds: the fastest may do
            self.eager = True
            fastest = self.fastest()
            if fastest is not None and _slowest(fastest[0])[0] <= target:
                return fastest
        return found

    def fastest(self) -> _Found | None:
        """The shortest interval that fits."""
        if not self.options:
            return self.probe(max(1, _MARGIN_CYCLES))
        periods = np.unique(np.concatenate([layer.periods for layer in self.options]))
        first = self.shortest(self.options, self.budget(self.device))
        if first is None:
            return None
        low = int(np.searchsorted(periods, first))  # shorter ones do not fit by engines alone
        high, step = low, 1
        best = self.probe(first)
        while best is None and high < len(periods) - 1:
            low, high = high + 1, min(high + step, len(periods) - 1)
            step *= 4
            best = self.probe(int(periods[high]))
        while best is not None and low < high:
            middle = (low + high) // 2
            found = self.probe(int(periods[middle]))
            if found is None:
                low = middle + 1
            else:
                best, high = found, middle
        if best is not None:
            actual, _ = _slowest(best[0])  # another process may be slower anyway
            found = self.probe(actual)
            if found is not None and self.better(found, best):
                best = found
        return self.refined(best, self.budget(self.device))

    def probe(self, interval: int) -> _Found | None:
        """A plan for an interval whose full cost fits, or None."""
        budget = self.budget(self.device)
        overhead = np.zeros(len(KINDS))
        for _ in range(_ROUNDS):
            options = self.pick(interval, budget - overhead)
            if options is None:
                return None
            mapped, chosen = self.map(options, interval)
            total = cost.total_cost(mapped)
            engines = np.sum([_vector(option.resources) for option in options], axis=0)
            self.overhead = _vector(total) - engines
            if np.all(_vector(total) <= budget):
                # processes without multipliers may be slower than wished, and no folds help that
                is_fast = _slowest(mapped)[0] <= interval
                return (mapped, chosen, total) if is_fast or self.eager else None
            # leave more room than was needed last
            overhead = np.maximum(overhead, self.overhead) * 1.01
        return None

    def refined(self, best: _Found | None, budget: FloatArray) -> _Found | None:
        """For few layers: the fastest of all combinations, each at its full cost.

        Until here the repacks between layers that fit badly were a lump; here every combination
        whose engines alone would fit has its own.
        """
        size = math.prod(len(layer.options) for layer in self.options)
        if not self.options or size > LARGEST_EXACT:
            return best
        totals, periods = np.zeros((1, len(KINDS))), np.zeros(1, np.int64)
        for layer in self.options:
            totals = (totals[:, None, :] + layer.uses[None, :, :]).reshape(-1, len(KINDS))
            periods = np.maximum(periods[:, None], layer.periods[None, :]).reshape(-1)
        fastest = _slowest(best[0])[0] if best is not None else int(periods.max()) + 1
        places = np.flatnonzero(np.all(totals <= budget, axis=1) & (periods < fastest))
        places = places[np.lexsort((burden(totals[places], self.prices), periods[places]))]
        shape = [len(layer.options) for layer in self.options]
        for place in places[:_MOST_MAPPED]:
            if int(periods[place]) >= fastest:
                break
            picks = np.unravel_index(int(place), shape)
            options = [
                layer.options[int(pick)] for layer, pick in zip(self.options, picks, strict=True)
            ]
            mapped, chosen = self.map(options, int(periods[place]))
            total = cost.total_cost(mapped)
            actual, _ = _slowest(mapped)
            if np.all(_vector(total) <= budget) and actual < fastest:
                best, fastest = (mapped, chosen, total), actual
        return best

    def better(self, first: _Found, second: _Found, target: int | None = None) -> bool:
        """Whether a plan is faster than another, or as fast and cheaper; beyond a target, speed
        does not count.
        """
        speeds = [max(_slowest(found[0])[0], target or 0) for found in (first, second)]
        if speeds[0] != speeds[1]:
            return speeds[0] < speeds[1]
        return bool(
            burden(_vector(first[2]), self.prices) < burden(_vector(second[2]), self.prices)
        )

    def pick(self, interval: int, room: FloatArray) -> list[Option] | None:
        return choose(self.options, interval, room, self.prices)

    def shortest(self, layers: Sequence[LayerOptions], room: FloatArray) -> int | None:
        """The shortest interval for which options fit: what fits stays as the interval grows."""
        if not layers:
            return 1
        least = max(int(layer.periods[0]) for layer in layers)
        candidates = np.unique(np.concatenate([layer.periods for layer in layers]))
        candidates = candidates[candidates >= least]
        low, high = 0, len(candidates)
        while low < high:
            middle = (low + high) // 2
            if choose(layers, int(candidates[middle]), room, self.prices) is None:
                low = middle + 1
            else:
                high = middle
        return int(candidates[low]) if low < len(candidates) else None

    def map(self, options: Sequence[Option], interval: int) -> tuple[StreamGraph, Choices]:
        named = list(zip((layer.name for layer in self.options), options, strict=True))
        chosen = dataclasses.replace(
            self.choices,
            folds={name: option.fold for name, option in named},
            storages={name: option.storage for name, option in named},
            multipliers={name: option.multiplier for name, option in named},
            interval_cycles=max(1, interval - _MARGIN_CYCLES),
            fastest=False,
        )
        mapped = map_graph(self.graph, dataclasses.replace(chosen, simulate_depths=False))
        return mapped, chosen

    # --- words -------------------------------------------------------------------------------

    def advice(self, mapped: StreamGraph, total: Resources, interval: int, bottleneck: str) -> str:
        """The change that would shorten the interval most."""
        by_hand = {layer.shape.name for layer in self.layers if layer.by_hand}
        if bottleneck in by_hand:
            return f"the reuse factor of {bottleneck} is given by hand: lower it or leave it out"
        gains = {}
        for place, kind in enumerate(KINDS):
            room = self.budget(self.device) - self.overhead
            room[place] += self.budget(self.device)[place]
            shorter = self.shortest(self.options, room)
            if shorter is not None and shorter < interval:
                gains[kind] = shorter
        names = {layer.name for layer in self.options}
        if bottleneck not in names:
            return (
                f"{bottleneck} has no multipliers to add: only more channels a beat, or fewer "
                f"pixels, make it faster"
            )
        loaded = self.with_load_port()
        if loaded is not None:
            shorter = self.shortest(loaded, self.budget(self.device) - self.overhead)
            if shorter is not None and shorter <= _WORTHWHILE * interval:
                return (
                    f"{bottleneck} is slowest: with weights loaded into UltraRAM "
                    f"(hardware.uram_load_port: true) a frame would take {shorter} cycles instead "
                    f"of {interval}"
                )
        if not gains or min(gains.values()) > _WORTHWHILE * interval:
            if any(_takes_whole_pixels(process) for process in mapped.of_layer(bottleneck)):
                return (
                    f"{bottleneck} takes a pixel of its input a cycle: only a smaller image or a "
                    f"faster clock makes it faster"
                )
            return f"{bottleneck} is folded as little as is legal: more of the device does not help"
        best = min(gains, key=lambda kind: gains[kind])
        return (
            f"{bottleneck} is slowest and {best} is short: with twice as much {best} a frame would "
            f"take {gains[best]} cycles instead of {interval}"
        )

    def explain(self, target: int | None, clock_period_ns: float) -> str:
        """Why nothing fits, and what is nearest."""

        def rate(cycles: int) -> str:
            return f"{1e9 / clock_period_ns / cycles:.1f} frames/s"

        wanted = f"in {target} cycles a frame ({rate(target)}) " if target else ""
        place = f"{self.share:.0%} of {self.device.name}"
        lines = [f"{self.graph.name} does not fit {place} {wanted}".strip()]
        nearest = []
        if target is not None:
            self.overhead = np.zeros(len(KINDS))
            slower = self.solve(None)
            least = max((int(layer.periods[0]) for layer in self.options), default=1)
            if slower is not None:
                cycles, _ = _slowest(slower[0])
                nearest.append(f"slower: {cycles} cycles a frame ({rate(cycles)}) on this device")
                least = min(least, cycles)
            if target < least:
                slow = max(self.options, key=lambda layer: layer.periods[0]).name
                lines.append(
                    f"layer {slow} needs {least} cycles however many multipliers it has: "
                    f"the target must be {least} or more"
                )
        loaded = self.with_load_port()
        room = self.budget(self.device) - self.overhead
        if loaded is not None and self.feasible(loaded, target, room):
            nearest.append("weights loaded into UltraRAM: hardware.uram_load_port: true")
        nearest += self.narrower(target)
        larger = self.larger(target)
        if larger is not None:
            nearest.append(f"larger part: {larger.name} ({larger.part})")
        split = self.split(target)
        if split > 1:
            nearest.append(f"split over {split} such devices")
        lines += nearest or ["nothing near it does either: use a smaller network"]
        return "; ".join(lines)

    def with_load_port(self) -> list[LayerOptions] | None:
        """The options that the load port would add, where it is possible and not allowed."""
        if self.may_load or self.choices.uram_load_port or not can_load(self.device):
            return None
        loaded = _Planner(self.graph, self.choices, self.device, self.share, may_load=True)
        return loaded.options

    def narrower(self, target: int | None) -> list[str]:
        room = self.budget(self.device) - self.overhead
        for width in (6, 5, 4, 3, 2):
            layers = [
                dataclasses.replace(
                    layer,
                    shape=dataclasses.replace(
                        layer.shape,
                        weight_width=min(width, layer.shape.weight_width),
                        input_width=min(width, layer.shape.input_width),
                        output_width=min(width, layer.shape.output_width),
                    ),
                )
                for layer in self.layers
            ]
            if all(layer == old for layer, old in zip(layers, self.layers, strict=True)):
                continue
            options = self.options_of(layers)
            if self.feasible(options, target, room):
                return [f"narrower: weights and activations of {width} bits"]
        return []

    def feasible(
        self, options: Sequence[LayerOptions], target: int | None, room: FloatArray
    ) -> bool:
        if target is None:
            return self.shortest(options, room) is not None
        return choose(options, target, room, self.prices) is not None

    def larger(self, target: int | None) -> Device | None:
        for device in sorted(load_devices().values(), key=lambda d: (d.lut, d.bram_18k)):
            if device.name != self.device.name and self.feasible(
                self.options, target, self.budget(device) - self.overhead
            ):
                return device
        return None

    def split(self, target: int | None) -> int:
        """Devices of this kind that together have what the network takes; 0 if none have."""
        for count in range(2, 17):
            room = self.budget(self.device, count) - self.overhead
            if self.feasible(self.options, target, room):
                return count
        return 0


def _takes_whole_pixels(process: Process) -> bool:
    """Whether a process walks its input a pixel a cycle."""
    settings = process.settings
    return process.kernel == "parallel_window" and settings["lanes"] == settings["in_channels"]


def _vector(resources: Resources) -> FloatArray:
    return np.array([getattr(resources, kind) for kind in KINDS], np.float64)


@functools.cache
def interval_of(frames_per_second: float, clock_period_ns: float) -> int:
    """Cycles a frame may take.

    Raises:
        DesignError: if the target is not positive, or beyond a frame a cycle.
    """
    if not frames_per_second > 0 or math.isinf(frames_per_second):
        raise DesignError(
            Fault("", "target", f"frames per second must be above 0, not {frames_per_second}")
        )
    cycles = int(1e9 / clock_period_ns / frames_per_second)
    if cycles < 1:
        raise DesignError(
            Fault(
                "",
                "target",
                f"{frames_per_second} frames per second are more than the clock's "
                f"{1e9 / clock_period_ns:.0f} cycles",
            )
        )
    return cycles
