"""The choice of one option for each layer, so that all together fit and none is too slow.

A layer's options are its folds, each with products in LUTs or DSPs and weights in LUTs or block
RAM. For a given interval, those that are fast enough and not worse than another in every resource
remain. Few layers are chosen for exactly, by merging their sets; many by prices: every layer takes
what is cheapest at the resources' prices, which rise for what is scarce, and then single layers
change their choice as long as the fullest resource gains.
"""

from __future__ import annotations

import functools
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

PRICE_ROUNDS = 200
_NEVER = 1e30  # of each kind: what no device has


@dataclass(frozen=True)
class Option:
    """One way to build a convolution.

    Attributes:
        fold: how it is folded.
        multiplier: `lut`, `dsp` or `dsp_pair`.
        storage: of the weights, as a design names it: `lut`, `bram` or `uram`.
        period: cycles from frame to frame.
        resources: of the engine, and of its window with the FIFO between them.
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
    layers: Sequence[LayerOptions],
    interval: int,
    budget: FloatArray,
    weights: FloatArray,
    start: Sequence[Option] | None = None,
) -> list[Option] | None:
    """One option for each layer within an interval and a budget, or None where none is found.

    Args:
        layers: to choose for.
        interval: cycles that a frame may take.
        budget: of each kind of resource, shape `(5,)`; of it the fullest is kept least full.
        weights: of choices that fit, the one with the least `burden` at these is the better one,
            shape `(5,)`.
        start: a choice within the interval that nearly fits: where changes of single layers make
            it fit, no other is sought.
    """
    sets = [layer.within(interval) for layer in layers]
    if any(len(places) == 0 for places in sets) or np.any(budget < 0):
        return None
    uses = [layer.uses[places] for layer, places in zip(layers, sets, strict=True)]
    scale = np.where(budget > 0, budget, 1e-9)
    picks: Sequence[int] | None = None
    if _is_small(uses):
        picks = _merged(uses, scale, weights)
    elif start is not None:
        picks = _changed(layers, sets, uses, scale, weights, start)
    if picks is None:
        picks = _priced(uses, scale, weights)
    total = np.sum([use[pick] for use, pick in zip(uses, picks, strict=True)], axis=0)
    if np.any(total > budget):
        return None
    return [
        layer.options[int(places[pick])]
        for layer, places, pick in zip(layers, sets, picks, strict=True)
    ]


def burden(totals: FloatArray, weights: FloatArray) -> FloatArray:
    """How heavily totals weigh: the sum of squared shares, so that none is filled for another.

    Args:
        totals: of each kind of resource, shape `(..., 5)`.
        weights: shares that one of each kind is, shape `(5,)`.
    """
    return np.asarray(((totals * weights) ** 2).sum(axis=-1))


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
    price = np.where(fullest <= 1, burden(totals, weights), np.inf)
    best = int(np.argmin(price)) if np.isfinite(price).any() else int(np.argmin(fullest))
    return [int(place) for place in np.unravel_index(best, shapes)] if shapes else []


def _changed(
    layers: Sequence[LayerOptions],
    sets: Sequence[npt.NDArray[np.int64]],
    uses: Sequence[FloatArray],
    budget: FloatArray,
    weights: FloatArray,
    start: Sequence[Option],
) -> list[int] | None:
    """A choice that fits after changes of single layers, or None."""
    picks = [
        next(pick for pick, place in enumerate(places) if layer.options[int(place)] is option)
        for layer, places, option in zip(layers, sets, start, strict=True)
    ]
    table = _Table.of(uses, budget)
    changed = table.improved(np.array(picks, np.int64), budget)
    if np.any(table.total(changed) > budget):
        return None
    return [int(pick) for pick in table.cheapened(changed, budget, weights)]


def _priced(uses: Sequence[FloatArray], budget: FloatArray, weights: FloatArray) -> list[int]:
    """Picks by prices that rise for what is scarce: the cheapest found that fits, else the best.

    Each round every layer takes what is cheapest at the prices. The sum at those prices bounds what
    any picks can reach from below: once that is beyond the budget, nothing fits.
    """
    table = _Table.of(uses, budget)
    picks = table.cheapest(weights)
    best, best_fullest = picks, float((table.total(picks) / budget).max())
    fitting = picks if best_fullest <= 1 else None
    shares = np.full(len(KINDS), 1 / len(KINDS))
    for turn in range(PRICE_ROUNDS):
        picks = table.cheapest(shares / budget)
        filled = table.total(picks) / budget
        if filled @ shares > 1:
            break  # a bound for all picks
        fullest = float(filled.max())
        if fullest < best_fullest:
            best, best_fullest = picks, fullest
        if fullest <= 1 and (
            fitting is None
            or burden(table.total(picks), weights) < burden(table.total(fitting), weights)
        ):
            fitting = picks
        shares = shares * np.exp((filled / fullest - 1) / (1 + turn / 40))
        shares /= shares.sum()
    if fitting is None:
        fitting = table.improved(best, budget)
    return [int(pick) for pick in table.cheapened(fitting, budget, weights)]


@dataclass(frozen=True, eq=False)
class _Table:
    """What the options of all layers take, padded to one shape.

    Attributes:
        uses: shape `(L, N, 5)`; `_NEVER` where a layer has no such option, or it can never fit.
    """

    uses: FloatArray

    @classmethod
    def of(cls, uses: Sequence[FloatArray], budget: FloatArray) -> _Table:
        table = np.full((len(uses), max(map(len, uses)), len(KINDS)), _NEVER)
        for layer, use in enumerate(uses):
            fits = np.all(use <= budget, axis=1)
            table[layer, : len(use)] = np.where(fits[:, None] | ~fits.any(), use, _NEVER)
        return cls(table)

    def cheapest(self, prices: FloatArray) -> npt.NDArray[np.int64]:
        """The option of each layer that costs least, shape `(L,)`."""
        return np.asarray(np.argmin(self.uses @ prices, axis=1))

    def total(self, picks: npt.NDArray[np.int64]) -> FloatArray:
        """What the picked options take together, shape `(5,)`."""
        return np.asarray(self.uses[np.arange(len(picks)), picks].sum(axis=0))

    def improved(self, picks: npt.NDArray[np.int64], budget: FloatArray) -> npt.NDArray[np.int64]:
        """Changes single layers as long as the fullest resource gains."""
        picks = picks.copy()
        rows = np.arange(len(picks))
        total = self.total(picks)
        fullest = float((total / budget).max())
        while fullest > 1:
            after = (total - self.uses[rows, picks][:, None, :] + self.uses) / budget
            worst = after.max(axis=2)
            layer, option = np.unravel_index(int(np.argmin(worst)), worst.shape)
            if worst[layer, option] >= fullest - 1e-12:
                break
            picks[layer] = option
            total, fullest = self.total(picks), float(worst[layer, option])
        return picks

    def cheapened(
        self, picks: npt.NDArray[np.int64], budget: FloatArray, prices: FloatArray
    ) -> npt.NDArray[np.int64]:
        """Changes single layers as long as picks that fit weigh less and still fit."""
        picks = picks.copy()
        rows = np.arange(len(picks))
        least = float(burden(self.total(picks), prices))
        while np.all(self.total(picks) <= budget):
            after = self.total(picks) - self.uses[rows, picks][:, None, :] + self.uses
            weight = np.where(np.all(after <= budget, axis=2), burden(after, prices), np.inf)
            layer, option = np.unravel_index(int(np.argmin(weight)), weight.shape)
            if weight[layer, option] >= least * (1 - 1e-12):
                break
            picks[layer] = option
            least = float(weight[layer, option])
        return picks


@functools.lru_cache(maxsize=1024)
def layer_options(
    layer: Foldable,
    latency: int,
    window_latency: int,
    folds: tuple[Fold, ...],
    storage: str = "auto",
    multiplier: str = "auto",
    *,
    uram_initialisable: bool = False,
    uram_load_port: bool = False,
) -> LayerOptions:
    """Every way to build a convolution with some folds.

    Args:
        layer: its shape and widths.
        latency: ticks by which the period of its products exceeds their cycles, for one input a
            cycle.
        window_latency: likewise of its window.
        folds: to consider.
        storage: given by hand, or `auto`.
        multiplier: likewise.
        uram_initialisable: whether weights may stand in UltraRAM as constants.
        uram_load_port: whether they may be loaded into it where they cannot.
    """
    options = []
    for fold in folds:
        period = max(
            layer.product_cycles(fold) + latency + (fold.terms - 1).bit_length(),
            layer.window_cycles(fold) + window_latency,
        )
        extra = cost.window_of(layer, fold) if layer.buffer_pixels else cost.NOTHING
        multipliers = [multiplier] if multiplier != "auto" else ["lut", "dsp"]
        if multiplier == "auto" and layer.can_pair and fold.pe > 1:
            multipliers.append("dsp_pair")
        storages = [storage] if storage != "auto" else ["lut", "bram"]
        if storage == "auto" and (uram_initialisable or uram_load_port):
            storages.append("uram")
        for place in storages:
            name = "lutram" if place == "lut" else place
            is_loaded = place == "uram" and not uram_initialisable
            for impl in multipliers:
                made = cost.convolution(layer, fold, impl, name, is_loaded=is_loaded) + extra
                options.append(Option(fold, impl, place, period, made))
    return LayerOptions.of(layer.name, options)
