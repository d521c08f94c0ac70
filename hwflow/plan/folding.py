"""How far each layer is folded: legal folds, reuse factors, and the choice among them.

A convolution multiplies `simd` input channels with `pe` filters a cycle, of one tap of its window
or of all. Its reuse factor, the number of products that each multiplier makes for an output pixel,
is `(inputs / simd) * (filters / pe) * groups`, times the taps if they take their turn. A depthwise
one multiplies `pe` channels a cycle; the filters of a channel take their turn.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

from hwflow.errors import DesignError, Fault
from hwflow.plan.blocks import bram_18k
from hwflow.plan.parallel_window import ParallelWindow

DEFAULT_INTERVAL_CYCLES = 1_000_000
"""Cycles between images where the design names neither a reuse factor nor a target: 200 a second
at 200 MHz."""

LARGEST_WORD_BITS = 4096
"""A stream's widest beat: the widest AXI4-Stream of Vitis HLS (UG1399)."""

LARGEST_PARTITION = 4096
"""Elements that an array may be reshaped or partitioned into (Vitis HLS refuses more)."""


@functools.cache
def divisors(number: int) -> tuple[int, ...]:
    """All divisors, ascending."""
    return tuple(d for d in range(1, number + 1) if number % d == 0)


@dataclass(frozen=True)
class Fold:
    """How a convolution is folded.

    Attributes:
        simd: input channels a cycle, of one group; 1 of a depthwise layer.
        pe: filters a cycle, of one group; channels a cycle of a depthwise layer.
        taps: of the window a cycle: one, or all.
    """

    simd: int
    pe: int
    taps: int = 1

    @property
    def multipliers(self) -> int:
        """Products a cycle."""
        return self.simd * self.pe * self.taps

    @property
    def terms(self) -> int:
        """Products a cycle that are added to one sum."""
        return self.simd * self.taps


@dataclass(frozen=True)
class Foldable:
    """What a convolution's folds depend on.

    Attributes:
        name: of the layer.
        pixels: of the output.
        taps: kernel rows times columns.
        inputs: channels of a group.
        filters: output channels of a group.
        groups: number of channel groups.
        input_width: bits of an input value.
        output_width: bits of an output value.
        weight_width: bits of a weight.
        sum_width: bits of the sums.
        shift_bits: that tell by how much the products of a channel are shifted.
        input_pixels: of the input, where a sliding window reads them; else 0.
        buffer_pixels: that its line buffer holds.
        lead_pixels: that have been read when the first window is complete.
        window: with all taps at once, of any lanes, where windows are read; else nothing.
    """

    name: str
    pixels: int
    taps: int
    inputs: int
    filters: int
    groups: int
    input_width: int
    output_width: int
    weight_width: int = 8
    sum_width: int = 24
    shift_bits: int = 0
    input_pixels: int = 0
    buffer_pixels: int = 0
    lead_pixels: int = 0
    window: ParallelWindow | None = None

    @property
    def is_depthwise(self) -> bool:
        """Whether every filter reads one channel."""
        return self.inputs == 1 and self.groups > 1

    def folds(self) -> tuple[Fold, ...]:
        """Every legal fold, least multipliers first, and one tap a cycle before all."""
        lanes = self.groups if self.is_depthwise else self.filters
        found = [
            fold
            for taps in dict.fromkeys((1, self.taps if self.window else 1))
            for simd in divisors(self.inputs)
            for pe in divisors(lanes)
            if (fold := Fold(simd, pe, taps)).multipliers <= LARGEST_PARTITION
            and taps * self.input_lanes(fold) * self.input_width <= LARGEST_WORD_BITS
            and pe * self.output_width <= LARGEST_WORD_BITS
        ]
        return tuple(sorted(found, key=lambda fold: (fold.multipliers, fold.taps, fold.pe)))

    def window_of(self, fold: Fold) -> ParallelWindow:
        """The window that emits all taps of a fold at once."""
        assert self.window is not None
        return dataclasses.replace(self.window, lanes=self.input_lanes(fold))

    def reuse_factor(self, fold: Fold) -> int:
        """Products of one multiplier an output pixel."""
        total = self.taps * self.inputs * self.filters * self.groups
        return total // fold.multipliers

    @property
    def can_pair(self) -> bool:
        """Whether one DSP slice of 25 x 18 bits makes two products of an input, as
        `kernels/multipliers.h` lays them out.
        """
        apart = self.input_width + self.weight_width
        return not self.is_depthwise and apart + self.weight_width + 1 <= 25

    def input_lanes(self, fold: Fold) -> int:
        """Channels in the beats that a fold reads."""
        return fold.pe if self.is_depthwise else fold.simd

    def weight_words(self, fold: Fold) -> int:
        """Words of the weights' memory, one a cycle of a pixel's work."""
        return self.reuse_factor(fold)

    def product_cycles(self, fold: Fold) -> int:
        """Cycles an image of the products, at an initiation interval of one."""
        return self.pixels * self.reuse_factor(fold)

    def window_cycles(self, fold: Fold) -> int:
        """Cycles an image of the window, or none; tap by tap at most: it may read on while padding
        is made.
        """
        if fold.taps > 1:
            return self.window_of(fold).iterations
        if not self.input_pixels:
            return 0
        beats = self.inputs * self.groups // self.input_lanes(fold)  # of a pixel
        return (max(self.input_pixels, self.pixels * self.taps) + self.lead_pixels) * beats

    def cycles(self, fold: Fold) -> int:
        """Cycles an image: of the products, or of the window if that takes longer."""
        return max(self.product_cycles(fold), self.window_cycles(fold))

    def reuse_factors(self) -> tuple[int, ...]:
        """Every legal reuse factor, ascending."""
        return tuple(sorted({self.reuse_factor(fold) for fold in self.folds()}))


