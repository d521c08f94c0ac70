"""Pruning, sharing and DoReFa's curve, by what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from hwflow.quantize import compress


@pytest.mark.parametrize("density", [0.01, 0.35, 0.9])
def test_the_largest_weights_are_left(density: float) -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 10))
    found = compress.pruned(kernel, density)
    left = found != 0
    assert left.sum() == round(density * kernel.size)
    np.testing.assert_array_equal(found[left], kernel[left])
    assert np.abs(kernel[left]).min() >= np.abs(kernel[~left]).max()


def test_what_is_sparse_already_is_kept() -> None:
    kernel = np.array([[0.0, 3.0, 0.0, 1e-9]])
    assert compress.pruned(kernel, 0.5) is kernel
    assert np.count_nonzero(compress.pruned(kernel, 0.25)) == 1
    assert np.count_nonzero(compress.pruned(kernel, 1e-6)) == 1  # something must be left


@pytest.mark.parametrize("values", [2, 3, 16, 256])
def test_shared_weights_are_few_and_zeros_stay(values: int) -> None:
    kernel = compress.pruned(np.random.default_rng(2).normal(size=(5, 200)), 0.6)
    found = compress.shared(kernel, values)
    assert 1 < np.unique(found).size <= values
    np.testing.assert_array_equal(found == 0, kernel == 0)
    # each weight went to the nearest centre
    centres = np.unique(found[found != 0])
    kept = kernel[kernel != 0]
    nearest = np.abs(kept[:, None] - centres).min(axis=1)
    np.testing.assert_allclose(np.abs(found[kernel != 0] - kept), nearest, atol=1e-12)


def test_more_values_lose_less_and_k_means_beats_equal_steps() -> None:
    kernel = np.random.default_rng(3).normal(size=(1, 4000))
    losses = [np.square(compress.shared(kernel, n) - kernel).sum() for n in (4, 16, 64)]
    assert losses[0] > losses[1] > losses[2]
    steps = np.linspace(kernel.min(), kernel.max(), 16)
    equal = np.square(np.abs(kernel.T - steps).min(axis=1)).sum()
    assert losses[1] < equal


def test_what_is_shared_already_is_kept() -> None:
    kernel = np.random.default_rng(4).choice([0.0, -0.3, 0.1, 0.7], (4, 50))
    assert compress.shared(kernel, 4) is kernel
    assert compress.shared(np.zeros((2, 2)), 2) is not None
    assert np.unique(compress.shared(kernel, 3)).size == 3


def test_the_curve_keeps_signs_order_and_range() -> None:
    kernel = np.linspace(-1.5, 3.0, 19)
    found = compress.tanh_normalised(kernel)
    assert found.max() == pytest.approx(3.0)
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, np.tanh(kernel) / np.tanh(3.0) * 3.0)
    assert not compress.tanh_normalised(np.zeros(3)).any()
