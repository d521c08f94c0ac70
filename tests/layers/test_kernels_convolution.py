"""matrix_vector and depthwise against the integer operations, over shapes, widths and folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph, infer
from hwflow.layers.base import same_padding
from hwflow.opset import Conv2D, Input, Requantize, reach_of
from tests.support.kernel_cases import conv_case, conv_graph, divisors, extreme_images
from tests.support.kernel_harness import FAST, STRICT, Case, run_cases

BATCH = 9

UINT8 = FixedPoint(8, 3, False)
INT8 = FixedPoint(8, 2)


def check(
    batch: list[tuple[IntegerGraph, Case, IntArray]],
    folder: Path,
    flags: tuple[str, ...] = STRICT,
) -> None:
    results = run_cases([(case, [images]) for _, case, images in batch], folder, flags)
    for (graph, case, images), (result,) in zip(batch, results, strict=True):
        expected = graph.evaluate({"x": images})["y"]
        np.testing.assert_array_equal(
            result.reshape(expected.shape), expected, err_msg=case.definitions
        )


def test_every_fold(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    graph = conv_graph(rng, (4, 3, 4), (2, 3), 6, UINT8, INT8, UINT8, padding=(1, 0, 1, 1))
    images = extreme_images(rng, (4, 3, 4), UINT8)
    folds = [(pe, simd) for pe in divisors(6) for simd in divisors(4)]
    assert len(folds) == 12
    check([(graph, conv_case(graph, *fold), images) for fold in folds], tmp_path)


def test_every_fold_of_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    graph = conv_graph(rng, (3, 4, 6), (2, 2), 9, INT8, INT8, INT8, groups=3)
    images = extreme_images(rng, (3, 4, 6), INT8)
    folds = [(pe, simd) for pe in divisors(3) for simd in divisors(2)]
    check([(graph, conv_case(graph, *fold), images) for fold in folds], tmp_path)


def test_every_fold_of_channels_with_their_own_scales(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shifts = np.array([0, 7, 3, 1, 0, 2])
    graph = conv_graph(rng, (3, 4, 4), (2, 2), 6, UINT8, INT8, UINT8, channel_shifts=shifts)
    images = extreme_images(rng, (3, 4, 4), UINT8)
    folds = [(pe, simd) for pe in divisors(6) for simd in (1, 4)]
    batch = [(graph, conv_case(graph, *fold), images) for fold in folds]
    graph = conv_graph(
        rng, (3, 4, 6), (3, 3), 6, INT8, INT8, INT8, groups=6, channel_shifts=shifts, bias_bits=29
    )
    images = extreme_images(rng, (3, 4, 6), INT8)
    batch += [(graph, conv_case(graph, pe, 0), images) for pe in divisors(6)]
    assert all("shift_bits = 3" in case.definitions for _, case, _ in batch)
    check(batch, tmp_path)


def test_pointwise_needs_no_window(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    graph = conv_graph(rng, (3, 2, 8), (1, 1), 10, UINT8, INT8, UINT8)
    images = extreme_images(rng, (3, 2, 8), UINT8)
    batch = [(graph, conv_case(graph, *fold), images) for fold in ((1, 1), (2, 4), (10, 8), (5, 1))]
    assert all("sliding_window" not in case.call for _, case, _ in batch)
    check(batch, tmp_path)


def test_as_optimised_for_simulation(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    batch = []
    for pe, simd, width in ((8, 16, 8), (8, 4, 4)):
        weights = FixedPoint(width, 1)
        graph = conv_graph(rng, (6, 5, 16), (3, 3), 16, UINT8, weights, UINT8, padding=(1, 1, 1, 1))
        batch.append((graph, conv_case(graph, pe, simd), extreme_images(rng, (6, 5, 16), UINT8)))
    graph = conv_graph(rng, (6, 5, 8), (3, 3), 16, UINT8, INT8, UINT8, groups=8)
    batch.append((graph, conv_case(graph, 4, 0), extreme_images(rng, (6, 5, 8), UINT8)))
    check(batch, tmp_path, FAST)


def test_what_makes_the_products_does_not_change_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    batch = []
    for source in (UINT8, INT8):
        graph = conv_graph(rng, (4, 3, 4), (2, 2), 5, source, INT8, UINT8)
        images = extreme_images(rng, (4, 3, 4), source)
        for multiplier in ("lut", "dsp", "dsp_pair"):
            for pe in (1, 5):  # with a last channel that has no partner
                case = conv_case(graph, pe, 2, multiplier=multiplier)
                batch.append((graph, case, images))
    graph = conv_graph(rng, (3, 4, 4), (2, 2), 4, UINT8, INT8, UINT8, groups=4)
    images = extreme_images(rng, (3, 4, 4), UINT8)
    batch += [(graph, conv_case(graph, 2, 0, 0, kind), images) for kind in ("lut", "dsp")]
    check(batch, tmp_path)


@pytest.mark.parametrize(
    ("source", "width"),
    [(INT8, 8), (UINT8, 8), (FixedPoint(4, 1, False), 6), (FixedPoint(12, 3), 4), (INT8, 2)],
)
def test_every_pair_of_weights_with_every_input_in_one_dsp(
    source: FixedPoint, width: int, tmp_path: Path
) -> None:
    """Each pixel holds another input; the channels' pairs of weights meet all extremes."""
    weights = FixedPoint(width, 1)
    low, high = weights.minimum, weights.maximum
    corners = [low, low + 1, -1, 0, 1, high - 1, high]
    pairs = [(a, b) for a in corners for b in corners]
    inputs = np.arange(source.minimum, source.maximum + 1)
    operation = Conv2D(
        "conv",
        ("x",),
        weights=np.array(pairs, np.int64).reshape(1, 1, 1, -1),
        biases=np.zeros(2 * len(pairs), np.int64),
        weight_format=weights,
    )
    image = Input("x", (), (len(inputs), 1, 1), source)
    accumulator = infer(operation, {"x": infer(image, {})}).format
    graph = IntegerGraph.build(
        "pairs",
        [image, operation, Requantize("y", ("conv",), accumulator, accumulator.fraction_bits)],
        ["y"],
    )
    case = conv_case(graph, 2, 1, multiplier="dsp_pair")
    check([(graph, case, inputs.reshape(1, -1, 1, 1))], tmp_path)


