"""The commands `plan` and `dataflow`; mounted by the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hwflow.plan.dataflow import Dataflow
    from hwflow.plan.planner import Plan
    from hwflow.plan.streams import StreamGraph

_Design = Annotated[Path, typer.Argument(help="The design file (YAML).")]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the projects.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def plan(
    design: _Design,
    part: Annotated[str | None, typer.Option(help="A part or board; default the design's.")] = None,
    all_parts: Annotated[
        bool, typer.Option("--all-parts", help="Every device that hwflow knows.")
    ] = False,
    share: Annotated[float, typer.Option(help="Of each resource that may be taken.")] = 0.8,
    frames_per_second: Annotated[
        float | None, typer.Option("--fps", help="Reach this with least resources.")
    ] = None,
    interval: Annotated[
        int | None, typer.Option(help="The same in clock cycles from frame to frame.")
    ] = None,
    output: _Output = Path("hls_projects"),
    as_json: _Json = False,
) -> None:
    """Choose folds, multipliers and memories for a device, and estimate size and speed."""
    from hwflow import flow
    from hwflow.errors import DesignError, Fault
    from hwflow.plan import planner
    from hwflow.plan.device import find_device, load_devices
    from hwflow.progress import RichProgress

    if frames_per_second is not None and interval is not None:
        raise DesignError(Fault("", "target", "give --fps or --interval, not both"))
    if part is not None and all_parts:
        raise DesignError(Fault("", "part", "give --part or --all-parts, not both"))
    read = flow.read_design(design)
    clock = read.hardware.clock_period_ns
    devices = (
        list(load_devices().values()) if all_parts else [find_device(part or read.hardware.part)]
    )
    target = interval
    if frames_per_second is not None:
        target = planner.interval_of(frames_per_second, clock)
    said = read.hardware.target
    if target is None and said is not None:
        target = said.interval_cycles
        if said.frames_per_second is not None:
            target = planner.interval_of(said.frames_per_second, clock)
    graph = flow.integer_graph(design, output, RichProgress())
    choices = flow.choices_of(read)
    wanted: dict[str, Any] = {
        "clock_period_ns": clock,
        "share": share,
        "target_interval": target,
    }
    if not all_parts:
        (device,) = devices
        said_of = dataclasses.replace(choices, uram_initialisable=device.uram_initialisable)
        chosen = planner.plan(graph, said_of, device, **wanted)
        if as_json:
            _print_json({"status": "done", "design": read.name, **chosen.to_json()})
        else:
            print("\n".join(plan_lines(chosen)))
        return
    plans = planner.for_devices(graph, choices, devices, **wanted)
    if as_json:
        found = {
            name: {"fits": False, "reason": made} if isinstance(made, str) else made.to_json()
            for name, made in plans.items()
        }
        _print_json({"status": "done", "design": read.name, "devices": found})
        return
    for name, made in plans.items():
        if isinstance(made, str):
            print(f"{name:10} {made}")
        else:
            fullest = made.total.shares(made.device)[made.binding]
            print(
                f"{name:10} {made.frames_per_second:9.1f} frames/s, {made.latency_cycles} cycles "
                f"latency, {made.binding} {fullest:.0%}, bottleneck {made.bottleneck}"
            )


def dataflow(
    design: _Design,
    minimise: Annotated[
        bool, typer.Option("--minimise", help="Find the least depths that do not slow.")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Show what one beat less does at each join.")
    ] = False,
    output: _Output = Path("hls_projects"),
    as_json: _Json = False,
) -> None:
    """Simulate the streams of a design cycle by cycle: speed, fills, waits and deadlocks."""
    from hwflow import flow
    from hwflow.errors import DesignError
    from hwflow.plan import fifo_search
    from hwflow.plan.dataflow import simulate
    from hwflow.plan.mapping import map_graph
    from hwflow.progress import RichProgress

    read = flow.read_design(design)
    graph = flow.integer_graph(design, output, RichProgress())
    mapped = map_graph(graph, flow.choices_of(read))
    if minimise:
        mapped = fifo_search.sized(mapped, exact=prove)
    result = simulate(mapped)
    proofs = fifo_search.prove(mapped) if prove and not result.deadlock else ()
    if as_json:
        found = dataflow_json(mapped, result)
        found["proofs"] = [
            {**dataclasses.asdict(proof), "is_least": proof.is_least} for proof in proofs
        ]
        _print_json({"status": "done", "design": read.name, **found})
    else:
        print("\n".join([*dataflow_lines(mapped, result), *map(str, proofs)]))
    if result.deadlock:
        raise DesignError(result.explain_deadlock())


def plan_lines(made: Plan) -> list[str]:
    """A plan as text."""
    shares = made.total.shares(made.device)
    lines = [
        f"{made.device.name}: {made.frames_per_second:.1f} frames/s, interval "
        f"{made.interval_cycles} cycles, latency {made.latency_cycles} cycles at "
        f"{made.clock_period_ns:g} ns"
    ]
    for kind, share in shares.items():
        used, has = getattr(made.total, kind), getattr(made.device, kind)
        lines.append(f"  {kind:9} {used:8} of {has:8}  {share:6.1%}")
    lines.append(f"binding: {made.binding}; bottleneck: {made.bottleneck}; {made.advice}")
    for name, fold in made.choices.folds.items():
        lines.append(
            f"  {name:28} simd {fold.simd:4} pe {fold.pe:4} "
            f"{made.choices.multipliers[name]:3} {made.choices.storages[name]}"
        )
    return lines


def dataflow_lines(mapped: StreamGraph, result: Dataflow) -> list[str]:
    """A simulation as text."""
    lines = [
        result.explain_deadlock()
        or f"interval {result.interval_cycles or 'not settled'} cycles, first output after "
        f"{result.first_output_cycles}, frame after {result.latency_cycles}; bottleneck "
        f"{result.bottleneck}; {mapped.stream_bits} bits of FIFOs"
    ]
    for name, figures in result.processes.items():
        lines.append(
            f"  {name:48} period {figures.period:8} waits {figures.waited_to_read:8} to read "
            f"{figures.waited_to_write:8} to write"
        )
    lines += [
        f"  {s.name:48} {result.fill[s.name]:6} of {s.depth:6} beats, {s.reason}"
        for s in mapped.internal
    ]
    return lines


def dataflow_json(mapped: StreamGraph, result: Dataflow) -> dict[str, Any]:
    """A simulation as plain data."""
    return {
        "latency_cycles": result.latency_cycles,
        "first_output_cycles": result.first_output_cycles,
        "initiation_interval_cycles": result.interval_cycles,
        "bottleneck": result.bottleneck,
        "stream_bits": mapped.stream_bits,
        "deadlock": [{"stream": name, "state": state} for name, state in result.deadlock],
        "processes": {n: dataclasses.asdict(f) for n, f in result.processes.items()},
        "streams": {
            s.name: {"depth": s.depth, "fill": result.fill[s.name], "reason": s.reason}
            for s in mapped.internal
        },
    }


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))
