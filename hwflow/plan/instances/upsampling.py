"""Upsampling: rows of the input in memory, a beat written each cycle."""

from __future__ import annotations

from hwflow.opset import UpsampleBilinear2D, UpsampleNearest2D
from hwflow.plan import memories
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.streams import Memory


def _settings(it: Instance) -> tuple[dict[str, int], int, Memory]:
    """Settings that both kernels have, beats that are written, and the memory of a row."""
    assert isinstance(it.operation, UpsampleNearest2D | UpsampleBilinear2D)
    height, width, channels = it.source().shape
    rows, columns = it.operation.factors
    words = width * (channels // it.lanes)
    settings = {
        "in_height": height,
        "in_width": width,
        "channels": channels,
        "lanes": it.lanes,
        "factor_height": rows,
        "factor_width": columns,
    }
    row = memories.place("buffer", words, it.lanes * it.source().format.width)
    return settings, height * rows * columns * words, row


@builds(UpsampleNearest2D)
def nearest(it: Instance) -> str:
    """A row is kept and repeated."""
    settings, written, row = _settings(it)
    return it.process("upsample_nearest", (it.input(),), settings, written, memories=(row,))


@builds(UpsampleBilinear2D)
def bilinear(it: Instance) -> str:
    """Two rows are kept and interpolated, while a third is read."""
    settings, written, row = _settings(it)
    settings["iterations"] = row.words + written
    return it.process(
        "upsample_bilinear",
        (it.input(),),
        settings,
        settings["iterations"],
        memories=(row, row, row),
        **it.sums(),
    )
