"""Channels in another order: a buffer of some pixels, once for each lane."""

from __future__ import annotations

import numpy as np

from hwflow.opset import SelectChannels
from hwflow.plan import memories
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.process_schedule import SELECTION_LAG, selection_steps
from hwflow.plan.streams import Memory


@builds(SelectChannels)
def select_channels(it: Instance) -> str:
    """Every output lane recalls a beat of its own each cycle, from a copy of its own."""
    operation, source, lanes = it.operation, it.source(), it.lanes
    assert isinstance(operation, SelectChannels)
    height, width, in_channels = source.shape
    settings = {
        "pixels": height * width,
        "in_channels": in_channels,
        "out_channels": len(operation.channels),
        "lanes": lanes,
    }
    steps = selection_steps(settings)
    settings["buffer_pixels"] = 2 + -(-SELECTION_LAG // steps)
    in_folds, out_folds = in_channels // lanes, len(operation.channels) // lanes
    words = settings["buffer_pixels"] * in_folds
    copy = memories.place("buffer", words, lanes * source.format.width)
    index_bits = (in_folds - 1).bit_length() + (lanes - 1).bit_length()
    rom = Memory("channels", out_folds, max(lanes * index_bits, 1), "lutram")
    return it.process(
        "select_channels",
        (it.input(),),
        settings,
        height * width * steps + SELECTION_LAG + out_folds,
        memories=(rom, *(copy for _ in range(lanes))),
        constants={"channels": np.array(operation.channels, np.int64)},
    )
