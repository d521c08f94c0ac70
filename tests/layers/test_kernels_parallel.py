"""All taps of a window at once: parallel_window, and the kernels that read its beats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray, Rounding
from hwflow.hls import packing
from hwflow.layers.base import same_padding
from hwflow.opset import Conv2D, MaxPool2D, common_divisor
from hwflow.plan.parallel_window import ParallelWindow
from hwflow.plan.window_schedule import WRITE_TO_READ
from tests.layers.test_kernels_convolution import INT8, UINT8, check, layers
from tests.layers.test_kernels_pooling import FORMATS, WINDOWS
from tests.layers.test_kernels_pooling import check as check_pools
from tests.layers.test_kernels_windows import INT5, expected_windows, sliding_windows
from tests.support.kernel_cases import (
    all_taps,
    conv_case,
    conv_graph,
    divisors,
    extreme_images,
    pool_case,
    sum_case,
    sum_graph,
    window_case,
    window_of,
)
from tests.support.kernel_harness import FAST, Case, Port, run_cases

SAMPLING = settings(
    max_examples=3,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def walked_schedule(window: ParallelWindow) -> tuple[list[int], list[int]]:
    """The schedule by its definition: the pixels of the walk one after the other."""
    height, width = window.in_height, window.in_width
    ends: list[int] = []
    for out_y in range(window.out_height):
        for out_x in range(window.out_width):
            bottom = out_y * window.strides[0] - window.pad_top
            bottom += (window.kernel[0] - 1) * window.dilation[0]
            right = out_x * window.strides[1] - window.pad_left
            right += (window.kernel[1] - 1) * window.dilation[1]
            ends.append(bottom * window.pitch + right)
    assert ends == sorted(set(ends)), "no two windows end on one pixel"
    reads: list[int] = []
    writes: list[int] = []
    place, iteration = min(0, ends[0]), 0
    while len(reads) < window.in_beats or len(writes) < window.out_beats:
        y, x = divmod(place, window.pitch)
        for _ in range(window.folds):
            if 0 <= y < height and x < width:
                reads.append(iteration)
            if len(writes) < window.out_beats and ends[len(writes) // window.folds] == place:
                writes.append(iteration)
            iteration += 1
        place += 1
    return reads, writes


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(sliding=sliding_windows())
def test_schedule_is_that_of_the_walk(sliding: object) -> None:
    window = all_taps(sliding)  # type: ignore[arg-type]
    reads, writes = walked_schedule(window)
    assert window.reads().tolist() == reads
    assert window.writes().tolist() == writes
    assert window.iterations == max(reads[-1], writes[-1]) + 1


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(sliding=sliding_windows())
def test_no_window_leaves_before_its_pixels_came(sliding: object) -> None:
    window = all_taps(sliding)  # type: ignore[arg-type]
    reads = window.reads().reshape(window.in_height, window.in_width, window.folds)
    writes = window.writes().reshape(window.out_height, window.out_width, window.folds)
    for (out_y, out_x, fold), when in np.ndenumerate(writes):
        top = out_y * window.strides[0] - window.pad_top
        left = out_x * window.strides[1] - window.pad_left
        ys = [top + tap * window.dilation[0] for tap in range(window.kernel[0])]
        xs = [left + tap * window.dilation[1] for tap in range(window.kernel[1])]
        for y in (y for y in ys if 0 <= y < window.in_height):
            row = [x for x in xs if 0 <= x < window.in_width]
            assert reads[y, row, fold].max(initial=0) <= when


@pytest.mark.parametrize("folds", [1, 4, 16])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (7, 2), (1, 2)])
def test_an_image_takes_its_pixels_and_the_border(folds: int, kernel: int, stride: int) -> None:
    padding = same_padding((20, 20), (kernel, kernel), (stride, stride))
    window = all_taps(window_of((20, 20, folds), (kernel,) * 2, (stride,) * 2, padding, 1))
    assert window.pitch == 20
    beyond = max(0, padding[1] * 20 + padding[3])
    assert window.iterations <= (400 + beyond) * folds


def test_a_word_is_not_read_before_it_was_written() -> None:
    """Narrow images are walked in longer rows; folds that come around too soon are registers."""
    for width in range(1, 6):
        for channels in range(1, 7):
            for lanes in divisors(channels):
                window = all_taps(window_of((6, width, channels), (3, 1), (1, 1), (1,) * 4, lanes))
                assert window.pitch * window.folds > WRITE_TO_READ
                wide = all_taps(window_of((6, 6, channels), (1, 3), (1, 1), (1,) * 4, lanes))
                assert ("columns" in wide.memories) == (wide.folds > WRITE_TO_READ)
                assert wide.register_values == (0 if wide.folds > WRITE_TO_READ else 2 * channels)
                assert "rows" not in wide.memories
    for apart in range(1, 5):
        wide = all_taps(window_of((3, 9, 2), (1, 3), (1, 1), (0,) * 4, 2, dilation=(1, apart)))
        assert ("columns" in wide.memories) == (apart > WRITE_TO_READ)
        assert wide.register_values == (0 if apart > WRITE_TO_READ else 4 * apart)
        narrow = all_taps(window_of((9, 1, 1), (3, 1), (1, 1), (0,) * 4, 1, dilation=(apart, 1)))
        assert narrow.pitch * apart > WRITE_TO_READ
        assert narrow.memories["rows"] == (apart, 2)


def expected_beats(window: ParallelWindow, images: IntArray, pad_value: int) -> IntArray:
    return expected_windows(window, images, pad_value)  # type: ignore[arg-type]


@SAMPLING
@given(batch=st.lists(sliding_windows(), min_size=14, max_size=14))
def test_sampled_windows(batch: list[object], tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(5)
    cases = []
    windows = [all_taps(sliding) for sliding in batch]  # type: ignore[arg-type]
    for window in windows:
        shape = (window.in_height, window.in_width, window.in_channels)
        cases.append((window_case(window, INT5, -16), [extreme_images(rng, shape, INT5)]))
    results = run_cases(cases, tmp_path_factory.mktemp("cases"))
    for window, (_, (images,)), (result,) in zip(windows, cases, results, strict=True):
        expected = expected_beats(window, images, -16)
        np.testing.assert_array_equal(result.reshape(expected.shape), expected, str(window))


def partial_case(window: ParallelWindow, iterations: int) -> Case:
    """The kernel stopped early; it must by then have read and written what the schedule says."""
    whole = window_case(window, INT5)
    definitions = whole.definitions.replace(
        f"iterations = {window.iterations};", f"iterations = {iterations};"
    )
    assert definitions != whole.definitions
    read = int(np.count_nonzero(window.reads() < iterations))
    written = int(np.count_nonzero(window.writes() < iterations))
    drain = f" for (int i = {read}; i < {window.in_beats}; ++i) in0.read();"
    return replace(
        whole,
        definitions=definitions,
        call=whole.call + drain,
        outputs=(Port(INT5, window.lanes * window.taps, written),),
    )


def test_kernel_keeps_the_schedule(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    batch = []
    for sliding in (
        window_of((6, 5, 2), (3, 3), (2, 2), (1, 1, 1, 1), 1),
        window_of((5, 4, 8), (2, 3), (2, 1), (0, 1, 2, 0), 2),
        window_of((4, 3, 3), (1, 2), (1, 1), (2, 1, 3, 3), 1),  # begins before the image
        window_of((6, 7, 2), (2, 3), (1, 1), (3, 0, 2, 2), 1, 0, (3, 2)),
        window_of((4, 5, 1), (3, 3), (1, 1), (2, 2, 5, 5), 1, 0, (2, 5)),
    ):
        window = all_taps(sliding)
        shape = (window.in_height, window.in_width, window.in_channels)
        images = extreme_images(rng, shape, INT5)[:1]
        counts = (1, 7, 12, 13, 20, window.iterations // 2, window.iterations - 1)
        batch += [(partial_case(window, count), [images]) for count in counts]
    run_cases(batch, tmp_path)


def test_optimised(tmp_path: Path) -> None:
    for lanes in (1, 8):
        window = all_taps(window_of((9, 8, 8), (3, 3), (2, 2), (1, 1, 1, 1), lanes))
        images = extreme_images(np.random.default_rng(7), (9, 8, 8), INT5)
        ((result,),) = run_cases([(window_case(window, INT5), [images])], tmp_path, FAST)
        expected = expected_beats(window, images, 0)
        np.testing.assert_array_equal(result.reshape(expected.shape), expected)


LAYERS = [
    # kernel, strides, size, inputs, filters, groups
    ((1, 3), (1, 1), (4, 7), 4, 4, 1),
    ((3, 1), (1, 1), (7, 4), 4, 4, 1),
    ((3, 3), (1, 1), (5, 7), 4, 6, 1),
    ((3, 3), (2, 2), (7, 6), 4, 4, 2),
    ((3, 3), (2, 1), (8, 5), 3, 4, 1),
    ((5, 5), (1, 1), (7, 5), 2, 3, 1),
    ((5, 5), (2, 2), (9, 8), 4, 4, 2),
    ((5, 5), (2, 1), (6, 7), 2, 2, 1),
    ((7, 7), (1, 1), (5, 9), 2, 2, 1),  # larger than the image
    ((7, 7), (2, 2), (10, 9), 3, 2, 1),
]


@pytest.mark.parametrize("half", [0, 1])
def test_convolutions_at_every_fold(half: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    batch = []
    for kernel, strides, size, inputs, filters, groups in LAYERS[half::2]:
        shape = (*size, inputs)
        padding = same_padding(size, kernel, strides)
        both = {"strides": strides, "padding": padding, "groups": groups}
        graph = conv_graph(rng, shape, kernel, filters, UINT8, INT8, INT8, **both)  # type: ignore[arg-type]
        images = extreme_images(rng, shape, UINT8)
        batch += [
            (graph, conv_case(graph, pe, simd, parallel=True), images)
            for pe in divisors(filters // groups)
            for simd in divisors(inputs // groups)
        ]
    assert len(batch) > 20
    check(batch, tmp_path)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_at_every_fold(multiplier: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    batch = []
    for kernel, strides, size, inputs, _, _ in LAYERS:
        shape = (*size, inputs)
        graph = conv_graph(
            *(rng, shape, kernel, inputs * multiplier, UINT8, INT8, INT8),
            strides=strides,
            padding=same_padding(size, kernel, strides),
            groups=inputs,
            channel_shifts=rng.integers(0, 6, inputs * multiplier),
        )
        images = extreme_images(rng, shape, UINT8)
        batch += [
            (graph, conv_case(graph, pe, 0, parallel=True), images) for pe in divisors(inputs)
        ]
    assert len(batch) == 25
    check(batch, tmp_path)


def test_what_makes_the_products_does_not_change_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    graph = conv_graph(rng, (4, 5, 2), (3, 3), 5, UINT8, INT8, UINT8, padding=(1, 1, 1, 1))
    images = extreme_images(rng, (4, 5, 2), UINT8)
    batch = [
        (graph, conv_case(graph, pe, 2, 0, kind, parallel=True), images)
        for kind in ("lut", "dsp", "dsp_pair")
        for pe in (1, 5)
    ]
    check(batch, tmp_path)


@SAMPLING
@given(batch=st.lists(layers(depthwise=False, parallel=True), min_size=9, max_size=9))
def test_sampled_convolutions(
    batch: list[tuple[object, Case, IntArray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(batch, tmp_path_factory.mktemp("cases"))  # type: ignore[arg-type]


@SAMPLING
@given(batch=st.lists(layers(depthwise=True, parallel=True), min_size=9, max_size=9))
def test_sampled_depthwise(
    batch: list[tuple[object, Case, IntArray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(batch, tmp_path_factory.mktemp("cases"))  # type: ignore[arg-type]


def test_pools(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    batch = []
    scaled = 0
    for index, (shape, window, strides, padding, lanes) in enumerate(WINDOWS):
        for source in FORMATS[index % 2 :: 2]:
            images = extreme_images(rng, shape, source)
            most = MaxPool2D("pool", ("x",), window, strides, padding)
            case = pool_case(shape, source, most, lanes, source, parallel=True)
            batch.append((case, images, most.evaluate(images)))
            output = replace(source, rounding=Rounding.RND_CONV)
            divisor = None
            if index % 2 and max(padding[:2]) < window[0] and max(padding[2:]) < window[1]:
                divisor = common_divisor(shape, window, strides, padding)
            scaled += divisor is not None
            graph = sum_graph(shape, window, source, output, strides, padding, divisor)
            case = sum_case(graph, lanes, parallel=True)
            batch.append((case, images, graph.evaluate({"x": images})["y"]))
    assert scaled == 9
    check_pools(batch, tmp_path)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("wrong", ["tap", "lane", "fold"])
def test_weights_in_another_order_are_found(wrong: str, groups: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    graph = conv_graph(
        *(rng, (5, 4, 4), (3, 3), 4, UINT8, INT8, FixedPoint(16, 10)),
        padding=(1, 1, 1, 1),
        groups=groups,
    )
    case = conv_case(graph, 2, 1, parallel=True)
    operation = graph.operations[1]
    assert isinstance(operation, Conv2D)
    rows = packing.weight_rows(operation, 2, 1, 9)
    split = rows.reshape(-1, 2, 9)  # fold, output lane, tap
    moved = {"tap": split[:, :, ::-1], "lane": split[:, ::-1], "fold": split[::-1]}[wrong]

    def text(order: IntArray) -> str:
        return packing.array_text("weights", packing.pack_rows(order.reshape(rows.shape), 8))

    assert text(rows) in case.definitions
    bad = replace(case, definitions=case.definitions.replace(text(rows), text(moved)))
    images = extreme_images(rng, (5, 4, 4), UINT8)
    check([(graph, case, images)], tmp_path)
    with pytest.raises(AssertionError, match="not equal"):
        check([(graph, bad, images)], tmp_path)


@pytest.mark.parametrize(("groups", "pe", "simd"), [(1, 4, 3), (2, 2, 1), (2, 4, 3)])
def test_weight_rows_follow_the_schedule(groups: int, pe: int, simd: int) -> None:
    rng = np.random.default_rng(13)
    graph = conv_graph(rng, (4, 4, 6 * groups), (2, 3), 8, UINT8, INT8, UINT8, groups=groups)
    operation = graph.operations[1]
    assert isinstance(operation, Conv2D)
    expected = [
        [
            operation.weights[y, x, cf * simd + s, group * (8 // groups) + nf * pe + p]
            for p in range(pe)
            for y in range(2)
            for x in range(3)
            for s in range(simd)
        ]
        for group in range(groups)
        for nf in range(8 // groups // pe)
        for cf in range(6 // simd)
    ]
    assert packing.weight_rows(operation, pe, simd, 6).tolist() == expected


def test_faults() -> None:
    with pytest.raises(DesignError, match="lanes must divide the 6 channels, not 4"):
        ParallelWindow(8, 8, 6, (3, 3), (1, 1), 1, 1, 8, 8, 4)
    graph = conv_graph(np.random.default_rng(0), (4, 4, 4), (2, 3), 8, UINT8, INT8, UINT8)
    operation = graph.operations[1]
    assert isinstance(operation, Conv2D)
    with pytest.raises(DesignError, match="parallel must divide the 6 taps, not 4"):
        packing.weight_rows(operation, 2, 2, 4)
