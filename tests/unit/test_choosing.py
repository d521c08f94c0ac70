"""Choices for many layers: beside a bound that no choice can pass."""

from __future__ import annotations

import numpy as np
import pytest

from hwflow.plan.choosing import LayerOptions, Option, burden, choose
from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.folding import Fold


def layers(count: int, seed: int) -> list[LayerOptions]:
    """Layers whose options trade LUTs, DSPs and block RAM against one another."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        size = int(random.integers(20, 200))
        options = [
            Option(Fold(1, 1), "lut", place, 10, Resources(lut=lut, dsp=dsp, bram_18k=bram))
            for place, ram_lut, bram in (("lut", 4 * size, 0), ("bram", 0, int(size // 7)))
            for lut, dsp in ((40 * size + ram_lut, 0), (9 * size + ram_lut, size))
        ]
        found.append(LayerOptions.of(f"layer{index}", options))
    return found


def least_fullest(uses: list[np.ndarray], budget: np.ndarray) -> float:
    """A lower bound of the fullest resource's share, by prices found by subgradient steps."""
    shares, bound = np.full(len(KINDS), 1 / len(KINDS)), 0.0
    for turn in range(3_000):
        prices = shares / budget
        total = np.sum([use[np.argmin(use @ prices)] for use in uses], axis=0)
        bound = max(bound, float(total @ prices))
        filled = total / budget
        shares = shares * np.exp((filled / filled.max() - 1) / (1 + turn / 100))
        shares /= shares.sum()
    return bound


@pytest.mark.parametrize("seed", range(4))
def test_what_nearly_fits_is_found(seed: int) -> None:
    many = layers(40, seed)
    budget = np.array([60_000.0, 1e6, 1_500, 300, 1])
    bound = least_fullest([layer.uses for layer in many], budget)
    prices = 1 / budget
    assert choose(many, 10, budget * bound * 0.999, prices) is None  # proved impossible
    made = choose(many, 10, budget * bound * 1.08, prices)
    assert made is not None
    total = np.sum([[getattr(o.resources, kind) for kind in KINDS] for o in made], axis=0)
    assert np.all(total <= budget * bound * 1.08)


def test_with_room_to_spare_the_shares_are_balanced() -> None:
    many = layers(40, 9)
    budget = np.array([300_000.0, 1e6, 10_000, 2_000, 1])
    made = choose(many, 10, budget, 1 / budget)
    assert made is not None
    total = np.sum([[getattr(o.resources, kind) for kind in KINDS] for o in made], axis=0)
    for pick in range(4):  # the same option everywhere weighs more
        same = np.sum([layer.uses[pick] for layer in many], axis=0)
        assert burden(total, 1 / budget) < burden(same, 1 / budget)
