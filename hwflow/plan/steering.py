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
from hwflow.plan.cost import NOTHING, Resources
from hwflow.plan.device import Device
from hwflow.plan.fit import worded
from hwflow.plan.folding import Fold
from hwflow.plan.mapping import Choices
from hwflow.plan.planner import Plan
from hwflow.plan.streams import StreamGraph

_LATENCY_PROBES = 12
_DEPTH_ROUNDS = 8


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

    @property
    def is_met_by_any(self) -> bool:
        """Whether one plan that fits is as good as another: there is a target, and it is kept."""
        return self.interval_cycles is not None or self.latency_cycles is not None


def plan_for(
    graph: IntegerGraph,
    choices: Choices,
    device: Device,
    goal: Goal,
    clock_period_ns: float,
    reserve: Resources = NOTHING,
) -> Plan:
    """The planner's choice for a goal; of the goal's share, a reserve is left free.

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
            reserve=reserve,
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
    its speed take it beyond the share of some resource, it plans again with as much of each kept
    for them as they took beyond that count.

    Raises:
        DesignError: as `plan_for`.
        DoesNotFitError: as `plan_for`, and if no plan was found that fits with its FIFOs.
        ToolError: if the compiled core of the simulation is missing.
    """
    best: tuple[Plan, StreamGraph] | None = None
    failure: DoesNotFitError | None = None
    too_little, reserve, enough = NOTHING, NOTHING, None
    for _ in range(_DEPTH_ROUNDS):
        try:
            made = plan_for(graph, choices, device, goal, clock_period_ns, reserve)
        except DoesNotFitError as error:
            if reserve == NOTHING:
                raise
            failure, enough = failure or error, reserve
        else:
            streams = fifo_search.sized(made.graph)
            total = cost.total_cost(streams)
            taken = total.beyond(made.total)
            if total.fits(device, goal.share):
                if best is None or made.interval_cycles < best[0].interval_cycles:
                    best = made, streams
                if goal.is_met_by_any or reserve == NOTHING:
                    break
                enough = reserve
            else:
                too_little = reserve
        # other plans need other depths: between what was too little and what was enough
        reserve = reserve.at_least(taken) if enough is None else too_little.halfway(enough)
        if reserve in (too_little, enough):
            break
    if best is not None:
        return best[0].choices, best[1]
    if failure is not None:
        raise failure
    raise DoesNotFitError(
        f"{graph.name}: within {goal.share:.0%} of {device.name}, no plan was found that fits with "
        f"the FIFOs that keep its speed; the last took {worded(total.beyond(made.total))} for them "
        f"beyond what the plan counts; nearest: a slower target, or a larger share or part"
    )


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
