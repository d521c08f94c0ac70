"""Fixed-point formats against exact rational arithmetic, and against QKeras itself."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.fixed_point import FixedPoint, Overflow, Rounding

MODES = list(itertools.product(Rounding, Overflow))
EXACT = settings(deadline=None, derandomize=True, database=None, max_examples=200)


def rounded(value: Fraction, rounding: Rounding) -> int:
    """The definition of each rounding mode, on rationals."""
    below = floor(value)
    rest = value - below
    if rest == 0:
        return below
    if rounding is Rounding.TRN:
        return below
    if rounding is Rounding.TRN_ZERO:
        return below if value > 0 else below + 1
    if rest != Fraction(1, 2):
        return below if rest < Fraction(1, 2) else below + 1
    return {
        Rounding.RND: below + 1,
        Rounding.RND_ZERO: below if value > 0 else below + 1,
        Rounding.RND_INF: below + 1 if value > 0 else below,
        Rounding.RND_MIN_INF: below,
        Rounding.RND_CONV: below + below % 2,
    }[rounding]


def expected(value: Fraction, target: FixedPoint) -> int:
    """The raw integer of a rational in a format."""
    raw = rounded(value * Fraction(2) ** target.fraction_bits, target.rounding)
    high = 2 ** (target.width - target.signed) - 1
    low = -high - 1 if target.signed else 0
    if target.overflow is Overflow.WRAP:
        return (raw - low) % 2**target.width + low
    if target.overflow is Overflow.SAT_SYM and target.signed and target.width > 1:
        low = -high
    if target.overflow is Overflow.SAT_ZERO:
        return raw if low <= raw <= high else 0
    return min(max(raw, low), high)


@st.composite
def formats(draw: st.DrawFn, widest: int = 62) -> FixedPoint:
    width = draw(st.integers(1, widest))
    return FixedPoint(
        width,
        draw(st.integers(-8, 40)),
        draw(st.booleans()),
        draw(st.sampled_from(Rounding)),
        draw(st.sampled_from(Overflow)),
    )


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
@pytest.mark.parametrize("signed", [True, False])
def test_all_small_integers_are_rescaled_exactly(
    rounding: Rounding, overflow: Overflow, signed: bool
) -> None:
    raw = np.arange(-40, 41)
    for width, integer_bits, divisor in itertools.product((1, 3), (1, 4), (1, 6)):
        target = FixedPoint(width, integer_bits, signed, rounding, overflow)
        for fraction_bits in (0, 3):
            found = target.rescale(raw, fraction_bits, divisor)
            unit = Fraction(2) ** -fraction_bits / divisor
            assert found.tolist() == [expected(int(value) * unit, target) for value in raw]


@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8),
    st.integers(-6, 40),
    st.integers(1, 400),
    formats(),
)
@EXACT
def test_rescale_is_exact(
    values: list[int], fraction_bits: int, divisor: int, target: FixedPoint
) -> None:
    unit = Fraction(2) ** -fraction_bits / divisor
    shift = fraction_bits - target.fraction_bits
    too_far = (shift < 0 and max(map(abs, values)) << -shift >= 1 << 62) or (
        shift > 0 and divisor << shift >= 1 << 62
    )
    if too_far:
        with pytest.raises(ValueError, match="overflows 63 bits"):
            target.rescale(values, fraction_bits, divisor)
        return
    found = target.rescale(values, fraction_bits, divisor)
    assert found.dtype == np.int64
    assert found.tolist() == [expected(value * unit, target) for value in values]


@given(
    st.lists(st.floats(-(2.0**30), 2.0**30, width=64), min_size=1, max_size=8),
    formats(),
)
@EXACT
def test_quantize_is_exact(values: list[float], target: FixedPoint) -> None:
    wanted = [Fraction(value) for value in values]
    largest = max(abs(value) * Fraction(2) ** target.fraction_bits for value in wanted)
    if target.overflow is Overflow.WRAP and largest >= 2**62 - 1:
        return  # tested below
    assert target.quantize(values).tolist() == [expected(value, target) for value in wanted]


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
def test_all_ties_are_quantized_exactly(rounding: Rounding, overflow: Overflow) -> None:
    for width, signed in itertools.product((1, 3, 5), (True, False)):
        target = FixedPoint(width, 2, signed, rounding, overflow)
        steps = np.arange(-150, 151)
        found = target.quantize(steps * target.lsb / 4)
        unit = Fraction(target.lsb) / 4
        assert found.tolist() == [expected(int(step) * unit, target) for step in steps]


@pytest.mark.parametrize("overflow", list(Overflow))
@pytest.mark.parametrize("signed", [True, False])
def test_the_widest_formats_are_exact_or_refuse(overflow: Overflow, signed: bool) -> None:
    values = [0, 1, 2**60, 2**62 - 1] + ([-(2**61), -1] if signed else [])
    for width in (61, 62, 63, 64):
        target = FixedPoint(width, width, signed, Rounding.RND, overflow)
        found = target.rescale(values, 0)
        assert found.dtype == np.int64
        assert found.tolist() == [expected(Fraction(value), target) for value in values]
        for real in (2.0**61, 2.0**62, 2.0**63, -(2.0**62), 1e300):
            if abs(real) >= 2.0**62 and (width > 62 or overflow is Overflow.WRAP):
                with pytest.raises(ValueError, match="too large"):
                    target.quantize(real)
            else:
                assert int(target.quantize(real)) == expected(Fraction(real), target)


def test_an_unsigned_format_of_64_bits_cannot_wrap_below_zero() -> None:
    target = FixedPoint(64, 64, False, overflow=Overflow.WRAP)
    with pytest.raises(ValueError, match="int64"):
        target.rescale([-1], 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_only_finite_values_can_be_quantized(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        FixedPoint(8, 4).quantize([0.0, value])


@pytest.mark.parametrize("width", [0, -1, 65])
def test_widths_beyond_64_bits_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width must be from 1 to 64, not {width}"):
        FixedPoint(width, 4)


def test_a_format_knows_its_range_unit_and_types() -> None:
    byte = FixedPoint(8, 3, overflow=Overflow.SAT_SYM)
    assert (byte.minimum, byte.maximum, byte.fraction_bits, byte.lsb) == (-127, 127, 5, 1 / 32)
    assert byte.ap_type == "ap_fixed<8,3,AP_RND_CONV,AP_SAT_SYM>"
    assert byte.raw_type == "ap_int<8>"
    assert str(byte) == "fixed<8,3>"
    rectified = FixedPoint(4, -2, False, Rounding.TRN_ZERO, Overflow.SAT_ZERO)
    assert (rectified.minimum, rectified.maximum, rectified.fraction_bits) == (0, 15, 6)
    assert rectified.ap_type == "ap_ufixed<4,-2,AP_TRN_ZERO,AP_SAT_ZERO>"
    assert rectified.raw_type == "ap_uint<4>"
    assert str(rectified) == "ufixed<4,-2>"
    coarse = FixedPoint(4, 9)
    assert (coarse.fraction_bits, coarse.lsb) == (-5, 32.0)
    assert coarse.to_float([-8, 7]).tolist() == [-256.0, 224.0]


@given(formats(widest=64))
@EXACT
def test_a_format_returns_from_json(target: FixedPoint) -> None:
    assert FixedPoint(**target.to_json()) == target


def test_containing_is_the_narrowest() -> None:
    for low, high in itertools.combinations_with_replacement(range(-20, 21), 2):
        for fraction_bits in (-2, 0, 3):
            target = FixedPoint.containing(low, high, fraction_bits)
            assert target.fraction_bits == fraction_bits
            assert target.signed == (low < 0)
            assert target.minimum <= low
            assert high <= target.maximum
            if target.width > 1:
                narrower = FixedPoint(target.width - 1, target.integer_bits - 1, target.signed)
                assert low < narrower.minimum or high > narrower.maximum


def test_containing_reaches_64_bits_and_no_further() -> None:
    assert FixedPoint.containing(-(2**63), 2**63 - 1, 0).width == 64
    with pytest.raises(ValueError, match="from 1 to 64, not 65"):
        FixedPoint.containing(-1, 2**64 - 1, 0)


# --- QKeras ------------------------------------------------------------------------------------


def grid(target: FixedPoint) -> np.ndarray:
    """Quarters of the unit, all ties among them, from twice below the range to twice above."""
    reach = 2 * (target.maximum + 2)
    return (np.arange(-4 * reach, 4 * reach + 1) * (target.lsb / 4)).astype(np.float32)


@pytest.mark.parametrize(("keep_negative", "symmetric"), [(1, 0), (1, 1), (0, 0)])
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12])
def test_quantized_bits_is_the_format(bits: int, keep_negative: int, symmetric: int) -> None:
    from qkeras import quantized_bits

    for integer in {0, 1, bits - 1, bits, bits + 2}:
        target = FixedPoint.from_qkeras(bits, integer, bool(keep_negative), bool(symmetric))
        quantizer = quantized_bits(
            bits, integer, symmetric=symmetric, keep_negative=bool(keep_negative), alpha=1.0
        )
        values = grid(target)
        got = np.asarray(quantizer(values), np.float64)
        np.testing.assert_array_equal(target.to_float(target.quantize(values)), got)
        assert target.qkeras_integer == integer
        assert target.width == bits


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12])
def test_quantized_relu_is_the_format(bits: int) -> None:
    from qkeras import quantized_relu

    for integer in {0, 1, bits - 1, bits, bits + 2}:
        target = FixedPoint.from_qkeras(bits, integer, keep_negative=False)
        values = grid(target)
        got = np.asarray(quantized_relu(bits, integer)(values), np.float64)
        np.testing.assert_array_equal(target.to_float(target.quantize(values)), got)
        assert target.qkeras_integer == integer
        assert not target.signed


def test_the_least_64_bit_integer_is_not_shifted_out() -> None:
    with pytest.raises(ValueError, match="a shift of 1 bits overflows 63 bits"):
        FixedPoint(8, 7).rescale(-(2**63), 0)
