"""What a design or a plan says of the hardware, as far as the mapping needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hwflow.plan import folding


class LayerChoice(Protocol):
    """What the design says of one layer."""

    @property
    def reuse_factor(self) -> int | None: ...
    @property
    def storage(self) -> str: ...
    @property
    def multiplier(self) -> str: ...


@dataclass(frozen=True)
class Choices:
    """What the design says of the hardware.

    Attributes:
        for_layer: reuse factor, storage and multiplier of a layer by its name.
        explicit: whether a reuse factor was given for this very layer, and so must be legal.
        interval_cycles: cycles an image where no reuse factor is given.
        fastest: fold as little as legal (`strategy: latency`).
        uram_initialisable: whether the device's UltraRAM can hold constants.
        uram_load_port: whether weights may be loaded into UltraRAM that cannot.
        folds: of convolutions by name, as a plan chose them; they come before everything else.
        storages: of weights by the convolution's name, as a plan chose them.
        multipliers: `lut`, `dsp` or `dsp_pair` by the convolution's name, as a plan chose them.
        simulate_depths: find the depths of the FIFOs by simulation; otherwise they only keep the
            network from blocking.
    """

    for_layer: Callable[[str], LayerChoice]
    explicit: Callable[[str], bool] = lambda name: False
    interval_cycles: int = folding.DEFAULT_INTERVAL_CYCLES
    fastest: bool = False
    uram_initialisable: bool = False
    uram_load_port: bool = False
    folds: Mapping[str, folding.Fold] = field(default_factory=dict)
    storages: Mapping[str, str] = field(default_factory=dict)
    multipliers: Mapping[str, str] = field(default_factory=dict)
    simulate_depths: bool = False

    @property
    def wanted_cycles(self) -> int:
        """Cycles an image that a process without a fold of its own should not exceed."""
        return 1 if self.fastest else self.interval_cycles
