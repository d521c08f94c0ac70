"""What a design says of the hardware, as plans take it."""

from __future__ import annotations

from hwflow.design import Design
from hwflow.errors import DesignError
from hwflow.plan.choices import Choices
from hwflow.plan.device import Device, find_device
from hwflow.plan.folding import DEFAULT_INTERVAL_CYCLES
from hwflow.plan.steering import Goal


def choices_of(design: Design) -> Choices:
    """What a design says of the hardware, as the mapping takes it."""
    hardware = design.hardware
    goal = goal_of(design)
    device = device_of(hardware.part)

    def explicit(name: str) -> bool:
        default = hardware.model_copy(update={"layers": {}}).for_layer(name)
        return hardware.for_layer(name).reuse_factor != default.reuse_factor

    return Choices(
        for_layer=hardware.for_layer,
        explicit=explicit,
        interval_cycles=(goal and goal.interval_cycles) or DEFAULT_INTERVAL_CYCLES,
        fastest=hardware.strategy == "latency",
        uram_initialisable=device is not None and device.uram_initialisable,
        uram_load_port=hardware.uram_load_port,
        # a speed that was asked for is reached only with the depths that simulation finds
        simulate_depths=goal is not None,
    )


def device_of(part: str) -> Device | None:
    """The device of a part; None where the part exists but its resources are not known."""
    try:
        return find_device(part)
    except DesignError:
        return None


def goal_of(design: Design) -> Goal | None:
    """What a design's target asks of a plan, in clock cycles; None where it has no target."""
    hardware = design.hardware
    target = hardware.target
    if target is None:
        return None
    interval, latency = target.interval_cycles, None
    if target.frames_per_second is not None:
        interval = int(1e9 / hardware.clock_period_ns / target.frames_per_second)
    if target.latency_ms is not None:
        latency = int(1e6 * target.latency_ms / hardware.clock_period_ns)
    return Goal(interval, latency, hardware.share)
