"""What a plan costs and how fast it is, as `metrics.json` has it."""

from __future__ import annotations

from typing import Any

from hwflow.errors import DesignError
from hwflow.plan import cost
from hwflow.plan.dataflow import simulate
from hwflow.plan.fit import fit
from hwflow.plan.loading import load_words
from hwflow.plan.streams import StreamGraph
from hwflow.sections import Hardware


def figures(graph: StreamGraph, part: str, clock_period_ns: float) -> dict[str, Any]:
    """Estimated resources, and latency and interval as the dataflow simulation finds them.

    Args:
        graph: the plan, with its FIFO depths.
        part: of the design; where its resources are not known, `available`, `fits` and `shares`
            are null.
        clock_period_ns: of the design.

    Raises:
        DesignError: if the simulation ends in a deadlock.
    """
    result = simulate(graph)
    if result.deadlock:
        raise DesignError(result.explain_deadlock())
    total = cost.total_cost(graph)
    # where frames have not settled, a frame may be taken when the one before has left
    interval = result.interval_cycles or result.latency_cycles
    slowest = next(p for p in graph.processes if p.name == result.bottleneck)
    return {
        "resources": {
            "source": "estimate",
            **total.to_json(),
            **fit(total, part),
            "per_layer": {name: part.to_json() for name, part in cost.layer_costs(graph).items()},
        },
        "latency": {
            "source": "simulation",
            "latency_cycles": result.latency_cycles,
            "initiation_interval_cycles": interval,
            "clock_period_ns": clock_period_ns,
            "frames_per_second": 1e9 / (clock_period_ns * interval),
            "bottleneck": slowest.layer,
            "load_cycles": load_words(graph),
        },
    }


def plan_metrics(hardware: Hardware, streams: StreamGraph) -> dict[str, Any]:
    """What the plan alone tells: no estimate of resources."""
    slowest = max(streams.processes, key=lambda process: process.cycles)
    return {
        "backend": hardware.backend,
        "part": hardware.part,
        "processes": len(streams.processes),
        "multipliers": sum(process.multipliers for process in streams.processes),
        "stream_bits": streams.stream_bits,
        "memory_bits": sum(m.size_bits for p in streams.processes for m in p.memories),
        "longest_schedule_cycles": slowest.cycles,
        "longest_schedule": slowest.name,
    }
