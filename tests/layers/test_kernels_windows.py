"""sliding_window: what it emits, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.opset import reach_of
from hwflow.plan.window_schedule import (
    WRITE_TO_READ,
    SlidingWindow,
    WindowSchedule,
    window_schedule,
)
from tests.support.kernel_cases import divisors, extreme_images, window_case, window_of
from tests.support.kernel_harness import FAST, Case, Port, run_cases
from tests.support.plain import windows

INT5 = FixedPoint(5, 5)


def stepped_schedule(window: SlidingWindow) -> tuple[list[int], list[int]]:
    """The schedule by its definition: one iteration after the other."""
    (kernel_height, kernel_width), (stride_y, stride_x) = window.kernel, window.strides
    tap_y, tap_x = window.dilation
    reads: list[int] = []
    writes: list[int] = []
    order = [
        (out_y, out_x, fold, y, x)
        for out_y in range(window.out_height)
        for out_x in range(window.out_width)
        for fold in range(window.folds)
        for y in range(kernel_height)
        for x in range(kernel_width)
    ]

    def first_pixel(out_y: int, out_x: int) -> int:
        top, left = out_y * stride_y - window.pad_top, out_x * stride_x - window.pad_left
        if top < 0:
            return 0
        if top >= window.in_height:
            return window.in_height * window.in_width
        return top * window.in_width + min(max(left, 0), window.in_width)

    iteration = 0
    while len(writes) < len(order) or len(reads) < window.in_beats:
        oldest = window.in_height * window.in_width
        emits = False
        if len(writes) < len(order):
            out_y, out_x, fold, kernel_y, kernel_x = order[len(writes)]
            oldest = first_pixel(out_y, out_x)
            y = out_y * stride_y - window.pad_top + kernel_y * tap_y
            x = out_x * stride_x - window.pad_left + kernel_x * tap_x
            emits = True
            if 0 <= y < window.in_height and 0 <= x < window.in_width:
                beat = (y * window.in_width + x) * window.folds + fold
                emits = len(reads) > beat and reads[beat] + WRITE_TO_READ <= iteration
        room = (oldest + window.buffer_pixels) * window.folds
        if emits:
            writes.append(iteration)
        if len(reads) < min(window.in_beats, room):
            reads.append(iteration)
        iteration += 1
    return reads, writes


def expected_windows(window: SlidingWindow, images: IntArray, pad_value: int) -> IntArray:
    """Shape `(N, out_height, out_width, folds, kernel_height, kernel_width, lanes)`."""
    count = len(images)
    height, width, channels = images.shape[1:]
    rows, columns = reach_of(window.kernel, window.dilation)
    below = (window.out_height - 1) * window.strides[0] + rows - height - window.pad_top
    right = (window.out_width - 1) * window.strides[1] + columns - width - window.pad_left
    padding = (window.pad_top, max(below, 0), window.pad_left, max(right, 0))
    view = windows(images, window.kernel, window.strides, padding, pad_value, window.dilation)
    view = view[:, : window.out_height, : window.out_width]
    shape = (count, window.out_height, window.out_width, window.folds, window.lanes)
    split = view.reshape(*shape, *window.kernel)
    assert channels == window.in_channels
    return np.ascontiguousarray(split.transpose(0, 1, 2, 3, 5, 6, 4))


STEPS = st.sampled_from([1, 2, 3, 6])
DILATIONS = st.one_of(st.just((1, 1)), st.tuples(STEPS, STEPS))
"""Of half the windows none; of the others up to what reaches over all of an image."""


@st.composite
def sliding_windows(draw: st.DrawFn) -> SlidingWindow:
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    strides = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = draw(DILATIONS)
    rows, columns = reach_of(kernel, dilation)
    above, beside = (st.integers(0, max(4, reach // 2)) for reach in (rows, columns))
    padding = draw(st.tuples(above, above, beside, beside))
    least = max(1, rows - padding[0] - padding[1]), max(1, columns - padding[2] - padding[3])
    height, width = (draw(st.integers(size, max(size, 8))) for size in least)
    channels = draw(st.integers(1, 6))
    lanes = draw(st.sampled_from(divisors(channels)))
    spare = draw(st.sampled_from([0, 0, 1, 2, 9, 70]))
    return window_of((height, width, channels), kernel, strides, padding, lanes, spare, dilation)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(window=sliding_windows())
def test_schedule_is_that_of_stepping(window: SlidingWindow) -> None:
    schedule = window_schedule(window)
    reads, writes = stepped_schedule(window)
    assert schedule.reads.tolist() == reads
    assert schedule.writes.tolist() == writes
    assert schedule.iterations == max(reads[-1], writes[-1]) + 1


@settings(
    max_examples=3,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=st.lists(sliding_windows(), min_size=14, max_size=14))
def test_sampled_windows(
    batch: list[SlidingWindow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(5)
    cases = []
    for window in batch:
        shape = (window.in_height, window.in_width, window.in_channels)
        cases.append((window_case(window, INT5, -16), [extreme_images(rng, shape, INT5)]))
    results = run_cases(cases, tmp_path_factory.mktemp("cases"))
    for window, (_, (images,)), (result,) in zip(batch, cases, results, strict=True):
        expected = expected_windows(window, images, -16)
        np.testing.assert_array_equal(result.reshape(expected.shape), expected, str(window))


def partial_case(window: SlidingWindow, schedule: WindowSchedule, iterations: int) -> Case:
    """The kernel stopped early; it must by then have read and written what the schedule says.

    What it did not read is drained, so that only a wrong count is a fault of the streams.
    """
    whole = window_case(window, INT5)
    definitions = whole.definitions.replace(
        f"iterations = {schedule.iterations};", f"iterations = {iterations};"
    )
    assert definitions != whole.definitions
    read = int(np.count_nonzero(schedule.reads < iterations))
    written = int(np.count_nonzero(schedule.writes < iterations))
    drain = f" for (int i = {read}; i < {window.in_beats}; ++i) in0.read();"
    return replace(
        whole,
        definitions=definitions,
        call=whole.call + drain,
        outputs=(Port(INT5, window.lanes, written),),
    )


def test_kernel_keeps_the_schedule(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    batch = []
    for window in (
        window_of((6, 5, 2), (3, 3), (2, 2), (1, 1, 1, 1), 1),
        window_of((5, 4, 2), (1, 1), (2, 2), (0, 0, 0, 0), 2, 3),
        window_of((4, 7, 3), (2, 3), (1, 1), (0, 0, 2, 0), 1, 4),
        window_of((6, 7, 2), (2, 3), (1, 1), (3, 0, 2, 2), 1, 0, (3, 2)),
    ):
        schedule = window_schedule(window)
        shape = (window.in_height, window.in_width, window.in_channels)
        images = extreme_images(rng, shape, INT5)[:1]
        counts = (1, 7, 12, 13, 20, schedule.iterations // 2, schedule.iterations - 1)
        batch += [(partial_case(window, schedule, count), [images]) for count in counts]
    run_cases(batch, tmp_path)


def test_optimised(tmp_path: Path) -> None:
    window = window_of((9, 8, 8), (3, 3), (2, 2), (1, 1, 1, 1), 8, 5)
    images = extreme_images(np.random.default_rng(7), (9, 8, 8), INT5)
    ((result,),) = run_cases([(window_case(window, INT5), [images])], tmp_path, FAST)
    expected = expected_windows(window, images, 0)
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize("spare", [0, 3, 9, 40])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (2, 1), (5, 3), (1, 1)])
def test_rows_that_repeat_are_copied_rightly(kernel: int, stride: int, spare: int) -> None:
    padding = (kernel // 2, kernel // 2, kernel // 2, kernel // 2)
    window = window_of((25, 9, 2), (kernel, kernel), (stride, stride), padding, 1, spare)
    schedule = window_schedule(window)
    reads, writes = stepped_schedule(window)
    assert schedule.reads.tolist() == reads
    assert schedule.writes.tolist() == writes


@pytest.mark.parametrize("folds", [1, 4, 16])
@pytest.mark.parametrize(("kernel", "pad", "spare"), [(3, 1, 0), (3, 0, 2), (5, 2, 0), (5, 0, 4)])
def test_dense_windows_wait_but_once(folds: int, kernel: int, pad: int, spare: int) -> None:
    """Stride 1: the image costs its output beats and the beats before the first window."""
    padding = (pad, pad, pad, pad)
    window = window_of((20, 20, folds), (kernel, kernel), (1, 1), padding, 1, spare)
    first = folds * ((kernel - 1 - pad) * 20 + kernel - pad) + WRITE_TO_READ
    assert window_schedule(window).iterations <= window.out_beats + first


def test_a_spare_row_hides_the_return_of_a_stride() -> None:
    tight = window_of((32, 32, 4), (3, 3), (2, 2), (0, 1, 0, 1), 4)
    roomy = window_of((32, 32, 4), (3, 3), (2, 2), (0, 1, 0, 1), 4, 32)
    waits = [window_schedule(w).iterations - w.out_beats for w in (tight, roomy)]
    assert waits[1] < 100 < waits[0]


def test_faults_come_together() -> None:
    with pytest.raises(DesignError) as caught:
        SlidingWindow(8, 8, 6, (3, 3), (1, 1), 1, 1, 8, 8, 4, 18)
    assert [fault.message for fault in caught.value.faults] == [
        "lanes must divide the 6 channels, not 4: choose a divisor",
        "the line buffer must hold at least 19 pixels, not 18: enlarge it",
    ]
