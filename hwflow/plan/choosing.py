"""The choice of one option for each layer, so that all together fit and none is too slow.

A layer's options are its folds, each with products in LUTs or DSPs and weights in LUTs or block
RAM. For a given interval, those that are fast enough and not worse than another in every resource
remain. Few layers are chosen for exactly, by merging their sets; many by prices: every layer takes
what is cheapest at the resources' prices, which rise for what is scarce, and then single layers
change their choice as long as the fullest resource gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hwflow.plan import cost
from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.folding import Fold, Foldable

FloatArray = npt.NDArray[np.float64]

LARGEST_EXACT = 20_000
"""Combinations up to which sets are merged exactly."""

PRICE_ROUNDS = 40


@dataclass(frozen=True)
class Option:
    """One way to build a convolution.

    Attributes:
        fold: how it is folded.
        multiplier: `lut` or `dsp`.
        storage: of the weights, as a design names it: `lut`, `bram` or `uram`.
        period: cycles from frame to frame.
        resources: of the engine and its sliding window.
    """

    fold: Fold
    multiplier: str
    storage: str
    period: int
    resources: Resources


@dataclass(frozen=True, eq=False)
class LayerOptions:
    """The options of a layer, the fastest first.

    Attributes:
        name: of the layer.
        options: all of them.
        periods: of each option, shape `(N,)`.
        uses: of each option by kind of resource, shape `(N, 5)`.
    """

    name: str
    options: tuple[Option, ...]
    periods: npt.NDArray[np.int64]
    uses: FloatArray
    _undominated: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, name: str, options: Sequence[Option]) -> LayerOptions:
        """Orders the options."""
        chosen = tuple(sorted(options, key=lambda option: option.period))
        uses = np.array(
            [[getattr(o.resources, kind) for kind in KINDS] for o in chosen], np.float64
        )
        return cls(name, chosen, np.array([o.period for o in chosen], np.int64), uses)

    def within(self, interval: int) -> npt.NDArray[np.int64]:
        """Places of the options that are fast enough and not dominated."""
        count = int(np.searchsorted(self.periods, interval, side="right"))
        if count not in self._undominated:
            self._undominated[count] = undominated(self.uses[:count])
        return self._undominated[count]


def undominated(uses: FloatArray) -> npt.NDArray[np.int64]:
    """Places of the rows that no other row undercuts or equals in every column."""
    order = np.lexsort(uses.T[::-1])
    kept: list[int] = []
    for place in order:
        row = uses[place]
        if not kept or not np.any(np.all(uses[kept] <= row, axis=1)):
            kept.append(int(place))
    return np.array(kept, np.int64)


def choose(
    layers: Sequence[LayerOptions], interval: int, budget: FloatArray, weights: FloatArray
) -> list[Option] | None:
    """One option for each layer within an interval and a budget, or None where none is found.

    Args:
        layers: to choose for.
        interval: cycles that a frame may take.
        budget: of each kind of resource, shape `(5,)`; of it the fullest is kept least full.
        weights: prices at which a choice that fits is the better one, shape `(5,)`.
    """
    sets = [layer.within(interval) for layer in layers]
    if any(len(places) == 0 for places in sets) or np.any(budget < 0):
        return None
    uses = [layer.uses[places] for layer, places in zip(layers, sets, strict=True)]
    scale = np.where(budget > 0, budget, 1e-9)
    picks = _merged(uses, scale, weights) if _is_small(uses) else _priced(uses, scale, weights)
    total = np.sum([use[pick] for use, pick in zip(uses, picks, strict=True)], axis=0)
    if np.any(total > budget):
        return None
    return [
        layer.options[int(places[pick])]
        for layer, places, pick in zip(layers, sets, picks, strict=True)
    ]


def _is_small(uses: Sequence[FloatArray]) -> bool:
    size = 1
    for use in uses:
        size *= len(use)
        if size > LARGEST_EXACT:
            return False
    return True


def _merged(uses: Sequence[FloatArray], budget: FloatArray, weights: FloatArray) -> list[int]:
    """All combinations: the cheapest that fits, else the one whose fullest resource is least."""
    shapes = [len(use) for use in uses]
    totals = np.zeros((1, len(KINDS)))
    for use in uses:
        totals = (totals[:, None, :] + use[None, :, :]).reshape(-1, len(KINDS))
    fullest = np.max(totals / budget, axis=1)
    price = np.where(fullest <= 1, totals @ weights, np.inf)
    best = int(np.argmin(price)) if np.isfinite(price).any() else int(np.argmin(fullest))
    return [int(place) for place in np.unravel_index(best, shapes)] if shapes else []


def _priced(uses: Sequence[FloatArray], budget: FloatArray, weights: FloatArray) -> list[int]:
    prices = weights.copy()
    best: list[int] = []
    best_fullest = np.inf
    for _ in range(PRICE_ROUNDS):
        picks = [int(np.argmin(use @ prices)) for use in uses]
        filled = np.sum([u[p] for u, p in zip(uses, picks, strict=True)], axis=0) / budget
        fullest = float(filled.max())
        if fullest < best_fullest:
            best, best_fullest = picks, fullest
        if fullest <= 1:
            return picks
        prices = prices * np.exp(2 * (filled / fullest - 1)) + weights * 1e-6
    return _improved(uses, budget, best)


def _improved(uses: Sequence[FloatArray], budget: FloatArray, picks: list[int]) -> list[int]:
    """Changes single layers as long as the fullest resource gains."""
    picks = list(picks)
    total = np.sum([u[p] for u, p in zip(uses, picks, strict=True)], axis=0)
    fullest = float((total / budget).max())
    changed = True
    while changed and fullest > 1:
        changed = False
        for layer, use in enumerate(uses):
            after = (total - use[picks[layer]] + use) / budget
            candidate = int(np.argmin(after.max(axis=1)))
            if after[candidate].max() < fullest - 1e-12:
                total = total - use[picks[layer]] + use[candidate]
                picks[layer], fullest, changed = candidate, float(after[candidate].max()), True
    return picks


def convolution_options(
    layer: Foldable,
    latency: int,
    folds: Sequence[Fold],
    storage: str = "auto",
    *,
    uram_initialisable: bool = False,
) -> list[Option]:
    """Every way to build a convolution with some folds.

    Args:
        layer: its shape and widths.
        latency: ticks that a process's period exceeds its cycles by, for one input a cycle.
        folds: to consider.
        storage: given by hand, or `auto`.
        uram_initialisable: whether weights may stand in UltraRAM.
    """
    options = []
    for fold in folds:
        period = layer.cycles(fold) + latency + (fold.simd - 1).bit_length()
        extra = cost.NOTHING
        if layer.buffer_pixels:
            buffer = cost.buffer_memory(layer, fold)
            extra = cost.window(buffer.words, buffer.width_bits, buffer.storage)
        storages = [storage] if storage != "auto" else ["lut", "bram"]
        if storage == "auto" and uram_initialisable:
            storages.append("uram")
        for place in storages:
            name = "lutram" if place == "lut" else place
            for impl in ("lut", "dsp"):
                made = cost.convolution(layer, fold, impl, name) + extra
                options.append(Option(fold, impl, place, period, made))
    return options
