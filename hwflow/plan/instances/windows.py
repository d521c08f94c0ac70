"""The sliding window that convolutions and poolings read."""

from __future__ import annotations

from hwflow.opset import Padding
from hwflow.plan import memories
from hwflow.plan.instances.base import Instance
from hwflow.plan.lanes import buffer_pixels
from hwflow.plan.process_schedule import window_iterations
from hwflow.plan.streams import Process
from hwflow.plan.window_schedule import SlidingWindow


def sliding_window(
    it: Instance,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    pad_value: int,
) -> str:
    """Adds the sliding window of a layer; returns the stream of its windows."""
    wiring = it.wiring
    stream = it.input()
    source = wiring.streams[stream]
    shape, out = it.source().shape, it.tensor(it.operation.name).shape
    capacity = buffer_pixels(shape, kernel, strides)
    window = SlidingWindow(
        *shape, kernel, strides, padding[0], padding[2], out[0], out[1], source.lanes, capacity
    )
    iterations = window_iterations(window)
    made = wiring.new_stream(
        f"{it.name}_windows",
        None,
        source.format,
        source.lanes,
        shape[2] * kernel[0] * kernel[1],
        out[0] * out[1],
    )
    words = capacity * (shape[2] // source.lanes)
    buffer = memories.place("buffer", words, source.width_bits)
    wiring.processes.append(
        Process(
            f"{it.name}_window",
            "sliding_window",
            it.operation.name,
            (stream,),
            (made,),
            {
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
                "buffer_pixels": capacity,
                "iterations": iterations,
            },
            iterations,
            (buffer,),
        )
    )
    return made
