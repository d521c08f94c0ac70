"""Where each memory lives: look-up tables, block RAM or UltraRAM."""

from __future__ import annotations

from hwflow.errors import DesignError, Fault
from hwflow.plan.blocks import LUT_DEPTH, bram_18k, luts
from hwflow.plan.streams import Memory

__all__ = ["bram_18k", "luts", "place"]


def place(
    role: str,
    words: int,
    width_bits: int,
    storage: str = "auto",
    *,
    layer: str = "",
    uram_initialisable: bool = False,
) -> Memory:
    """Chooses a memory's storage, or takes the one given by hand.

    Args:
        role: `weights`, `biases` or `buffer`.
        words: depth.
        width_bits: of a word.
        storage: `auto`, `lut`, `bram` or `uram`.
        layer: for the error.
        uram_initialisable: whether the device's UltraRAM can be a ROM.

    Raises:
        DesignError: for weights in an UltraRAM that cannot be initialised.
    """
    if storage == "uram" and role != "buffer" and not uram_initialisable:
        raise DesignError(
            Fault(
                "",
                "hardware.storage",
                f"layer {layer!r}: the UltraRAM of this device cannot be initialised, so it cannot "
                f"hold weights (UG573); use bram, lut or auto",
            )
        )
    if storage == "auto":
        shallow = words <= LUT_DEPTH
        # a block RAM that would be filled to less than an eighth is better spent elsewhere
        sparse = words * width_bits * 8 < bram_18k(words, width_bits) * 18 * 1024
        storage = "lut" if shallow or (sparse and words <= 8 * LUT_DEPTH) else "bram"
    return Memory(role, words, width_bits, "lutram" if storage == "lut" else storage)
