"""The load of weights at start-up: which words of it are whose, and how they get there.

All words come in through one port, layer after layer in the order of the data. A process for each
layer but the last deals its words out to it and passes the rest on to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwflow.plan import blocks
from hwflow.plan.streams import Process, StreamGraph

PORT_BITS = 64
"""Of a word of the load port: as many as a common DMA moves a cycle."""

WEIGHTS_FILE = "host/weights.bin"
"""In an HLS project: the words of a load, 64-bit integers, the least significant byte first."""

INDEX_FILE = "host/weights.json"
"""Which of the words are whose, and the file's SHA-256."""

READER_FILE = "host/weights_file.h"
"""C++ for a host that reads the words."""

STREAM_DEPTH = 16
"""Words of the FIFOs on the way: any depth will do, and this is what one SRL16 a bit holds."""


@dataclass(frozen=True)
class Load:
    """The words of one process.

    Attributes:
        process: its name.
        layer: that it serves.
        rows: of its memory.
        row_bits: of a row, in whole native integers.
        first_word: place of its first word in the load.
    """

    process: str
    layer: str
    rows: int
    row_bits: int
    first_word: int

    @property
    def words_a_row(self) -> int:
        """Words of the port that make a row; what the last has left over is zero."""
        return -(-self.row_bits // PORT_BITS)

    @property
    def words(self) -> int:
        """Words of the port for the whole memory."""
        return self.rows * self.words_a_row


def loads_of(graph: StreamGraph) -> tuple[Load, ...]:
    """What each process with a loaded memory takes of a load, in the order of the load."""
    found: list[Load] = []
    place = 0
    for process in graph.processes:
        if process.is_loaded:
            found.append(_load(process, place))
            place += found[-1].words
    return tuple(found)


def load_words(graph: StreamGraph) -> int:
    """Words of a whole load: cycles that the port takes for it, a word a cycle."""
    return sum(load.words for load in loads_of(graph))


def _load(process: Process, place: int) -> Load:
    memory = next(memory for memory in process.memories if memory.is_loaded)
    width = process.settings["weight_width"]
    bits = blocks.row_bits(width, process.multipliers)
    return Load(process.name, process.layer, memory.words, bits, place)
