"""The windows that convolutions and poolings read, tap by tap or all taps at once."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.opset import Padding, reach_of
from hwflow.plan import memories
from hwflow.plan.instances.base import Instance
from hwflow.plan.parallel_window import ParallelWindow, window_memories
from hwflow.plan.process_schedule import window_iterations
from hwflow.plan.streams import Memory, Process
from hwflow.plan.window_schedule import SlidingWindow, buffer_pixels, geometry


def windows_of(
    it: Instance,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    pad_value: int,
    dilation: tuple[int, int] = (1, 1),
) -> str:
    """Adds the window of a layer; returns the stream of its windows."""
    wiring = it.wiring
    stream = it.input()
    source = wiring.streams[stream]
    shape, out = it.source().shape, it.tensor(it.operation.name).shape
    settings = {
        "in_height": shape[0],
        "in_width": shape[1],
        "in_channels": shape[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": strides[0],
        "stride_width": strides[1],
        "pad_top": padding[0],
        "pad_left": padding[2],
        "out_height": out[0],
        "out_width": out[1],
        "lanes": source.lanes,
        "pad_value": pad_value,
    }
    if dilation != (1, 1):
        settings |= {"dilation_height": dilation[0], "dilation_width": dilation[1]}
    more: Mapping[str, int]
    kept: tuple[Memory, ...]
    if it.parallel > 1:
        walk = ParallelWindow.over(shape, kernel, strides, padding, out, source.lanes, dilation)
        name, iterations = "parallel_window", walk.iterations
        more, kept = {"pitch": walk.pitch}, window_memories(walk, source.format.width)
    else:
        capacity = buffer_pixels(shape, reach_of(kernel, dilation), strides)
        window = SlidingWindow(**geometry(settings), buffer_pixels=capacity)
        name, iterations = "sliding_window", window_iterations(window)
        words = capacity * window.folds
        more = {"buffer_pixels": capacity}
        kept = (memories.place("buffer", words, source.width_bits),)
    made = wiring.new_stream(
        f"{it.name}_windows",
        None,
        source.format,
        source.lanes * it.parallel,
        shape[2] * kernel[0] * kernel[1],
        out[0] * out[1],
    )
    wiring.processes.append(
        Process(
            f"{it.name}_window",
            name,
            it.operation.name,
            (stream,),
            (made,),
            {**settings, **more, "iterations": iterations},
            iterations,
            kept,
        )
    )
    return made
