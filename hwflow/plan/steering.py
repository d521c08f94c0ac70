"""From what a design wants of its hardware to the streams that are built.

Where the design names a target, the planner chooses for its device; where it names none, or the
device's resources are not known, folds follow from the design alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwflow.errors import DoesNotFitError
from hwflow.integer_graph import IntegerGraph
from hwflow.plan import cost, fifo_search, planner
from hwflow.plan.cost import KINDS
from hwflow.plan.device import Device
from hwflow.plan.folding import Fold
from hwflow.plan.mapping import Choices, map_graph
from hwflow.plan.planner import Plan
from hwflow.plan.streams import StreamGraph

_LATENCY_PROBES = 12
_DEPTH_ROUNDS = 4


@dataclass(frozen=True)
class Goal:
    """What a plan is to reach; with neither, the shortest interval that fits.

    Attributes:
        interval_cycles: from frame to frame at most, with the least resources.
        latency_cycles: from the first input beat to the last output beat at most, likewise.
        share: of each of the device's resources that may be taken, above 0 and up to 1.
    """

    interval_cycles: int | None = None
    latency_cycles: int | None = None
    share: float = planner.DEFAULT_SHARE


def plan_for(
    graph: IntegerGraph, choices: Choices, device: Device, goal: Goal, clock_period_ns: float
) -> Plan:
    """The planner's choice for a goal.

    Raises:
        DesignError: for illegal reuse factors, storages, shares or targets.
        DoesNotFitError: if nothing fits, with the nearest plans that do.
    """

    def probe(interval: int | None) -> Plan:
        return planner.plan(
            graph,
            choices,
            device,
            clock_period_ns=clock_period_ns,
            share=goal.share,
            target_interval=interval,
        )

    limit = goal.latency_cycles
    if limit is None:
        return probe(goal.interval_cycles)
    best = probe(None)
    if best.latency_cycles > limit:
        raise DoesNotFitError(
            f"{graph.name}: the fastest plan within {goal.share:.0%} of {device.name} takes "
            f"{best.latency_cycles} cycles from the first input to the last output, more than "
            f"{limit}; nearest: a target of {best.latency_cycles} cycles or more, or a larger part"
        )
    # A frame takes no longer than the latency asked for, and folding more saves resources.
    low, high = best.interval_cycles, limit
    for _ in range(_LATENCY_PROBES):
        if high - low <= max(1, low // 200):
            break
        middle = (low + high) // 2
        found = probe(middle)
        if found.latency_cycles <= limit:
            best, low = found, middle
        else:
            high = middle
    return best


def for_devices(
    graph: IntegerGraph,
    choices: Choices,
    devices: Sequence[Device],
    goal: Goal,
    clock_period_ns: float,
) -> dict[str, Plan | str]:
    """A plan for each device, or why there is none."""
    found: dict[str, Plan | str] = {}
    for device in devices:
        said = dataclasses.replace(choices, uram_initialisable=device.uram_initialisable)
        try:
            found[device.name] = plan_for(graph, said, device, goal, clock_period_ns)
        except DoesNotFitError as error:
            found[device.name] = str(error)
    return found


def steered(
    graph: IntegerGraph, choices: Choices, device: Device, goal: Goal, clock_period_ns: float
) -> tuple[Choices, StreamGraph]:
    """What to build for a goal, with the depths of its FIFOs found by simulation.

    The planner counts FIFOs that only keep the network from blocking. Where the depths that keep
    its speed take it beyond the share, it plans again with so much less.

    Raises:
        DesignError: as `plan_for`.
        DoesNotFitError: as `plan_for`.
        ToolError: if the compiled core of the simulation is missing.
    """
    tried = goal
    for _ in range(_DEPTH_ROUNDS):
        chosen = plan_for(graph, choices, device, tried, clock_period_ns).choices
        streams = fifo_search.sized(
            map_graph(graph, dataclasses.replace(chosen, simulate_depths=False))
        )
        total = cost.total_cost(streams)
        excess = max(
            getattr(total, kind) / (goal.share * max(1, getattr(device, kind))) for kind in KINDS
        )
        if excess <= 1:
            break
        tried = dataclasses.replace(tried, share=tried.share / (excess * 1.01))
    return chosen, streams


def decisions_json(choices: Choices) -> dict[str, Any]:
    """What a plan decided, as plain data; `with_decisions` takes it back."""
    return {
        "interval_cycles": choices.interval_cycles,
        "fastest": choices.fastest,
        "layers": {
            name: {
                "simd": fold.simd,
                "pe": fold.pe,
                "taps": fold.taps,
                "multiplier": choices.multipliers[name],
                "storage": choices.storages[name],
            }
            for name, fold in choices.folds.items()
        },
    }


def with_decisions(choices: Choices, document: Mapping[str, Any]) -> Choices:
    """A design's choices with what a plan decided; no depths are sought."""
    layers: Mapping[str, Mapping[str, Any]] = document["layers"]
    return dataclasses.replace(
        choices,
        interval_cycles=document["interval_cycles"],
        fastest=document["fastest"],
        folds={
            name: Fold(said["simd"], said["pe"], said.get("taps", 1))
            for name, said in layers.items()
        },
        storages={name: said["storage"] for name, said in layers.items()},
        multipliers={name: said["multiplier"] for name, said in layers.items()},
        simulate_depths=False,
    )
