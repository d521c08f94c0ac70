"""Every operation against loops over Python integers, and what its interval promises."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    KINDS,
    Add,
    Concatenate,
    Conv2D,
    Frame2D,
    Input,
    Interval,
    MaxPool2D,
    Multiply,
    Operation,
    Requantize,
    SelectChannels,
    Softmax,
    SumPool2D,
    Table,
    Tensor,
    TopKIndices,
    TopKValues,
    UpsampleBilinear2D,
    UpsampleNearest2D,
    common_divisor,
    reach_of,
)

EXACT = settings(deadline=None, derandomize=True, database=None, max_examples=120)
BYTE = FixedPoint(8, 8)


def array(rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    return rng.integers(low, high + 1, shape)


@st.composite
def convolutions(draw: st.DrawFn, padded: bool = True) -> tuple[Conv2D, tuple[int, int, int]]:
    """A convolution of any kind, and the shape of what it reads."""
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    inputs, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.sampled_from(((1, 1), (2, 2), (1, 2), (3, 1))))
    least = reach_of(window, dilation)
    size = draw(st.tuples(*(st.integers(max(3, side), max(6, side)) for side in least)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4)) if padded else (0, 0, 0, 0)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    made = Conv2D(
        "conv",
        ("source",),
        weights=array(rng, (*window, inputs, filters * groups), -8, 7),
        biases=array(rng, (filters * groups,), -100, 100),
        weight_format=FixedPoint(4, 1),
        strides=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=padding,
        groups=groups,
        product_shift=draw(st.integers(0, 3)),
        channel_shifts=draw(st.sampled_from((None, rng.integers(0, 7, filters * groups)))),
        dilation=dilation,
    )
    return made, (*size, inputs * groups)


def padded_value(
    tensor: np.ndarray, n: int, y: int, x: int, c: int, fill: int | None
) -> int | None:
    _, height, width, _ = tensor.shape
    inside = 0 <= y < height and 0 <= x < width
    return int(tensor[n, y, x, c]) if inside else fill


def window_of(
    tensor: np.ndarray,
    at: tuple[int, int, int],
    channel: int,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int, int, int],
    fill: int | None,
    dilation: tuple[int, int] = (1, 1),
) -> Iterator[tuple[int, int, int | None]]:
    """Row and column in the window, and the value there."""
    n, y, x = at
    for row, column in itertools.product(range(window[0]), range(window[1])):
        source = (
            y * strides[0] + row * dilation[0] - padding[0],
            x * strides[1] + column * dilation[1] - padding[2],
        )
        yield row, column, padded_value(tensor, n, *source, channel, fill)


@given(convolutions(), st.integers(0, 10**6))
@EXACT
def test_conv2d_is_the_sum_of_products(
    made: tuple[Conv2D, tuple[int, int, int]], seed: int
) -> None:
    operation, shape = made
    tensor = array(np.random.default_rng(seed), (2, *shape), -128, 127)
    found = operation.evaluate(tensor)
    assert found.dtype == np.int64
    assert found.shape == (2, *operation.output_shape(shape))
    kernel_height, kernel_width, inputs, filters = operation.weights.shape
    for n, y, x, c in np.ndindex(found.shape):
        first = c // (filters // operation.groups) * inputs
        total = 0
        for channel in range(inputs):
            for row, column, value in window_of(
                tensor,
                (n, y, x),
                first + channel,
                (kernel_height, kernel_width),
                operation.strides,
                operation.padding,
                0,
                operation.dilation,
            ):
                total += int(operation.weights[row, column, channel, c]) * int(value or 0)
        assert found[n, y, x, c] == total * 2 ** int(operation.shifts[c]) + int(operation.biases[c])


@pytest.mark.parametrize("shifts", [[0, 1], [0, -1, 2], [0, 63, 0]])
def test_channel_shifts_are_one_a_channel_within_64_bits(shifts: list[int]) -> None:
    weights, zeros = np.ones((1, 1, 1, 3), np.int64), np.zeros(3, np.int64)
    operation = Conv2D(
        "c", ("s",), weights, zeros, FixedPoint(2, 2), channel_shifts=np.array(shifts)
    )
    with pytest.raises(ValueError, match="c: channel_shifts must be 3 numbers from 0 to 62"):
        operation.output_shape((1, 1, 1))


def test_the_bounds_of_a_channel_count_its_own_shift_alone() -> None:
    weights, zeros = np.array([2**40, 1]).reshape(1, 1, 1, 2), np.zeros(2, np.int64)
    shifts = np.array([0, 40])
    operation = Conv2D("c", ("s",), weights, zeros, FixedPoint(42, 42), channel_shifts=shifts)
    found = operation.interval(Interval(np.array([0]), np.array([3])))
    assert found.high.tolist() == [3 * 2**40, 3 * 2**40]
    assert operation.shifts.tolist() == [0, 40]


def test_conv2d_is_exact_where_float64_is_not() -> None:
    weights = np.full((1, 1, 4, 1), 2**29 + 1)
    biases = np.array([1])
    operation = Conv2D("c", ("s",), weights, biases, FixedPoint(31, 31))
    tensor = np.full((1, 1, 1, 4), 2**29 + 1)
    assert operation.evaluate(tensor).item() == 4 * (2**29 + 1) ** 2 + 1


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.integers(0, 10**6),
)
@EXACT
def test_pools_reduce_their_windows(
    window: tuple[int, int], strides: tuple[int, int], padding: tuple[int, int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(4, 7)), int(rng.integers(4, 7)), 2)
    tensor = array(rng, (2, *shape), -50, 50)
    total = SumPool2D("sum", ("s",), window, strides, padding)
    places = total.evaluate(tensor)
    assert places.shape == (2, *total.output_shape(shape))
    for n, y, x, c in np.ndindex(places.shape):
        values = [v for _, _, v in window_of(tensor, (n, y, x), c, window, strides, padding, 0)]
        assert places[n, y, x, c] == sum(map(int, values))
    highest = MaxPool2D("max", ("s",), window, strides, padding)
    if max(padding[:2]) >= window[0] or max(padding[2:]) >= window[1]:
        with pytest.raises(ValueError, match="padding alone"):
            highest.output_shape(shape)
        return
    found = highest.evaluate(tensor)
    assert found.shape == (2, *highest.output_shape(shape))
    for n, y, x, c in np.ndindex(found.shape):
        values = [v for _, _, v in window_of(tensor, (n, y, x), c, window, strides, padding, None)]
        assert found[n, y, x, c] == max(v for v in values if v is not None)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.integers(0, 10**6),
)
@EXACT
def test_a_common_divisor_gives_the_mean_of_the_pixels_that_are_there(
    window: tuple[int, int], strides: tuple[int, int], padding: tuple[int, int, int, int], seed: int
) -> None:
    if max(padding[:2]) >= window[0] or max(padding[2:]) >= window[1]:
        return
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(4, 7)), int(rng.integers(4, 7)), 2)
    tensor = array(rng, (2, *shape), -50, 50)
    divisor = common_divisor(shape, window, strides, padding)
    operation = SumPool2D("mean", ("s",), window, strides, padding, divisor)
    found = operation.evaluate(tensor)
    assert found.shape == (2, *operation.output_shape(shape))
    for n, y, x, c in np.ndindex(found.shape):
        there = [
            value
            for _, _, value in window_of(tensor, (n, y, x), c, window, strides, padding, None)
            if value is not None
        ]
        mean = Fraction(sum(there), len(there))
        assert Fraction(int(found[n, y, x, c]), operation.divides_by) == mean


def test_the_least_common_divisor_of_a_border() -> None:
    assert common_divisor((5, 5, 1), (3, 3), (1, 1), (1, 1, 1, 1)) == 36
    assert common_divisor((5, 4, 1), (2, 2), (2, 2), (0, 1, 0, 0)) == 2 * 2
    assert common_divisor((5, 5, 1), (3, 3), (1, 1), (0, 0, 0, 0)) is None
    with pytest.raises(ValueError, match="its divisor of 18 is no multiple"):
        SumPool2D("p", ("s",), (3, 3), (1, 1), (1, 1, 1, 1), 18).output_shape((5, 5, 1))
    with pytest.raises(ValueError, match="padding alone"):
        SumPool2D("p", ("s",), (1, 1), (1, 1), (1, 0, 0, 0), 1).output_shape((5, 5, 1))


def test_merges_shift_their_inputs_to_the_finest_unit() -> None:
    rng = np.random.default_rng(0)
    parts = [array(rng, (2, 3, 2, 4), -9, 9) for _ in range(3)]
    shifts = (0, 2, 5)
    found = Add("a", ("x", "y", "z"), shifts).evaluate(*parts)
    for place in np.ndindex(found.shape):
        assert found[place] == sum(
            int(part[place]) * 2**bits for part, bits in zip(parts, shifts, strict=True)
        )
    joined = Concatenate("c", ("x", "y", "z"), shifts)
    wide = joined.evaluate(*parts)
    assert joined.output_shape(*[(3, 2, 4)] * 3) == (3, 2, 12)
    for n, y, x, c in np.ndindex(wide.shape):
        assert wide[n, y, x, c] == int(parts[c // 4][n, y, x, c % 4]) * 2 ** shifts[c // 4]


@given(
    st.lists(st.integers(-5000, 5000), min_size=1, max_size=20),
    st.integers(1, 8),
    st.integers(-4, 8),
    st.booleans(),
    st.integers(1, 49),
    st.none() | st.integers(0, 200),
)
@EXACT
def test_requantize_rounds_the_quotient_once(
    values: list[int], width: int, drop: int, signed: bool, divisor: int, maximum: int | None
) -> None:
    target = FixedPoint(width, width, signed)
    operation = Requantize("r", ("s",), target, drop, divisor, maximum)
    if maximum is not None and maximum > target.maximum:
        with pytest.raises(ValueError, match="maximum"):
            operation.output_shape((1, 1, len(values)))
        return
    found = operation.evaluate(np.array(values).reshape(1, 1, 1, -1)).ravel()
    for value, got in zip(values, found.tolist(), strict=True):
        nearest = round(Fraction(value, divisor) / Fraction(2) ** drop)  # ties to even
        limit = target.maximum if maximum is None else maximum
        assert got == min(max(nearest, target.minimum), limit)


def test_a_maximum_needs_saturation() -> None:
    target = FixedPoint(4, 4, overflow=Overflow.WRAP)
    with pytest.raises(ValueError, match="needs saturation, not WRAP"):
        Requantize("r", ("s",), target, 0, maximum=5).output_shape((1, 1, 1))


def test_products_take_one_factor_a_pixel_or_a_channel() -> None:
    rng = np.random.default_rng(0)
    product = Multiply("m", ("a", "b"))
    tensor = array(rng, (2, 3, 2, 4), -9, 9)
    for other in (array(rng, (2, 3, 2, 4), -9, 9), array(rng, (2, 1, 1, 4), -9, 9)):
        assert product.output_shape(tensor.shape[1:], other.shape[1:]) == (3, 2, 4)
        found = product.evaluate(tensor, other)
        for n, y, x, c in np.ndindex(found.shape):
            place = (n, y, x, c) if other.shape[1] > 1 else (n, 0, 0, c)
            assert found[n, y, x, c] == int(tensor[n, y, x, c]) * int(other[place])
    for shape in ((1, 1, 3), (3, 1, 4), (1, 2, 4)):
        with pytest.raises(ValueError, match="m: cannot multiply shapes"):
            product.output_shape((3, 2, 4), shape)


@pytest.mark.parametrize("channels", [(3, 2, 1, 0), (1, 1, 3), (2,), (0, 2, 1, 3, 0, 0)])
def test_channels_are_taken_in_any_order(channels: tuple[int, ...]) -> None:
    tensor = array(np.random.default_rng(3), (2, 3, 2, 4), -9, 9)
    operation = SelectChannels("it", ("s",), channels)
    found = operation.evaluate(tensor)
    assert found.shape == (2, *operation.output_shape((3, 2, 4)))
    for n, y, x, c in np.ndindex(found.shape):
        assert found[n, y, x, c] == tensor[n, y, x, channels[c]]
    reach = operation.interval(Interval(np.arange(4), np.arange(4) * 10))
    assert tuple(reach.low) == channels
    assert tuple(reach.high) == tuple(10 * channel for channel in channels)


@pytest.mark.parametrize(
    ("channels", "message"),
    [((), "selects no channel"), ((0, 4), "channels 0 to 4 of 4"), ((-1, 2), "channels -1 to 2")],
)
def test_channels_that_are_not_there_are_refused(channels: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelectChannels("it", ("s",), channels).output_shape((3, 2, 4))


@pytest.mark.parametrize("is_signed", [True, False])
def test_tables_hold_a_result_for_every_value(is_signed: bool) -> None:
    source = FixedPoint(5, 5, is_signed)
    target = FixedPoint(7, 7)
    results = np.random.default_rng(1).integers(-64, 64, 32)
    table = Table("t", ("s",), results, target, is_signed)
    everything = np.arange(source.minimum, source.maximum + 1).reshape(1, 4, 4, 2)
    assert table.output_shape((4, 4, 2)) == (4, 4, 2)
    np.testing.assert_array_equal(table.evaluate(everything).ravel(), results)
    beyond = Table("t", ("s",), results + 64, target, is_signed)
    with pytest.raises(ValueError, match="its results leave the range of fixed<7,7>"):
        beyond.output_shape((4, 4, 2))


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(0, 10**6),
)
@EXACT
def test_upsampling_repeats_or_interpolates(
    size: tuple[int, int], factors: tuple[int, int], seed: int
) -> None:
    tensor = array(np.random.default_rng(seed), (2, *size, 2), -99, 99)
    nearest = UpsampleNearest2D("n", ("s",), factors)
    bilinear = UpsampleBilinear2D("b", ("s",), factors)
    copies, blends = nearest.evaluate(tensor), bilinear.evaluate(tensor)
    shape = (size[0] * factors[0], size[1] * factors[1], 2)
    assert (
        nearest.output_shape(tensor.shape[1:]) == bilinear.output_shape(tensor.shape[1:]) == shape
    )
    fraction_bits, divisor = bilinear.unit(Tensor((1, 1, 1), FixedPoint(8, 8)))
    unit = Fraction(1, divisor * 2**fraction_bits)
    for n, y, x, c in np.ndindex(2, *shape):
        assert copies[n, y, x, c] == tensor[n, y // factors[0], x // factors[1], c]
        total = Fraction(0)
        places = [
            (Fraction(2 * at + 1, 2 * factor) - Fraction(1, 2))  # centres of pixels
            for at, factor in zip((y, x), factors, strict=True)
        ]
        for down, right in itertools.product((0, 1), repeat=2):
            weight = Fraction(1)
            corner = []
            for place, step, length in zip(places, (down, right), size, strict=True):
                low = math.floor(place)
                weight *= place - low if step else 1 - (place - low)
                corner.append(min(max(low + step, 0), length - 1))
            total += weight * int(tensor[n, corner[0], corner[1], c])
        assert blends[n, y, x, c] * unit == total


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
@EXACT
def test_the_greatest_come_first_and_equal_ones_by_their_index(
    channels: int, k: int, seed: int
) -> None:
    tensor = array(np.random.default_rng(seed), (2, 2, 1, channels), -2, 2)
    tensor[0, 0] = np.iinfo(np.int64).min
    indices, values = TopKIndices("i", ("s",), k), TopKValues("v", ("s",), k)
    if k > channels:
        with pytest.raises(ValueError, match=f"from 1 to its {channels} channels, not {k}"):
            indices.output_shape(tensor.shape[1:])
        return
    assert indices.output_shape(tensor.shape[1:]) == (2, 1, k)
    found, best = indices.evaluate(tensor), values.evaluate(tensor)
    for n, y, x in np.ndindex(2, 2, 1):
        pixel = tensor[n, y, x].tolist()
        order = sorted(range(channels), key=lambda c: (-pixel[c], c))[:k]
        assert found[n, y, x].tolist() == order
        assert best[n, y, x].tolist() == [pixel[c] for c in order]


@given(st.integers(1, 5), st.integers(2, 9), st.integers(1, 9), st.integers(0, 10**6))
@EXACT
def test_softmax_divides_exactly_and_rounds_once(
    channels: int, width: int, entries: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = np.sort(array(rng, (entries,), 1, 99))[::-1]
    table[-1] = 0 if entries > 1 else table[-1]
    softmax = Softmax("p", ("s",), table, FixedPoint(width, 1, False))
    tensor = array(rng, (2, 2, 1, channels), -5, 5)
    found = softmax.evaluate(tensor)
    for n, y, x in np.ndindex(2, 2, 1):
        pixel = tensor[n, y, x].tolist()
        parts = [int(table[min(max(pixel) - value, entries - 1)]) for value in pixel]
        shares = [Fraction(part * 2 ** (width - 1), sum(parts)) for part in parts]
        assert found[n, y, x].tolist() == [round(share) for share in shares]  # ties to even


@pytest.mark.parametrize(
    ("table", "target", "message"),
    [
        ([4, 5, 0], FixedPoint(4, 1, False), "do not rise"),
        ([4, -1], FixedPoint(4, 1, False), "do not rise"),
        ([0, 0], FixedPoint(4, 1, False), "begin above zero"),
        ([4, 0], FixedPoint(4, 1), "must be unsigned with one integer bit"),
        ([4, 1], FixedPoint(4, 1, False), "must reach a distance of 15, or end with zero"),
        ([1 << 60, 0], FixedPoint(4, 1, False), "more than 64"),
    ],
)
def test_a_softmax_that_makes_no_sense_is_refused(
    table: list[int], target: FixedPoint, message: str
) -> None:
    program = [
        Input("s", (), (1, 1, 3), FixedPoint(4, 4)),
        Softmax("p", ("s",), np.array(table), target),
    ]
    with pytest.raises(DesignError, match=f"p: .*{message}"):
        IntegerGraph.build("g", program, ["p"])


@given(st.tuples(*[st.integers(-4, 3)] * 4), st.integers(0, 10**6))
@EXACT
def test_frames_cut_off_pixels_or_add_zeros(padding: tuple[int, int, int, int], seed: int) -> None:
    tensor = array(np.random.default_rng(seed), (2, 9, 10, 3), -128, 127)
    operation = Frame2D("f", ("s",), padding)
    found = operation.evaluate(tensor)
    assert found.shape == (2, *operation.output_shape((9, 10, 3)))
    assert found.shape[1:3] == (9 + padding[0] + padding[1], 10 + padding[2] + padding[3])
    for n, y, x, c in np.ndindex(found.shape):
        assert found[n, y, x, c] == padded_value(tensor, n, y - padding[0], x - padding[2], c, 0)


def test_a_frame_has_pixels_of_the_map() -> None:
    with pytest.raises(ValueError, match="f: cuts off all of 3 x 4 pixels"):
        Frame2D("f", ("s",), (-2, -1, 5, 5)).output_shape((3, 4, 1))


def test_factors_are_positive() -> None:
    with pytest.raises(ValueError, match=r"factors must be positive, not \(0, 2\)"):
        UpsampleNearest2D("n", ("s",), (0, 2)).output_shape((1, 1, 1))


# --- shapes ------------------------------------------------------------------------------------


def test_shapes_that_do_not_fit_are_refused() -> None:
    weights = np.ones((3, 3, 2, 4), np.int64)
    conv = Conv2D("conv", ("s",), weights, np.zeros(4, np.int64), BYTE)
    with pytest.raises(ValueError, match="do not fit 3 input channels"):
        conv.output_shape((5, 5, 3))
    with pytest.raises(ValueError, match="a window of 3 does not fit in 2 pixels"):
        conv.output_shape((2, 5, 2))
    with pytest.raises(ValueError, match="a window of 4 does not fit in 3 pixels"):
        SumPool2D("pool", ("s",), (4, 4), (1, 1)).output_shape((5, 3, 1))
    with pytest.raises(ValueError, match="add: cannot add shapes"):
        Add("add", ("a", "b"), (0, 0)).output_shape((2, 2, 1), (2, 2, 2))
    with pytest.raises(ValueError, match="cat: cannot concatenate shapes"):
        Concatenate("cat", ("a", "b"), (0, 0)).output_shape((2, 3, 1), (2, 2, 1))
    odd = Conv2D("odd", ("s",), np.ones((1, 1, 1, 3), np.int64), np.zeros(3), BYTE, groups=2)
    with pytest.raises(ValueError, match="in 2 groups do not fit"):
        odd.output_shape((1, 1, 2))


def test_macs_count_every_tap_of_every_output() -> None:
    weights = np.ones((3, 3, 2, 4), np.int64)
    conv = Conv2D("c", ("s",), weights, np.zeros(4, np.int64), BYTE, strides=(2, 1))
    assert conv.macs((7, 5, 2)) == 3 * 3 * (3 * 3 * 2 * 4)
    assert MaxPool2D("m", ("s",), (2, 2), (2, 2)).macs((4, 4, 1)) == 0


def test_every_kind_is_registered_under_its_name() -> None:
    """A kind that is added needs tests in this module."""
    tested = (
        Add,
        Concatenate,
        Conv2D,
        Frame2D,
        Input,
        MaxPool2D,
        Multiply,
        Requantize,
        SelectChannels,
        Softmax,
        SumPool2D,
        Table,
        TopKIndices,
        TopKValues,
        UpsampleBilinear2D,
        UpsampleNearest2D,
    )
    assert {kind.kind: kind for kind in tested} == KINDS


# --- intervals ---------------------------------------------------------------------------------


def inside(values: np.ndarray, reach: Interval) -> bool:
    return bool((values >= reach.low).all() and (values <= reach.high).all())


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Interval, np.ndarray]:
    """An interval for each channel, and a tensor in it that touches its ends."""
    low = rng.integers(-60, 40, shape[-1])
    high = low + rng.integers(0, 60, shape[-1])
    tensor = rng.integers(low, high + 1, shape)
    ends = rng.integers(0, 4, shape)
    tensor = np.where(ends == 0, low, np.where(ends == 1, high, tensor))
    return Interval(low, high), tensor


@given(convolutions(), st.integers(0, 10**6))
@EXACT
def test_the_interval_of_a_convolution_is_sound(
    made: tuple[Conv2D, tuple[int, int, int]], seed: int
) -> None:
    operation, shape = made
    reach, tensor = drawn(np.random.default_rng(seed), (4, *shape))
    assert inside(operation.evaluate(tensor), operation.interval(reach))


@given(st.integers(0, 10**6))
@EXACT
def test_the_intervals_of_all_other_operations_are_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach, tensor = drawn(rng, (3, 5, 4, 3))
    other_reach, other = drawn(rng, (3, 5, 4, 3))
    padding = tuple(int(p) for p in rng.integers(0, 2, 4))
    shifts = tuple(int(s) for s in rng.integers(0, 4, 2))
    target = FixedPoint(
        int(rng.integers(1, 8)),
        int(rng.integers(1, 8)),
        bool(rng.integers(2)),
        overflow=list(Overflow)[rng.integers(4)],
    )
    operations: list[Operation] = [
        MaxPool2D("m", ("s",), (2, 3), (1, 2), padding),
        SumPool2D("p", ("s",), (2, 3), (2, 1), padding),
        SumPool2D(
            *("mean", ("s",), (2, 3), (2, 1), padding),
            common_divisor((5, 4, 3), (2, 3), (2, 1), padding),
        ),
        Requantize("r", ("s",), target, int(rng.integers(-2, 6)), int(rng.integers(1, 10))),
        TopKIndices("i", ("s",), 2),
        TopKValues("v", ("s",), 2),
        Softmax("x", ("s",), np.array([9, 4, 3, 0]), FixedPoint(6, 1, False)),
        UpsampleNearest2D("u", ("s",), (2, 1)),
        UpsampleBilinear2D("b", ("s",), (int(rng.integers(1, 5)), 3)),
        SelectChannels("some", ("s",), (2, 0, 0)),
        Frame2D("f", ("s",), (int(rng.integers(-2, 3)), -1, 2, int(rng.integers(-3, 3)))),
    ]
    for operation in operations:
        assert inside(operation.evaluate(tensor), operation.interval(reach)), operation
    merges: list[Operation] = [
        Add("a", ("s", "t"), shifts),
        Concatenate("c", ("s", "t"), shifts),
        Multiply("m", ("s", "t")),
    ]
    table = Table("t", ("s",), rng.integers(-32, 32, 256), FixedPoint(6, 6), True)
    assert inside(table.evaluate(tensor), table.interval(reach))
    for merge in merges:
        assert inside(merge.evaluate(tensor, other), merge.interval(reach, other_reach)), merge


@given(convolutions(padded=False), st.booleans(), st.integers(2, 8))
@EXACT
def test_accumulators_are_reached_and_not_a_bit_too_wide(
    made: tuple[Conv2D, tuple[int, int, int]], signed: bool, width: int
) -> None:
    operation, shape = made
    source = FixedPoint(width, width, signed)
    graph = IntegerGraph.build("g", [Input("source", (), shape, source), operation], ["conv"])
    tensor = graph.tensors["conv"]
    filters = operation.weights.shape[3]
    inputs = operation.weights.shape[2]
    reach = reach_of(operation.weights.shape[:2], operation.dilation)
    lowest, highest = [], []
    for c in range(filters):
        first = c // (filters // operation.groups) * inputs
        image = np.zeros((2, *shape), np.int64)
        window = operation.weights[..., c]
        taps = (slice(0, side, by) for side, by in zip(reach, operation.dilation, strict=True))
        place = (*taps, slice(first, first + inputs))
        image[0][place] = np.where(window > 0, source.maximum, source.minimum)
        image[1][place] = np.where(window > 0, source.minimum, source.maximum)
        values = graph.evaluate({"source": image})["conv"][:, 0, 0, c]
        highest.append(int(values[0]))
        lowest.append(int(values[1]))
    assert tensor.interval.high.tolist() == highest
    assert tensor.interval.low.tolist() == lowest
    assert tensor.format.minimum <= min(lowest)
    assert max(highest) <= tensor.format.maximum
    if tensor.format.width > 1 and (min(lowest), max(highest)) != (0, 0):
        narrower = FixedPoint(tensor.format.width - 1, 0, tensor.format.signed)
        assert min(lowest) < narrower.minimum or max(highest) > narrower.maximum


@given(convolutions(padded=False), st.integers(0, 10**6))
@EXACT
def test_no_partial_sum_leaves_the_accumulator(
    made: tuple[Conv2D, tuple[int, int, int]], seed: int
) -> None:
    operation, shape = made
    source = FixedPoint(4, 4)
    graph = IntegerGraph.build("g", [Input("source", (), shape, source), operation], ["conv"])
    target = graph.tensors["conv"].format
    rng = np.random.default_rng(seed)
    c = int(rng.integers(operation.weights.shape[3]))
    products = operation.weights[..., c].ravel() * np.where(
        rng.integers(0, 2, operation.weights[..., c].size), source.minimum, source.maximum
    )
    order = rng.permutation(products.size)
    running = int(operation.biases[c]) + np.cumsum(products[order] << operation.shifts[c])
    assert target.minimum <= running.min()
    assert running.max() <= target.maximum


@pytest.mark.parametrize("overflow", Overflow)
def test_a_shift_beyond_63_bits_is_refused_before_anything_is_evaluated(
    overflow: Overflow,
) -> None:
    source = Input("x", (), (1, 1, 1), FixedPoint(60, 60))
    for shift in (2, 3):
        kept = FixedPoint(8, 8 - shift, overflow=overflow)
        operations = [source, Requantize("y", ("x",), kept, 0)]
        if shift == 3:
            with pytest.raises(DesignError, match="a shift of 3 bits overflows 63 bits"):
                IntegerGraph.build("g", operations, ["y"])
        else:
            IntegerGraph.build("g", operations, ["y"])


def test_an_input_that_int64_cannot_hold_is_refused() -> None:
    IntegerGraph.build("g", [Input("x", (), (1, 1, 1), FixedPoint(63, 1, signed=False))], ["x"])
    with pytest.raises(DesignError, match="need 65 bits"):
        IntegerGraph.build("g", [Input("x", (), (1, 1, 1), FixedPoint(64, 1, signed=False))], ["x"])
