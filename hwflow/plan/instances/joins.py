"""Addition and concatenation: two at a time, left to right."""

from __future__ import annotations

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.opset import Add, Concatenate, Interval
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.streams import Process


@builds(Add, Concatenate)
def join(it: Instance) -> str:
    """A process for each pair; partial results have formats of their own."""
    operation, wiring = it.operation, it.wiring
    assert isinstance(operation, Add | Concatenate)
    streams = [it.input(index) for index in range(len(operation.inputs))]
    if len(streams) == 1:
        raise DesignError(f"{operation.name}: joins a single tensor")
    pixels = wiring.streams[streams[0]].pixels
    intervals = [it.tensor(source).interval for source in operation.inputs]
    out = it.tensor(operation.name)
    shift = operation.shifts[0]
    current, reach = streams[0], intervals[0].shifted(shift)
    for index in range(1, len(streams)):
        is_last = index == len(streams) - 1
        pair = (reach, intervals[index].shifted(operation.shifts[index]))
        if isinstance(operation, Add):
            reach = Interval(pair[0].low + pair[1].low, pair[0].high + pair[1].high)
            channels = {"channels": out.shape[2]}
        else:
            reach = Concatenate("", (), (0, 0)).interval(*pair)
            channels = {"channels0": len(pair[0].low), "channels1": len(pair[1].low)}
        total = sum(channels.values())
        settings = {
            "pixels": pixels,
            **channels,
            "lanes": it.lanes,
            "shift0": shift,
            "shift1": operation.shifts[index],
        }
        inputs, cycles = (current, streams[index]), pixels * (total // it.lanes)
        if is_last:
            return it.process(operation.kind, inputs, settings, cycles, **it.sums())
        fraction_bits = out.format.fraction_bits
        partial = FixedPoint.containing(int(reach.low.min()), int(reach.high.max()), fraction_bits)
        current = wiring.new_stream(
            f"{it.name}_partial{index}", None, partial, it.lanes, total, pixels
        )
        wiring.processes.append(
            Process(
                f"{it.name}_join{index}",
                operation.kind,
                operation.name,
                inputs,
                (current,),
                settings,
                cycles,
                accumulator=partial,
                target=partial,
            )
        )
        shift = 0
    raise AssertionError  # the loop returns with the last pair
