"""Output heads."""

from __future__ import annotations

from hwflow.opset import Softmax, TopKIndices, TopKValues
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.streams import Memory


@builds(TopKIndices, TopKValues)
def top_k(it: Instance) -> str:
    """The channels of each pixel are sorted as they come."""
    operation = it.operation
    assert isinstance(operation, TopKIndices | TopKValues)
    height, width, channels = it.source().shape
    settings = {
        "pixels": height * width,
        "channels": channels,
        "lanes": it.lanes,
        "k": operation.k,
        "gives_values": int(isinstance(operation, TopKValues)),
    }
    return it.process("top_k", (it.input(),), settings, height * width * (channels // it.lanes))


@builds(Softmax)
def softmax(it: Instance) -> str:
    """Three passes over the channels of each pixel."""
    operation = it.operation
    assert isinstance(operation, Softmax)
    height, width, channels = it.source().shape
    largest, entries = int(operation.table[0]), operation.table.size
    exponential_width = largest.bit_length()
    settings = {
        "pixels": height * width,
        "channels": channels,
        "lanes": it.lanes,
        "entries": entries,
        "fraction_bits": operation.format.fraction_bits,
        "exponential_width": exponential_width,
        "sum_width": (largest * channels).bit_length(),
    }
    return it.process(
        "softmax",
        (it.input(),),
        settings,
        3 * height * width * channels,
        memories=(
            Memory("table", entries, exponential_width, "lutram"),
            Memory("buffer", channels, it.source().format.width, "lutram"),
            Memory("buffer", channels, exponential_width, "lutram"),
        ),
        constants={"table": operation.table},
    )
