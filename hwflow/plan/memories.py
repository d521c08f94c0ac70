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
    uram_load_port: bool = False,
) -> Memory:
    """Chooses a memory's storage, or takes the one given by hand.

    Args:
        role: `weights`, `biases` or `buffer`.
        words: depth.
        width_bits: of a word.
        storage: `auto`, `lut`, `bram` or `uram`.
        layer: for the error.
        uram_initialisable: whether the device's UltraRAM can be a ROM.
        uram_load_port: whether weights in an UltraRAM that cannot may be loaded at start-up.

    Raises:
        DesignError: for weights in an UltraRAM that can neither be initialised nor loaded.
    """
    is_loaded = storage == "uram" and role != "buffer" and not uram_initialisable
    if is_loaded and not uram_load_port:
        raise DesignError(
            Fault(
                "",
                "hardware.storage",
                f"layer {layer!r}: the UltraRAM of this device cannot be initialised (UG573), so "
                f"weights in it have to be loaded at start-up; allow that with "
                f"hardware.uram_load_port: true, or use bram, lut or auto",
            )
        )
    if storage == "auto":
        shallow = words <= LUT_DEPTH
        # a block RAM that would be filled to less than an eighth is better spent elsewhere
        sparse = words * width_bits * 8 < bram_18k(words, width_bits) * 18 * 1024
        storage = "lut" if shallow or (sparse and words <= 8 * LUT_DEPTH) else "bram"
    name = "lutram" if storage == "lut" else storage
    return Memory(role, words, width_bits, name, is_loaded)
