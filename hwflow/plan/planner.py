"""The planner: folds, multipliers and memories for a device, for most speed or least resources."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from hwflow.errors import DesignError, DoesNotFitError, Fault
from hwflow.integer_graph import IntegerGraph
from hwflow.plan import cost
from hwflow.plan.advice import advice, explain
from hwflow.plan.cost import KINDS, NOTHING, Resources
from hwflow.plan.dataflow import Simulator
from hwflow.plan.device import Device
from hwflow.plan.fifo_search import UNLIMITED_BEATS
from hwflow.plan.loading import load_words
from hwflow.plan.mapping import Choices
from hwflow.plan.search import Search, can_load, slowest
from hwflow.plan.streams import StreamGraph

DEFAULT_SHARE = 0.8
"""Of each resource that a plan may take: more is hard to place and route."""


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
                "fits": self.total.fits(self.device),
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
    reserve: Resources = NOTHING,
    target_interval: int | None = None,
) -> Plan:
    """Chooses folds, multipliers and storages.

    Args:
        graph: the network.
        choices: what the design says; reuse factors and storages given by hand stay.
        device: to fit.
        clock_period_ns: for frames per second.
        share: of each resource that may be taken, above 0 and up to 1.
        reserve: of that, what is kept for FIFOs that are deeper than counted here.
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
    search = Search(graph, choices, device, share, reserve, may_load=may_load)
    found = search.solve(target_interval)
    if may_load:  # the search is no proof: what it finds without the port may be the better plan
        plain = Search(graph, choices, device, share, reserve, may_load=False)
        other = plain.solve(target_interval)
        if other is not None and (found is None or search.better(other, found, target_interval)):
            search, found = plain, other
    if found is None:
        raise DoesNotFitError(explain(search, target_interval, clock_period_ns))
    mapped = found.streams
    interval, bottleneck = slowest(mapped)
    shares = found.total.shares(device)
    binding = max(shares, key=lambda kind: shares[kind])
    simulator = Simulator(mapped)
    unlimited = {name: min(s.beats, UNLIMITED_BEATS) for name, s in mapped.streams.items()}
    return Plan(
        device,
        clock_period_ns,
        found.choices,
        mapped,
        found.total,
        cost.layer_costs(mapped),
        interval,
        simulator.run(unlimited, frames=1).latency_cycles,
        bottleneck,
        binding,
        advice(search, found),
    )


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
