"""requantize against FixedPoint.rescale: every mode, whole ranges, exact division."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.hls.packing import Requantization, reciprocal
from tests.support.kernel_cases import config, constants, types
from tests.support.kernel_harness import FAST, STRICT, Case, Port, run_cases

MODES = list(itertools.product(Rounding, Overflow))


def check(
    requantizations: Sequence[Requantization],
    values: IntArray,
    folder: Path,
    flags: tuple[str, ...] = STRICT,
) -> None:
    """All of one accumulator, on the same values."""
    accumulator = requantizations[0].accumulator
    text = "".join(r.text(f"r{index}") for index, r in enumerate(requantizations))
    wide = FixedPoint(64, 64)
    lanes = "".join(
        f"to.lane[{index}] = (long long)hwflow::requantize<r{index}>(value).to_int64(); "
        for index in range(len(requantizations))
    )
    call = (
        f"for (int i = 0; i < {values.size}; ++i) {{ "
        f"const {accumulator.raw_type} value = in0.read().lane[0]; "
        f"hwflow::beat<ap_int<64>, {len(requantizations)}> to; {lanes} out0.write(to); }}"
    )
    case = Case(
        text,
        call,
        (Port(accumulator, 1, values.size),),
        (Port(wide, len(requantizations), values.size),),
    )
    ((result,),) = run_cases([(case, [values[np.newaxis]])], folder, flags)
    for index, requantization in enumerate(requantizations):
        expected = requantization.output.rescale(
            values, accumulator.fraction_bits, requantization.divisor
        )
        np.testing.assert_array_equal(result[0, :, index], expected, str(requantization))


def edges(accumulator: FixedPoint, rng: np.random.Generator, count: int) -> IntArray:
    """The ends of the range, the values about zero, and random ones of every magnitude."""
    low, high = accumulator.minimum, accumulator.maximum
    near = np.arange(200, dtype=np.int64)
    spread = rng.integers(low, high, count, np.int64, endpoint=True)
    smaller = spread >> rng.integers(0, accumulator.width, count)
    values = np.concatenate([low + near, high - near, near - 100, spread, smaller])
    return np.unique(np.clip(values, low, high))


@pytest.mark.parametrize("signed", [True, False])
def test_every_mode_over_the_whole_range(signed: bool, tmp_path: Path) -> None:
    accumulator = FixedPoint(10, 4, signed)
    values = np.arange(accumulator.minimum, accumulator.maximum + 1)
    check(
        [
            Requantization(accumulator, FixedPoint(width, integer_bits, out_signed, *modes))
            for modes in MODES
            for width, integer_bits, out_signed in ((5, 3, True), (4, 3, False), (9, 2, True))
        ],
        values,
        tmp_path,
    )


@pytest.mark.parametrize("signed", [True, False])
def test_division_over_the_whole_range(signed: bool, tmp_path: Path) -> None:
    """The sums of 13x13, 7x7, 14x14 and 3 values of 8 bits, and more; every rounding."""
    accumulator = FixedPoint(17, 12, signed)
    values = np.arange(accumulator.minimum, accumulator.maximum + 1)
    check(
        [
            Requantization(accumulator, FixedPoint(8, integer_bits, signed, rounding), divisor)
            for divisor, integer_bits in ((169, 4), (49, 6), (196, 3), (3, 10))
            for rounding in Rounding
        ],
        values,
        tmp_path,
        FAST if signed else STRICT,
    )


def test_division_by_every_small_divisor(tmp_path: Path) -> None:
    accumulator = FixedPoint(12, 8)
    values = np.arange(accumulator.minimum, accumulator.maximum + 1)
    output = FixedPoint(9, 6, rounding=Rounding.RND_CONV)
    check(
        [
            Requantization(accumulator, output, d)
            for d in (*range(1, 20), 25, 49, 63, 64, 65, 81, 100, 127, 128, 169)
        ],
        values,
        tmp_path,
    )


@pytest.mark.parametrize("width", [24, 31, 33, 60])
def test_wide_accumulators(width: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(width)
    batch = []
    for index, (rounding, overflow) in enumerate(MODES):
        divisor = (1, 169, 3, 1024, 49)[index % 5]
        out_width = (8, 16, 32, 4)[index % 4]
        integer_bits = 20 - index % 3 - width // 4 + out_width // 2
        output = FixedPoint(out_width, integer_bits, index % 2 == 0, rounding, overflow)
        batch.append(Requantization(FixedPoint(width, 20), output, divisor))
    check(batch, edges(batch[0].accumulator, rng, 2000), tmp_path)


def test_coarser_accumulator_and_extreme_outputs(tmp_path: Path) -> None:
    """Left shifts; outputs of one bit, and outputs wider than what they are computed in."""
    accumulator = FixedPoint(14, 10)
    rng = np.random.default_rng(8)
    batch = [
        Requantization(accumulator, FixedPoint(width, integer_bits, signed, *modes), divisor)
        for (width, integer_bits, signed), modes, divisor in itertools.product(
            ((20, 10, True), (1, 3, True), (1, 2, False), (40, 20, True), (64, 50, True)),
            ((Rounding.RND_CONV, Overflow.SAT), (Rounding.TRN, Overflow.SAT_SYM),
             (Rounding.RND_INF, Overflow.SAT_ZERO), (Rounding.RND, Overflow.WRAP)),
            (1, 9),
        )
    ]  # fmt: skip
    check(batch, edges(accumulator, rng, 1000), tmp_path)


def test_stream(tmp_path: Path) -> None:
    source, output = FixedPoint(12, 6), FixedPoint(7, 5, False)
    rng = np.random.default_rng(9)
    images = rng.integers(source.minimum, source.maximum, (3, 4, 5, 6), endpoint=True)
    text = Requantization(source, output).text("to_output") + config(
        "stream",
        constants(pixels=20, channels=6, lanes=3),
        types(input_t=source.raw_type, output_t=output.raw_type, requantization="to_output"),
    )
    case = Case(
        text,
        "hwflow::requantize_stream<stream>(in0, out0);",
        (Port(source, 3, 40),),
        (Port(output, 3, 40),),
    )
    ((result,),) = run_cases([(case, [images])], tmp_path)
    np.testing.assert_array_equal(
        result.reshape(images.shape), output.rescale(images, source.fraction_bits)
    )


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 49, 64, 100, 169, 196, 12544, 65537])
@pytest.mark.parametrize("high", [0, 1, 1000, 65535, (1 << 24) - 1])
def test_reciprocal_divides(divisor: int, high: int) -> None:
    multiplier, shift = reciprocal(divisor, -high // 2, high)
    numerators = np.unique(np.linspace(0, high, 20_001, dtype=np.int64))
    below = numerators // divisor * divisor - 1  # just below a multiple: the hardest
    numerators = np.concatenate([numerators, below[below >= 0]])
    assert max(high * multiplier, 0) < 1 << 63
    np.testing.assert_array_equal((numerators * multiplier) >> shift, numerators // divisor)


def test_reciprocal_is_the_least() -> None:
    """One bit less fails somewhere in the range."""
    for divisor, high in ((3, 255), (169, 65535), (49, 4095), (7, 127)):
        multiplier, shift = reciprocal(divisor, 0, high)
        values = np.arange(high + 1)
        coarser = -(-(1 << (shift - 1)) // divisor)
        assert np.array_equal((values * multiplier) >> shift, values // divisor)
        assert not np.array_equal((values * coarser) >> (shift - 1), values // divisor)


def test_reciprocal_covers_the_magnitude_of_negative_numbers() -> None:
    multiplier, shift = reciprocal(9, -5000, 10)
    values = np.arange(5000)
    np.testing.assert_array_equal(-1 - ((values * multiplier) >> shift), (-1 - values) // 9)


@pytest.mark.parametrize(
    ("divisor", "high", "message"),
    [
        (0, 10, "a divisor must be 1 or more, not 0"),
        (3, 1 << 64, "needs a reciprocal of more than 63 bits: narrow the accumulator"),
    ],
)
def test_reciprocal_refuses(divisor: int, high: int, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        reciprocal(divisor, 0, high)


def test_too_wide_a_requantization_is_refused() -> None:
    accumulator = FixedPoint(60, 60)
    with pytest.raises(DesignError, match=r"head: fixed<60,60> shifted by -5 .* exceeds 63 bits"):
        Requantization(accumulator, FixedPoint(8, 3)).text("head")