DEPTHWISE = [
    # window, strides, size, channels, multiplier
    ((3, 3), (1, 1), (5, 8), 6, 1),
    ((3, 3), (2, 2), (7, 6), 6, 2),
    ((3, 3), (2, 1), (8, 5), 4, 3),
    ((5, 5), (1, 1), (7, 5), 4, 2),
    ((5, 5), (2, 2), (9, 8), 3, 1),
    ((5, 5), (2, 1), (6, 7), 2, 1),
    ((7, 7), (1, 1), (5, 9), 2, 1),  # larger than the image
    ((7, 7), (2, 2), (10, 9), 2, 2),
    ((7, 7), (2, 1), (8, 8), 3, 1),
]


def test_depthwise_pads_as_keras_does_at_every_fold(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    batch = []
    for window, strides, size, channels, multiplier in DEPTHWISE:
        shape = (*size, channels)
        padding = same_padding(size, window, strides)
        graph = conv_graph(
            *(rng, shape, window, channels * multiplier, UINT8, INT8, INT8),
            strides=strides,
            padding=padding,
            groups=channels,
        )
        assert graph.tensors["y"].shape[:2] == tuple(
            -(-length // stride) for length, stride in zip(size, strides, strict=True)
        )
        images = extreme_images(rng, shape, UINT8)
        batch += [(graph, conv_case(graph, pe, 0), images) for pe in divisors(channels)]
    assert len(batch) == 24
    check(batch, tmp_path)


DILATED = [
    # window, dilation, size, channels, padding
    ((3, 3), (2, 2), (5, 8), 4, "same"),
    ((3, 3), (2, 2), (7, 6), 4, "valid"),
    ((3, 3), (1, 2), (6, 5), 4, "same"),
    ((3, 3), (2, 1), (5, 7), 4, "same"),
    ((2, 3), (3, 2), (7, 5), 4, "same"),  # with an odd padding
    ((5, 5), (2, 2), (9, 7), 2, "same"),
    ((3, 3), (6, 4), (4, 5), 4, "same"),  # most taps lie outside
    ((3, 3), (9, 9), (4, 3), 2, "same"),  # all but one do
    ((3, 2), (3, 8), (8, 9), 2, "valid"),
    ((1, 3), (5, 2), (3, 7), 4, "same"),
    ((3, 1), (2, 5), (7, 3), 4, "same"),
]


def dilated(
    rng: np.random.Generator, groups: int, parallel: bool
) -> list[tuple[IntegerGraph, Case, IntArray]]:
    """Every fold of the dilated layers; depthwise with a multiplier of 2 where groups are none."""
    batch = []
    for window, dilation, size, channels, how in DILATED:
        shape = (*size, channels)
        padding = (0, 0, 0, 0)
        if how == "same":
            padding = same_padding(size, reach_of(window, dilation), (1, 1))
        given = {"padding": padding, "groups": groups or channels, "dilation": dilation}
        filters = 2 * channels if groups == 0 else 6
        graph = conv_graph(rng, shape, window, filters, UINT8, INT8, INT8, **given)  # type: ignore[arg-type]
        if how == "same":
            assert graph.tensors["y"].shape[:2] == size
        images = extreme_images(rng, shape, UINT8)
        folds = [(pe, 0) for pe in divisors(channels)]
        if groups:
            simds = divisors(channels // groups)
            folds = [(pe, simd) for pe in divisors(6 // groups) for simd in simds]
        batch += [(graph, conv_case(graph, *fold, parallel=parallel), images) for fold in folds]
    return batch


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("groups", [0, 1, 2])
def test_dilated_windows_at_every_fold(groups: int, parallel: bool, tmp_path: Path) -> None:
    batch = dilated(np.random.default_rng(6), groups, parallel)
    assert len(batch) >= 30
    assert all("dilation_height" in case.definitions for _, case, _ in batch)
    check(batch, tmp_path)


@st.composite
def layers(
    draw: st.DrawFn, depthwise: bool, parallel: bool = False
) -> tuple[IntegerGraph, Case, IntArray]:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (4, 2)]))
    rows, columns = reach_of(kernel, dilation)
    padding = tuple(draw(st.integers(0, 3)) for _ in range(4))
    least = max(1, rows - padding[0] - padding[1]), max(1, columns - padding[2] - padding[3])
    height, width = (draw(st.integers(size, max(size, 7))) for size in least)
    groups = draw(st.integers(1, 6)) if depthwise else draw(st.sampled_from([1, 1, 1, 2, 3]))
    group_inputs = 1 if depthwise else draw(st.integers(1, 4))
    group_filters = draw(st.integers(1, 4))
    wide = draw(st.booleans()) and draw(st.booleans())
    source = FixedPoint(
        draw(st.sampled_from([1, 24, 31, 32]) if wide else st.integers(2, 16)),
        draw(st.integers(-2, 6)),
        draw(st.booleans()),
    )
    weights = FixedPoint(
        draw(st.sampled_from([1, 20, 24]) if wide else st.integers(2, 16)),
        draw(st.integers(-2, 3)),
        draw(st.sampled_from([True, True, False])) if not wide else True,
    )
    product_shift = 0 if wide else draw(st.sampled_from([0, 0, 1, 5]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    output_width = draw(st.integers(2, 16))
    # Somewhere between losing no high bit and losing many: saturation is met.
    accumulated = source.fraction_bits + weights.fraction_bits + product_shift
    output = FixedPoint(
        output_width,
        output_width - accumulated + draw(st.integers(0 if wide else -3, 20)),
        draw(st.booleans()),
        draw(st.sampled_from(Rounding)),
        draw(st.sampled_from(Overflow)),
    )
    shape = (height, width, groups * group_inputs)
    graph = conv_graph(
        rng,
        shape,
        kernel,
        groups * group_filters,
        source,
        weights,
        output,
        strides,
        padding,  # type: ignore[arg-type]
        groups,
        product_shift,
        draw(st.sampled_from([1, 10, 30, 36])),
        None if wide else draw(st.sampled_from([None, rng.integers(0, 6, groups * group_filters)])),
        dilation,
    )
    if depthwise:
        pe, simd = draw(st.sampled_from(divisors(groups))), 0
    else:
        pe = draw(st.sampled_from(divisors(group_filters)))
        simd = draw(st.sampled_from(divisors(group_inputs)))
    spare = draw(st.sampled_from([0, 0, 1, 5, 40]))
    case = conv_case(graph, pe, simd, spare, parallel=parallel)
    return graph, case, extreme_images(rng, shape, source)


SAMPLING = settings(
    max_examples=3,  # the first is the least one
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@SAMPLING
@given(batch=st.lists(layers(depthwise=False), min_size=BATCH, max_size=BATCH))
def test_sampled_convolutions(
    batch: list[tuple[IntegerGraph, Case, IntArray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(batch, tmp_path_factory.mktemp("cases"))


@SAMPLING
@given(batch=st.lists(layers(depthwise=True), min_size=BATCH, max_size=BATCH))
def test_sampled_depthwise(
    batch: list[tuple[IntegerGraph, Case, IntArray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(batch, tmp_path_factory.mktemp("cases"))
