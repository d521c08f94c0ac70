"""The search for a plan: options of layers, and the intervals for which some of them fit."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwflow.errors import DesignError, Fault
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
    layer_options,
)
from hwflow.plan.cost import KINDS, NOTHING, Resources
from hwflow.plan.device import Device
from hwflow.plan.folding import Fold, Foldable
from hwflow.plan.lanes import multiplier_of
from hwflow.plan.mapping import Choices, foldable, map_graph
from hwflow.plan.process_schedule import LATENCIES, RESTART_CYCLES, period_cycles
from hwflow.plan.streams import StreamGraph

_ROUNDS = 10
_ROOM = 0.002  # of what has no options: left beyond the last count, more from round to round
_MOST_MAPPED = 2_000  # combinations that are mapped for their full cost
_MARGIN_CYCLES = 24  # of processes without multipliers: their pipelines and restart


def slowest(mapped: StreamGraph) -> tuple[int, str]:
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


@dataclass(frozen=True, eq=False)
class Found:
    """A plan.

    Attributes:
        streams: of it.
        choices: that lead to them.
        total: what it takes.
        overhead: of that, what the options do not have, by kind of resource, shape `(5,)`:
            processes without multipliers, repacks, FIFOs.
    """

    streams: StreamGraph
    choices: Choices
    total: Resources
    overhead: FloatArray

    @functools.cached_property
    def interval(self) -> int:
        """That its streams can keep."""
        return slowest(self.streams)[0]


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution, and what is open in it.

    Attributes:
        shape: what its folds depend on.
        folds: to consider.
        storage: of its weights, or `auto`.
        multiplier: that makes its products, or `auto`.
        by_hand: whether its reuse factor was given.
    """

    shape: Foldable
    folds: tuple[Fold, ...]
    storage: str
    multiplier: str
    by_hand: bool


class Search:
    """The choices for a network on a device.

    Args:
        graph: the network.
        choices: what the design says.
        device: to fit.
        share: of each of its resources that may be taken.
        reserve: of that, what is kept for FIFOs that are deeper than the planner counts.
        may_load: whether weights may be loaded into UltraRAM where the design leaves their place
            open.

    Raises:
        DesignError: for illegal reuse factors, storages and multipliers, all of them at once.
    """

    def __init__(
        self,
        graph: IntegerGraph,
        choices: Choices,
        device: Device,
        share: float,
        reserve: Resources = NOTHING,
        *,
        may_load: bool,
    ) -> None:
        self.graph, self.choices, self.device = graph, choices, device
        self.share, self.reserve, self.may_load = share, reserve, may_load
        self.layers = self.read_layers()
        self.options = self.options_of(self.layers, may_load)
        self.prices = np.array(
            [1 / getattr(device, kind) if getattr(device, kind) else 1.0 for kind in KINDS]
        )
        self.overhead = np.zeros(len(KINDS))  # of what has no options, at the last probe
        self.found_overhead: FloatArray | None = None  # of the last plan that was found
        self.eager = True  # for speed: a slower process elsewhere is no reason to give up

    def read_layers(self) -> list[Layer]:
        """The convolutions of the network."""
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
            layers.append(Layer(shape, folds, said.storage, multiplier, by_hand))
        if faults:
            raise DesignError(faults)
        return layers

    def options_of(self, layers: Sequence[Layer], may_load: bool) -> list[LayerOptions]:
        """Every way to build each of some layers, with weights loaded into UltraRAM or without."""
        latency, window_latency = (
            LATENCIES[kernel] + RESTART_CYCLES for kernel in ("matrix_vector", "parallel_window")
        )
        return [
            dataclasses.replace(  # equal layers have their options in common
                layer_options(
                    dataclasses.replace(layer.shape, name=""),
                    latency,
                    window_latency,
                    layer.folds,
                    layer.storage,
                    layer.multiplier,
                    uram_initialisable=self.choices.uram_initialisable,
                    uram_load_port=may_load,
                ),
                name=layer.shape.name,
            )
            for layer in layers
        ]

    def budget(self, device: Device, scale: float = 1.0) -> FloatArray:
        """What may be taken of so many devices, beside the reserve."""
        whole = np.array([getattr(device, kind) * self.share * scale for kind in KINDS])
        return np.asarray(whole - vector(self.reserve))

    def solve(self, target: int | None) -> Found | None:
        """The best plan whose full cost fits."""
        self.eager = target is None
        if target is None:
            return self.fastest()
        found = self.probe(target)
        if found is None:  # the periods of options are upper bounds: the fastest may do
            self.eager = True
            fastest = self.fastest()
            if fastest is not None and fastest.interval <= target:
                return fastest
        return found

    def fastest(self) -> Found | None:
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
            found = self.probe(best.interval)  # another process may be slower anyway
            if found is not None and self.better(found, best):
                best = found
        return self.refined(best, self.budget(self.device))

    def probe(self, interval: int) -> Found | None:
        """A plan for an interval whose full cost fits, or None."""
        for overhead in (self.found_overhead, np.zeros(len(KINDS))):
            found = None if overhead is None else self.settle(interval, overhead)
            if found is not None:
                # processes without multipliers may be slower than wished: no folds help that
                self.found_overhead = found.overhead
                return found if self.eager or found.interval <= interval else None
        return None

    def settle(self, interval: int, overhead: FloatArray) -> Found | None:
        """A choice of options that fits together with what follows from it, or None.

        Args:
            interval: that the options keep.
            overhead: a guess at what follows, shape `(5,)`.
        """
        budget, options = self.budget(self.device), None
        for turn in range(_ROUNDS):
            options = self.pick(interval, budget - overhead, options)
            if options is None:
                return None
            mapped, chosen = self.map(options, interval)
            total = cost.total_cost(mapped)
            self.overhead = vector(total) - engines_of(options)
            if np.all(vector(total) <= budget):
                return Found(mapped, chosen, total, self.overhead)
            # what few changes leave much the same; later ones leave room for what they change
            overhead = self.overhead * (1 + turn * _ROOM)
        return None

    def refined(self, best: Found | None, budget: FloatArray) -> Found | None:
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
        fastest = best.interval if best is not None else int(periods.max()) + 1
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
            found = Found(mapped, chosen, total, vector(total) - engines_of(options))
            if np.all(vector(total) <= budget) and found.interval < fastest:
                best, fastest = found, found.interval
        return best

    def better(self, first: Found, second: Found, target: int | None = None) -> bool:
        """Whether a plan is faster than another, or as fast and cheaper; beyond a target, speed
        does not count.
        """
        speeds = [max(found.interval, target or 0) for found in (first, second)]
        if speeds[0] != speeds[1]:
            return speeds[0] < speeds[1]
        weights = [burden(vector(found.total), self.prices) for found in (first, second)]
        return bool(weights[0] < weights[1])

    def pick(
        self, interval: int, room: FloatArray, start: Sequence[Option] | None = None
    ) -> list[Option] | None:
        """An option for each layer that is fast enough, within the room; None if there are none.

        A choice to start from is changed as little as will do.
        """
        return choose(self.options, interval, room, self.prices, start)

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
        """The streams that options lead to."""
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


def engines_of(options: Sequence[Option]) -> FloatArray:
    """What options take together, by kind of resource, shape `(5,)`."""
    return np.asarray(sum((vector(o.resources) for o in options), np.zeros(len(KINDS))))


def vector(resources: Resources) -> FloatArray:
    """Resources in the order of `KINDS`."""
    return np.array([getattr(resources, kind) for kind in KINDS], np.float64)
