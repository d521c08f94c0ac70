"""The commands `plan` and `dataflow`; mounted by the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hwflow.plan.dataflow import Dataflow
    from hwflow.plan.fifo_search import DepthProof
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
    share: Annotated[
        float | None, typer.Option(help="Of each resource that may be taken; default the design's.")
    ] = None,
    frames_per_second: Annotated[
        float | None, typer.Option("--fps", help="Reach this with least resources.")
    ] = None,
    interval: Annotated[
        int | None, typer.Option(help="The same in clock cycles from frame to frame.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(help="Likewise from first input to last output, milliseconds.")
    ] = None,
    fastest: Annotated[
        bool, typer.Option("--fastest", help="Most frames a second, whatever the design's target.")
    ] = False,
    load_port: Annotated[
        bool | None,
        typer.Option(
            "--uram-load-port/--no-uram-load-port",
            help="Weights may be loaded into UltraRAM that cannot be initialised; "
            "default the design's.",
        ),
    ] = None,
    output: _Output = Path("hls_projects"),
    as_json: _Json = False,
) -> None:
    """Choose folds, multipliers and memories for a device, and estimate size and speed."""
    from hwflow import flow
    from hwflow.checking import read_design
    from hwflow.errors import DesignError, Fault
    from hwflow.plan import planner
    from hwflow.plan.device import find_device, load_devices
    from hwflow.plan.steering import Goal, for_devices, plan_for
    from hwflow.plan.wishes import choices_of, goal_of
    from hwflow.progress import RichProgress

    targets = {
        "--fps": frames_per_second,
        "--interval": interval,
        "--latency-ms": latency_ms,
        "--fastest": fastest or None,
    }
    given = [name for name, value in targets.items() if value is not None]
    faults = [
        Fault("", "target", f"{name} must be above 0, not {value}")
        for name, value in targets.items()
        if value is not None and not value > 0
    ]
    if len(given) > 1:
        faults.append(Fault("", "target", f"give one of {', '.join(given)}"))
    if share is not None and not 0 < share <= 1:
        faults.append(Fault("", "--share", f"must be above 0 and at most 1, not {share}"))
    if part is not None and all_parts:
        faults.append(Fault("", "part", "give --part or --all-parts, not both"))
    if faults:
        raise DesignError(faults)
    read = read_design(design)
    clock = read.hardware.clock_period_ns
    devices = (
        list(load_devices().values()) if all_parts else [find_device(part or read.hardware.part)]
    )
    goal = goal_of(read) or Goal(share=read.hardware.share)
    if given:
        if frames_per_second is not None:
            interval = planner.interval_of(frames_per_second, clock)
        latency = None if latency_ms is None else int(1e6 * latency_ms / clock)
        goal = Goal(interval, latency, goal.share)
    if share is not None:
        goal = dataclasses.replace(goal, share=share)
    graph = flow.integer_graph(design, output, RichProgress())
    choices = choices_of(read)
    if load_port is not None:
        choices = dataclasses.replace(choices, uram_load_port=load_port)
    if not all_parts:
        (device,) = devices
        said_of = dataclasses.replace(choices, uram_initialisable=device.uram_initialisable)
        chosen = plan_for(graph, said_of, device, goal, clock)
        if as_json:
            _print_json({"status": "done", "design": read.name, **chosen.to_json()})
        else:
            print("\n".join(plan_lines(chosen)))
        return
    plans = for_devices(graph, choices, devices, goal, clock)
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
    project: Annotated[Path, typer.Argument(help="A project's folder, or a design file (YAML).")],
    minimise: Annotated[
        bool, typer.Option("--minimise", help="Find the least depths that do not slow.")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Show what one beat less does at each join.")
    ] = False,
    output: _Output = Path("hls_projects"),
    as_json: _Json = False,
) -> None:
    """Simulate the streams cycle by cycle: speed, fills, waits and deadlocks."""
    from hwflow import flow
    from hwflow.errors import DesignError
    from hwflow.plan import fifo_search
    from hwflow.plan.dataflow import simulate
    from hwflow.progress import RichProgress
    from hwflow.project import Project

    if project.is_dir():
        mapped = Project(project).streams
    else:
        mapped = flow.planned_streams(project, output, RichProgress())
    proofs: tuple[DepthProof, ...] = ()
    if minimise and prove:
        mapped, proofs = fifo_search.minimised(mapped)
    elif minimise:
        mapped = fifo_search.sized(mapped)
    elif prove:
        proofs = fifo_search.prove(mapped)
    result = simulate(mapped)
    if as_json:
        found = dataflow_json(mapped, result)
        found["proofs"] = [
            {**dataclasses.asdict(proof), "is_least": proof.is_least} for proof in proofs
        ]
        _print_json({"status": "done", "design": mapped.name, **found})
    else:
        print("\n".join([*dataflow_lines(mapped, result), *map(str, proofs)]))
    if result.deadlock:
        raise DesignError(result.explain_deadlock())


def plan_lines(made: Plan) -> list[str]:
    """A plan as text."""
    from hwflow.plan.loading import load_words

    shares = made.total.shares(made.device)
    lines = [
        f"{made.device.name}: {made.frames_per_second:.1f} frames/s, interval "
        f"{made.interval_cycles} cycles, latency {made.latency_cycles} cycles at "
        f"{made.clock_period_ns:g} ns"
    ]
    for kind, share in shares.items():
        used, has = getattr(made.total, kind), getattr(made.device, kind)
        lines.append(f"  {kind:9} {used:8} of {has:8}  {share:6.1%}")
    words = load_words(made.graph)
    if words:
        layers = sum(process.is_loaded for process in made.graph.processes)
        milliseconds = words * made.clock_period_ns / 1e6
        lines.append(
            f"load port: {layers} layers, {words} cycles ({milliseconds:.1f} ms) at start-up"
        )
    lines.append(f"binding: {made.binding}; bottleneck: {made.bottleneck}; {made.advice}")
    for name, fold in made.choices.folds.items():
        lines.append(
            f"  {name:28} simd {fold.simd:4} pe {fold.pe:4} taps {fold.taps:2} "
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
