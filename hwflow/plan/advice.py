"""What the planner says of a plan, or of why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from hwflow.plan.choosing import FloatArray, LayerOptions, choose
from hwflow.plan.cost import KINDS, NOTHING
from hwflow.plan.device import Device, load_devices
from hwflow.plan.fit import worded
from hwflow.plan.search import Found, Search, can_load, slowest
from hwflow.plan.streams import Process

_WORTHWHILE = 0.98  # of the interval: what a change must bring it below to be worth saying


def advice(search: Search, found: Found) -> str:
    """The change that would shorten a plan's interval most."""
    interval, bottleneck = slowest(found.streams)
    by_hand = {layer.shape.name for layer in search.layers if layer.by_hand}
    if bottleneck in by_hand:
        return f"the reuse factor of {bottleneck} is given by hand: lower it or leave it out"
    gains = {}
    for place, kind in enumerate(KINDS):
        room = search.budget(search.device) - found.overhead
        room[place] += search.budget(search.device)[place]
        shorter = search.shortest(search.options, room)
        if shorter is not None and shorter < interval:
            gains[kind] = shorter
    names = {layer.name for layer in search.options}
    if bottleneck not in names:
        return (
            f"{bottleneck} has no multipliers to add: only more channels a beat, or fewer "
            f"pixels, make it faster"
        )
    loaded = _with_load_port(search)
    if loaded is not None:
        shorter = search.shortest(loaded, search.budget(search.device) - found.overhead)
        if shorter is not None and shorter <= _WORTHWHILE * interval:
            return (
                f"{bottleneck} is slowest: with weights loaded into UltraRAM "
                f"(hardware.uram_load_port: true) a frame would take {shorter} cycles instead "
                f"of {interval}"
            )
    if not gains or min(gains.values()) > _WORTHWHILE * interval:
        if any(_takes_whole_pixels(process) for process in found.streams.of_layer(bottleneck)):
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


def explain(search: Search, target: int | None, clock_period_ns: float) -> str:
    """Why nothing fits, and which plans are nearest: slower, narrower, larger, or split."""

    def rate(cycles: int) -> str:
        return f"{1e9 / clock_period_ns / cycles:.1f} frames/s"

    wanted = f"in {target} cycles a frame ({rate(target)}) " if target else ""
    place = f"{search.share:.0%} of {search.device.name}"
    if search.reserve != NOTHING:
        place += f", of it {worded(search.reserve)} kept for FIFOs that keep the speed,"
    lines = [f"{search.graph.name} does not fit {place} {wanted}".strip()]
    nearest = []
    if target is not None:
        search.overhead = np.zeros(len(KINDS))
        slower = search.solve(None)
        least = max((int(layer.periods[0]) for layer in search.options), default=1)
        if slower is not None:
            cycles, search.overhead = slower.interval, slower.overhead
            nearest.append(f"slower: {cycles} cycles a frame ({rate(cycles)}) on this device")
            least = min(least, cycles)
        if target < least:
            slow = max(search.options, key=lambda layer: layer.periods[0]).name
            lines.append(
                f"layer {slow} needs {least} cycles however many multipliers it has: "
                f"the target must be {least} or more"
            )
    loaded = _with_load_port(search)
    room = search.budget(search.device) - search.overhead
    is_enough = loaded is not None and _feasible(search, loaded, target, room)
    if is_enough:
        nearest.append("weights loaded into UltraRAM: hardware.uram_load_port: true")
    width = _narrower(search, target, search.may_load)
    if width:
        nearest.append(f"narrower: weights and activations of {width} bits")
    wider = _narrower(search, target, True) if loaded is not None and not is_enough else 0
    if wider > width:
        nearest.append(
            f"weights and activations of {wider} bits with hardware.uram_load_port: true"
        )
    larger = _larger(search, target)
    if larger is not None:
        nearest.append(f"larger part: {larger.name} ({larger.part})")
    split = _split(search, target)
    if split > 1:
        nearest.append(f"split over {split} such devices")
    lines += nearest or ["nothing near it does either: use a smaller network"]
    return "; ".join(lines)


def _with_load_port(search: Search) -> list[LayerOptions] | None:
    """The options that the load port would add, where it is possible and not allowed."""
    if search.may_load or search.choices.uram_load_port or not can_load(search.device):
        return None
    return search.options_of(search.layers, may_load=True)


def _narrower(search: Search, target: int | None, may_load: bool) -> int:
    """The most bits of weights and activations with which it fits; 0 if there are none."""
    room = search.budget(search.device) - search.overhead
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
            for layer in search.layers
        ]
        if all(layer == old for layer, old in zip(layers, search.layers, strict=True)):
            continue
        options = search.options_of(layers, may_load)
        if _feasible(search, options, target, room):
            return width
    return 0


def _feasible(
    search: Search, options: Sequence[LayerOptions], target: int | None, room: FloatArray
) -> bool:
    if target is None:
        return search.shortest(options, room) is not None
    return choose(options, target, room, search.prices) is not None


def _larger(search: Search, target: int | None) -> Device | None:
    for device in sorted(load_devices().values(), key=lambda d: (d.lut, d.bram_18k)):
        if device.name != search.device.name and _feasible(
            search, search.options, target, search.budget(device) - search.overhead
        ):
            return device
    return None


def _split(search: Search, target: int | None) -> int:
    """Devices of this kind that together have what the network takes; 0 if none have."""
    for count in range(2, 17):
        room = search.budget(search.device, count) - search.overhead
        if _feasible(search, search.options, target, room):
            return count
    return 0


def _takes_whole_pixels(process: Process) -> bool:
    """Whether a process walks its input a pixel a cycle."""
    settings = process.settings
    return process.kernel == "parallel_window" and settings["lanes"] == settings["in_channels"]
