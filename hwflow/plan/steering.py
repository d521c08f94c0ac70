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
_DEPTH_ROUNDS = 6

_LOOSEST = 1.1
"""Of the intervals that a plan is held to, in its own, if speed is all that is asked for."""

_SLACKS = (1.0, 1.03, 1.06)
"""Shorter ones that are tried where FIFOs for the loosest fit."""

_FASTER = (1.1, 1.1, 1.05)
"""How many times as fast as what is wanted plans are tried, one after the other."""


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
    its speed take it beyond the share of some resource, a faster plan is held to a longer interval:
    processes with time to spare leave little to wait in the FIFOs. What these take beyond the
    planner's count is then kept for them, resource by resource.

    Raises:
        DesignError: as `plan_for`.
        DoesNotFitError: as `plan_for`, and if no plan was found that fits with its FIFOs.
        ToolError: if the compiled core of the simulation is missing.
    """
    steering = _Steering(graph, choices, device, goal, clock_period_ns)
    made = steering.fastest() if goal.interval_cycles is None else steering.reach()
    return made.plan.choices, made.streams


@dataclass(frozen=True, eq=False)
class _Built:
    """A plan with the depths that keep an interval.

    Attributes:
        plan: as the planner made it.
        streams: with depths.
        interval_cycles: that they keep.
        taken: what the depths take beyond the planner's count.
        fits: whether all of it is within the share.
    """

    plan: Plan
    streams: StreamGraph
    interval_cycles: int
    taken: Resources
    fits: bool


class _Steering:
    def __init__(
        self,
        graph: IntegerGraph,
        choices: Choices,
        device: Device,
        goal: Goal,
        clock_period_ns: float,
    ) -> None:
        self.graph, self.choices, self.device = graph, choices, device
        self.goal, self.clock_period_ns = goal, clock_period_ns

    def plan(self, goal: Goal, reserve: Resources) -> Plan:
        return plan_for(self.graph, self.choices, self.device, goal, self.clock_period_ns, reserve)

    def built(self, plan: Plan, interval: int) -> _Built:
        """A plan held to an interval, or to its own if that is longer."""
        streams = fifo_search.sized(plan.graph, interval_cycles=interval)
        total = cost.total_cost(streams)
        fits = total.fits(self.device, self.goal.share)
        kept = max(interval, plan.interval_cycles)
        return _Built(plan, streams, kept, total.beyond(plan.total), fits)

    def shortest(self, plan: Plan, loosest: int) -> _Built:
        """A plan held to the shortest interval whose FIFOs fit, or else to the loosest."""
        found = self.built(plan, loosest)
        for slack in _SLACKS:
            interval = int(plan.interval_cycles * slack)
            if not found.fits or interval >= loosest:
                break
            tighter = self.built(plan, interval)
            if tighter.fits:
                return tighter
        return found

    def fastest(self) -> _Built:
        """The most speed, or what a latency leaves, with FIFOs that fit."""
        # a latency is that of a plan held to its own interval
        goal = dataclasses.replace(self.goal, interval_cycles=None)
        loosest = 1.0 if goal.latency_cycles is not None else _LOOSEST
        reserve = NOTHING
        for _ in range(_DEPTH_ROUNDS):
            plan = self.plan(goal, reserve)
            found = self.shortest(plan, int(plan.interval_cycles * loosest))
            if found.fits:
                return found
            reserve = reserve.at_least(found.taken)
        raise DoesNotFitError(self.beyond(found, "use a larger share or part"))

    def reach(self) -> _Built:
        """An interval, with FIFOs that fit."""
        wanted = self.goal.interval_cycles
        assert wanted is not None
        plan = self.plan(self.goal, NOTHING)
        found = self.built(plan, plan.interval_cycles)
        if not found.fits and plan.interval_cycles < wanted:
            found = self.built(plan, wanted)
        reserve = NOTHING
        for slack in _FASTER:
            if found.fits:
                return found
            shorter = dataclasses.replace(self.goal, interval_cycles=max(1, int(wanted / slack)))
            try:
                plan = self.plan(shorter, reserve)
            except DoesNotFitError:
                break
            found = self.shortest(plan, wanted)
            reserve = reserve.at_least(found.taken)
        if found.fits:
            return found
        fastest = self.fastest()
        cycles = fastest.interval_cycles
        if cycles <= wanted:
            return fastest
        rate = 1e9 / self.clock_period_ns / cycles
        nearest = f"slower: {cycles} cycles a frame ({rate:.1f} frames/s) on this device"
        raise DoesNotFitError(self.beyond(found, f"{nearest}; a larger share or part"))

    def beyond(self, found: _Built, nearest: str) -> str:
        """Why a plan that the planner takes to fit does not."""
        return (
            f"{self.graph.name} does not fit {self.goal.share:.0%} of {self.device.name} in "
            f"{found.interval_cycles} cycles a frame with the FIFOs that keep this speed: they "
            f"take {worded(found.taken)} beyond those of the plan; nearest: {nearest}"
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
