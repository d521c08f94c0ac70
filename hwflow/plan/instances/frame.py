"""A map in another frame: a walk over all its pixels, old and new."""

from __future__ import annotations

from hwflow.opset import Frame2D
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.process_schedule import frame_walk


@builds(Frame2D)
def frame(it: Instance) -> str:
    """Pixels that are cut off are read and dropped; zeros are written without a read."""
    operation = it.operation
    assert isinstance(operation, Frame2D)
    height, width, channels = it.source().shape
    settings = {
        "in_height": height,
        "in_width": width,
        "channels": channels,
        "lanes": it.lanes,
        "pad_top": operation.padding[0],
        "pad_left": operation.padding[2],
        "out_height": it.made.shape[0],
        "out_width": it.made.shape[1],
    }
    rows, columns = frame_walk(settings)
    cycles = rows.size * columns.size * (channels // it.lanes)
    return it.process("frame", (it.input(),), settings, cycles)
