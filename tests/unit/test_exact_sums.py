"""Convolutions and pools as they are evaluated, against all windows at once in 64-bit integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.fixed_point import BLOCK, FixedPoint, Overflow, Rounding, blockwise
from hwflow.opset import Conv2D, MaxPool2D, SumPool2D, Table
from hwflow.opset import convolution as module
from tests.support.plain import convolution, windows

EXACT = settings(deadline=None, derandomize=True, database=None, max_examples=200)

FLOAT32, FLOAT64 = 1 << 24, 1 << 53
"""The greatest peaks that the types are proved for."""


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Everything of a convolution but its numbers: depthwise, grouped, strided, padded, odd."""
    groups = draw(st.sampled_from((1, 1, 2, 3, 5)))
    return {
        "window": draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        "inputs": draw(st.integers(1, 6)),
        "filters": draw(st.integers(1, 4)),
        "groups": groups,
        "size": draw(st.tuples(st.integers(4, 9), st.integers(4, 9))),
        "strides": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": draw(st.tuples(*[st.integers(0, 3)] * 4)),
        "seed": draw(st.integers(0, 10**6)),
        "block": draw(st.sampled_from((1, 40, 1 << 18))),
    }


def made(shape: dict[str, Any], weights: int, inputs: int, extreme: bool) -> tuple[Conv2D, Any]:
    """A convolution and what it reads: numbers up to given magnitudes, or those alone."""
    rng = np.random.default_rng(shape["seed"])

    def numbers(size: tuple[int, ...], magnitude: int) -> Any:
        if extreme:
            return rng.choice([-magnitude, magnitude], size)
        return rng.integers(-magnitude, magnitude + 1, size)

    groups = shape["groups"]
    kernels = (*shape["window"], shape["inputs"], shape["filters"] * groups)
    operation = Conv2D(
        "conv",
        ("source",),
        weights=numbers(kernels, weights),
        biases=rng.integers(-1000, 1000, shape["filters"] * groups),
        weight_format=FixedPoint(32, 32),
        strides=shape["strides"],
        padding=shape["padding"],
        groups=groups,
    )
    return operation, numbers((2, *shape["size"], shape["inputs"] * groups), inputs)


@given(shapes(), st.sampled_from((2, 4, 8, 12, 16, 24)), st.integers(1, 24), st.booleans())
@EXACT
def test_convolutions_of_all_widths_are_exact(
    shape: dict[str, Any], weight_width: int, input_width: int, extreme: bool
) -> None:
    weights, inputs = (1 << (weight_width - 1)) - 1, (1 << input_width) - 1
    operation, tensor = made(shape, weights, inputs, extreme)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_VALUES", shape["block"])
        found = operation.evaluate(tensor)
    np.testing.assert_array_equal(found, convolution(operation, tensor))


@pytest.mark.parametrize("limit", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("groups", "filters"), [(1, 3), (4, 4), (2, 6)])
def test_the_bounds_of_the_proof_are_reached_and_no_further(
    limit: int, beyond: bool, sign: int, groups: int, filters: int
) -> None:
    """Sums that are the greatest that a type is used for: odd on the way, and one more beyond."""
    inputs = 8 // groups
    count = 4 * inputs
    weight = limit // 256 // count
    weights = np.full((2, 2, inputs, filters), weight)
    weights[0, 0, 0] += limit // 256 - weight * count + beyond
    operation = Conv2D(
        "c", ("s",), weights, np.zeros(filters, np.int64), FixedPoint(54, 54), groups=groups
    )
    tensor = np.full((1, 3, 3, 8), sign * 256)
    tensor[0, 1:, 1:, 1::2] -= sign  # odd products on the way
    peak = 256 * int(np.abs(weights).sum(axis=(0, 1, 2)).max())
    assert peak == limit + 256 * beyond
    order = [np.float32, np.float64, np.int64]
    expected = order[(0 if limit == FLOAT32 else 1) + beyond]
    assert operation.exact_type(tensor) is expected
    np.testing.assert_array_equal(operation.evaluate(tensor), convolution(operation, tensor))
    largest = np.full((1, 2, 2, 8), sign * 256)
    assert operation.evaluate(largest).ravel().tolist() == [sign * peak] * filters