def fold_for_reuse_factor(layer: Foldable, reuse_factor: int, fault_at: str = "") -> Fold:
    """The fold with a reuse factor given by hand: one tap a cycle where that can be, and the
    squarest where several have it.

    Raises:
        DesignError: if no fold has it, naming the nearest that are legal.
    """
    legal = [fold for fold in layer.folds() if layer.reuse_factor(fold) == reuse_factor]
    if not legal:
        near = sorted(layer.reuse_factors(), key=lambda rf: (abs(rf - reuse_factor), rf))[:4]
        raise DesignError(
            Fault(
                fault_at,
                "hardware.reuse_factor",
                f"{reuse_factor} is not legal for layer {layer.name!r} ({layer.taps} taps x "
                f"{layer.inputs} inputs x {layer.filters} filters); nearest are "
                f"{', '.join(map(str, sorted(near)))}",
            )
        )
    return min(legal, key=lambda fold: (fold.taps, _squareness(fold)))


SPARE_MULTIPLIERS = 1.15
"""How many times the fewest multipliers a fold may have if its beats suit the neighbour better."""


def fold_for_interval(layer: Foldable, interval_cycles: int, input_lanes: int = 1) -> Fold:
    """The fold with few multipliers that needs no more than the given cycles an image.

    One tap a cycle unless that is too slow. Among folds within `SPARE_MULTIPLIERS` of the fewest,
    the one whose beats suit those that arrive. Where no fold is fast enough, the fastest.

    Args:
        layer: what is folded.
        interval_cycles: cycles an image that are allowed.
        input_lanes: channels in the beats that arrive.
    """
    folds = layer.folds()
    fast = [fold for fold in folds if layer.cycles(fold) <= interval_cycles]
    if not fast:
        most = max(fold.multipliers for fold in folds)
        return min((fold for fold in folds if fold.multipliers == most), key=_squareness)
    fewest_taps = min(fold.taps for fold in fast)
    fast = [fold for fold in fast if fold.taps == fewest_taps]
    fewest = min(fold.multipliers for fold in fast)
    near = [fold for fold in fast if fold.multipliers <= SPARE_MULTIPLIERS * fewest]

    def mismatch(fold: Fold) -> int:
        """Repacks that the beats which arrive need."""
        lanes = layer.input_lanes(fold)
        if lanes == input_lanes:
            return 0
        return 1 if lanes % input_lanes == 0 or input_lanes % lanes == 0 else 2

    def blocks(fold: Fold) -> int:
        """Block RAMs that words of such a width fill."""
        return bram_18k(layer.weight_words(fold), fold.multipliers * layer.weight_width)

    return min(
        near, key=lambda fold: (mismatch(fold), blocks(fold), fold.multipliers, _squareness(fold))
    )


def _squareness(fold: Fold) -> tuple[float, int]:
    larger, smaller = max(fold.simd, fold.pe), min(fold.simd, fold.pe)
    return (larger / smaller, fold.pe)


def with_neighbour(fewest: int, channels: int, given: int) -> int:
    """Lanes where each costs something: no more than are needed, if one repack of the beats that
    arrive does.

    Args:
        fewest: lanes that are fast enough.
        channels: that the lanes must divide.
        given: lanes of the neighbour.
    """
    fits = [lanes for lanes in divisors(given) if lanes >= fewest and channels % lanes == 0]
    return min(fits, default=fewest)


def lanes_for_interval(
    channels: int, beats_at_one_lane: int, interval_cycles: int, width: int, preferred: int
) -> int:
    """Channels a cycle for a process without multipliers.

    Args:
        channels: that the lanes must divide.
        beats_at_one_lane: cycles an image with a single lane.
        interval_cycles: cycles an image that are allowed.
        width: bits of a value.
        preferred: lanes of the neighbour; taken where legal and fast enough.
    """
    legal = [lanes for lanes in divisors(channels) if lanes * width <= LARGEST_WORD_BITS]
    fast = [lanes for lanes in legal if beats_at_one_lane // lanes <= interval_cycles]
    if preferred in fast:
        return preferred
    return min(fast) if fast else max(legal)
