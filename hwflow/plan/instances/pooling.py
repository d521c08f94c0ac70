"""Maxima and sums over windows, and the sum over the whole image."""

from __future__ import annotations

from typing import Any

from hwflow.opset import MaxPool2D, SumPool2D
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.instances.windows import windows_of
from hwflow.plan.streams import Memory


@builds(MaxPool2D)
def max_pool(it: Instance) -> str:
    """Padding is the least value of the input's format."""
    operation = it.operation
    assert isinstance(operation, MaxPool2D)
    least = it.source().format.minimum
    windows = windows_of(it, operation.window, operation.strides, operation.padding, least)
    return _over_windows(it, "max_pool", windows, operation)


@builds(SumPool2D)
def sum_pool(it: Instance) -> str:
    """A window of the whole image needs no line buffer."""
    operation = it.operation
    assert isinstance(operation, SumPool2D)
    source = it.source().shape
    if operation.window == source[:2] and not any(operation.padding):
        pixels = source[0] * source[1]
        settings = {"pixels": pixels, "channels": source[2], "lanes": it.lanes}
        cycles = pixels * (source[2] // it.lanes)
        return it.process("global_sum", (it.input(),), settings, cycles, **it.sums())
    windows = windows_of(it, operation.window, operation.strides, operation.padding, 0)
    constants = {}
    if operation.divisor is not None:
        rows, columns = operation.scales(source)
        constants = {"row_scales": rows, "column_scales": columns}
    roms = tuple(
        Memory(role, values.size, int(values.max()).bit_length(), "lutram")
        for role, values in constants.items()
    )
    return _over_windows(
        it, "window_sum", windows, operation, memories=roms, constants=constants, **it.sums()
    )


def _over_windows(
    it: Instance, kernel: str, windows: str, operation: MaxPool2D | SumPool2D, **more: Any
) -> str:
    height, width, channels = it.made.shape
    taps = operation.window[0] * operation.window[1]
    settings = {
        "pixels": height * width,
        "channels": channels,
        "lanes": it.lanes,
        "taps": taps,
        "parallel": it.parallel,
    }
    cycles = height * width * (channels // it.lanes) * (taps // it.parallel)
    return it.process(kernel, (windows,), settings, cycles, **more)