def test_float32_would_not_do_beyond_its_bound() -> None:
    """What the proof is for: one more product, and float32 loses the last bit."""
    weights = np.ones((1, 1, 2, 1), np.int64)
    weights[0, 0, 0] = FLOAT32
    operation = Conv2D("c", ("s",), weights, np.zeros(1, np.int64), FixedPoint(32, 32))
    tensor = np.ones((1, 1, 1, 2), np.int64)
    assert np.float32(FLOAT32) + np.float32(1) == FLOAT32
    assert operation.exact_type(tensor) is np.float64
    assert operation.evaluate(tensor).item() == FLOAT32 + 1


@given(shapes(), st.integers(1, 62))
@EXACT
def test_pools_of_all_windows_are_exact(shape: dict[str, Any], width: int) -> None:
    (rows, columns), sizes = shape["window"], shape["size"]
    padding = tuple(
        min(border, window - 1)
        for border, window in zip(shape["padding"], (rows, rows, columns, columns), strict=True)
    )
    top, bottom, left, right = padding
    border = (top, bottom, left, right)
    bound = (1 << width) // (rows * columns)
    rng = np.random.default_rng(shape["seed"])
    tensor = rng.integers(-bound, bound + 1, (2, *sizes, shape["inputs"]))
    arguments = ((rows, columns), shape["strides"], border)
    least = int(np.iinfo(np.int64).min)
    highest = windows(tensor, *arguments, least).max(axis=(4, 5))
    total = windows(tensor, *arguments, 0).sum(axis=(4, 5))
    np.testing.assert_array_equal(MaxPool2D("m", ("s",), *arguments).evaluate(tensor), highest)
    np.testing.assert_array_equal(SumPool2D("a", ("s",), *arguments).evaluate(tensor), total)


@pytest.mark.parametrize("shape", [(3, 2 * BLOCK // 3), (1, BLOCK), (BLOCK + 1,), (0, 4), ()])
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_are_put_together_as_they_were(shape: tuple[int, ...], order: Any) -> None:
    values = np.asarray(np.random.default_rng(0).integers(-99, 99, shape), np.int16, order=order)
    sizes = []

    def squares(block: Any) -> Any:
        sizes.append(block.size)
        return block.astype(np.int64) ** 2

    found = blockwise(squares, values)
    assert (found.shape, found.dtype) == (values.shape, np.int64)
    np.testing.assert_array_equal(found, values.astype(np.int64) ** 2)
    assert max(sizes) <= BLOCK


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize(("fraction_bits", "divisor"), [(7, 1), (0, 1), (3, 1), (7, 49), (2, 3)])
def test_many_values_are_rescaled_as_few_are(
    rounding: Rounding, fraction_bits: int, divisor: int
) -> None:
    target = FixedPoint(8, 5, True, rounding, Overflow.SAT)
    raw = np.random.default_rng(1).integers(-(1 << 14), 1 << 14, (3, BLOCK // 2))
    whole = target.rescale(raw, fraction_bits, divisor)
    few = [target.rescale(part, fraction_bits, divisor) for part in np.split(raw.ravel(), 96)]
    np.testing.assert_array_equal(whole.ravel(), np.concatenate(few))
    real = raw / 8
    few = [target.quantize(part) for part in np.split(real.ravel(), 96)]
    np.testing.assert_array_equal(target.quantize(real).ravel(), np.concatenate(few))


def test_tables_of_many_values_are_looked_up_in_blocks() -> None:
    values = np.random.default_rng(0).integers(0, 256, 256)
    table = Table("t", ("s",), values, FixedPoint(8, 8, False), is_signed=True)
    tensor = np.random.default_rng(1).integers(-128, 128, (2, 150, 120, 3))
    np.testing.assert_array_equal(table.evaluate(tensor), values[tensor + 128])
