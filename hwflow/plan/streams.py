"""The hardware as processes joined by streams: what the HLS project instantiates.

One process is one call of one kernel; a stream joins exactly two processes, or a process and the
outside. Several processes make up a layer and share a source file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint
from hwflow.plan import blocks


@dataclass(frozen=True)
class Stream:
    """A FIFO of beats.

    Attributes:
        name: unique C++ identifier.
        tensor: the tensor of the integer graph whose values pass, each once and in order (row,
            column, channel), or nothing for windows.
        format: of the values.
        lanes: channels in a beat.
        channels: of a pixel; a multiple of `lanes`.
        pixels: an image.
        depth: beats that it can hold.
        reason: why this depth.
    """

    name: str
    tensor: str | None
    format: FixedPoint
    lanes: int
    channels: int
    pixels: int
    depth: int = 2
    reason: str = "straight pipeline"

    @property
    def beats(self) -> int:
        """Beats an image."""
        return self.pixels * (self.channels // self.lanes)

    @property
    def width_bits(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.format.width

    @property
    def size_bits(self) -> int:
        """Bits of the whole FIFO."""
        return self.depth * self.width_bits

    @property
    def storage(self) -> str:
        """What holds the beats: `srl` (shift registers) or `bram`."""
        return blocks.fifo_storage(self.depth, self.width_bits)


@dataclass(frozen=True)
class Memory:
    """A memory of constants or a buffer of a process.

    Attributes:
        role: `weights`, `biases`, `buffer`, or as `Process.constants` name it.
        words: depth.
        width_bits: of a word.
        storage: `bram`, `lutram` or `uram`.
        is_loaded: whether its contents come through the load port at start-up instead of standing
            in the code.
    """

    role: str
    words: int
    width_bits: int
    storage: str
    is_loaded: bool = False

    @property
    def size_bits(self) -> int:
        """Bits of the whole memory."""
        return self.words * self.width_bits


@dataclass(frozen=True, eq=False)
class Process:
    """One call of one kernel.

    Attributes:
        name: unique C++ identifier, the name of the function.
        kernel: name of the kernel function template.
        layer: the operation of the integer graph that it serves; names its source file.
        inputs: names of the streams it reads, in the kernel's order.
        outputs: names of the streams it writes.
        settings: members of the kernel's CONFIG beside types, by name.
        cycles: iterations of its pipelined loop an image, at an initiation interval of one.
        memories: what it stores.
        weights: raw integers `(kh, kw, Cin / groups, Cout)` of a convolution.
        biases: raw integers in the accumulator's unit, shape `(Cout,)`.
        channel_shifts: bits by which a channel's products are shifted beyond
            `settings["product_shift"]`, shape `(Cout,)`, or nothing.
        accumulator: format of the sums.
        target: format that sums are requantized to.
        divisor: of the sums of average pooling.
        maximum: greatest raw integer of the target where it is below the format's, or nothing.
        constants: of other kernels, by what they are: `table` (raw results by the bit pattern of
            the input), `channels` (that a selection takes), `row_scales` and `column_scales`.
        weight_format: of `weights`.
        multipliers: products a cycle.
        multiplier: what makes them: `lut`, `dsp`, `dsp_pair` (two products each), or `auto`
            (the tool's choice by their widths).
    """

    name: str
    kernel: str
    layer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, int]
    cycles: int
    memories: tuple[Memory, ...] = ()
    weights: npt.NDArray[np.int64] | None = None
    biases: npt.NDArray[np.int64] | None = None
    channel_shifts: npt.NDArray[np.int64] | None = None
    accumulator: FixedPoint | None = None
    target: FixedPoint | None = None
    divisor: int = 1
    maximum: int | None = None
    constants: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    weight_format: FixedPoint | None = None
    multipliers: int = 0
    multiplier: str = "auto"

    @property
    def is_loaded(self) -> bool:
        """Whether its weights come through the load port."""
        return any(memory.is_loaded for memory in self.memories)


@dataclass(frozen=True, eq=False)
class StreamGraph:
    """All processes in the order of execution, and the streams between them.

    Attributes:
        name: of the design.
        processes: in an order in which each reads only what earlier ones write.
        streams: by name.
        inputs: streams that come from outside.
        outputs: streams that go outside.
    """

    name: str
    processes: tuple[Process, ...]
    streams: Mapping[str, Stream]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    producers: Mapping[str, Process] = field(init=False, repr=False)
    consumers: Mapping[str, Process] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        producers = {name: p for p in self.processes for name in p.outputs}
        consumers = {name: p for p in self.processes for name in p.inputs}
        object.__setattr__(self, "producers", producers)
        object.__setattr__(self, "consumers", consumers)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, each once, in order."""
        return tuple(dict.fromkeys(process.layer for process in self.processes))

    def of_layer(self, layer: str) -> tuple[Process, ...]:
        """The processes of one layer."""
        return tuple(process for process in self.processes if process.layer == layer)

    @property
    def internal(self) -> tuple[Stream, ...]:
        """The FIFOs inside the design."""
        outside = {*self.inputs, *self.outputs}
        return tuple(stream for name, stream in self.streams.items() if name not in outside)

    @property
    def stream_bits(self) -> int:
        """Bits of all FIFOs inside the design."""
        return sum(stream.size_bits for stream in self.internal)

    def to_json(self) -> dict[str, Any]:
        """Everything but the constants, as plain data; `from_json` is the way back."""

        def plain(part: Any) -> dict[str, Any]:
            found = {}
            for item in fields(part):
                value = getattr(part, item.name)
                if isinstance(value, FixedPoint):
                    value = value.to_json()
                elif item.name == "memories":
                    value = [plain(memory) for memory in value]
                elif item.name == "settings":
                    value = dict(value)
                if item.name not in ("weights", "biases", "channel_shifts", "constants"):
                    found[item.name] = list(value) if isinstance(value, tuple) else value
            return found

        return {
            "name": self.name,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "stream_bits": self.stream_bits,
            "processes": [plain(process) for process in self.processes],
            "streams": [plain(stream) for stream in self.streams.values()],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StreamGraph:
        """A graph without constants.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one of `to_json`.
        """

        def given(entry: Mapping[str, Any], *formats: str) -> dict[str, Any]:
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()
            }
            for name in formats:
                if entry[name] is not None:
                    values[name] = FixedPoint(**entry[name])
            return values

        streams = [Stream(**given(entry, "format")) for entry in document["streams"]]
        processes = []
        for entry in document["processes"]:
            values = given(entry, "accumulator", "target", "weight_format")
            values["memories"] = tuple(Memory(**memory) for memory in entry["memories"])
            processes.append(Process(**values))
        return cls(
            document["name"],
            tuple(processes),
            {stream.name: stream for stream in streams},
            tuple(document["inputs"]),
            tuple(document["outputs"]),
        )
