"""max_pool, window_sum and global_sum against the integer operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.opset import MaxPool2D, Padding, Shape, common_divisor
from tests.support.kernel_cases import extreme_images, pool_case, sum_case, sum_graph
from tests.support.kernel_harness import FAST, STRICT, Case, run_cases

FORMATS = [
    FixedPoint(2, 1),
    FixedPoint(5, 2, False),
    FixedPoint(8, 3),
    FixedPoint(8, 3, False),
    FixedPoint(16, 4),
    FixedPoint(31, 4, False),
    FixedPoint(32, 8),
]

WINDOWS: list[tuple[Shape, tuple[int, int], tuple[int, int], Padding, int]] = [
    ((9, 7, 4), (3, 3), (2, 2), (0, 0, 0, 0), 2),
    ((7, 9, 3), (3, 3), (2, 2), (0, 1, 0, 1), 3),
    ((6, 5, 4), (2, 2), (2, 2), (0, 0, 0, 0), 4),
    ((5, 8, 2), (3, 2), (1, 3), (2, 1, 1, 0), 1),
    ((4, 4, 6), (1, 1), (2, 1), (0, 0, 0, 0), 3),
    ((6, 7, 2), (5, 4), (1, 1), (2, 2, 2, 1), 2),
]


def check(
    batch: list[tuple[Case, IntArray, IntArray]], folder: Path, flags: tuple[str, ...] = STRICT
) -> None:
    results = run_cases([(case, [images]) for case, images, _ in batch], folder, flags)
    for (case, _, expected), (result,) in zip(batch, results, strict=True):
        np.testing.assert_array_equal(
            result.reshape(expected.shape), expected, err_msg=case.definitions
        )


def test_max_pool(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    batch = []
    for index, (shape, window, strides, padding, lanes) in enumerate(WINDOWS):
        for source in FORMATS[index % 2 :: 2]:
            operation = MaxPool2D("pool", ("x",), window, strides, padding)
            images = extreme_images(rng, shape, source)
            wider = FixedPoint(source.width + 1, source.integer_bits + 1)
            output = wider if index % 3 == 0 else source
            case = pool_case(shape, source, operation, lanes, output)
            batch.append((case, images, operation.evaluate(images)))
    check(batch, tmp_path)


def test_window_sum(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    batch = []
    scaled = 0
    for index, (shape, window, strides, padding, lanes) in enumerate(WINDOWS):
        for source in FORMATS[index % 2 :: 2]:
            output = FixedPoint(
                source.width, source.integer_bits - index % 3, source.signed, Rounding.RND_CONV
            )
            divisor = None
            if index % 2 and max(padding[:2]) < window[0] and max(padding[2:]) < window[1]:
                divisor = common_divisor(shape, window, strides, padding)
            scaled += divisor is not None
            graph = sum_graph(shape, window, source, output, strides, padding, divisor)
            images = extreme_images(rng, shape, source)
            batch.append((sum_case(graph, lanes), images, graph.evaluate({"x": images})["y"]))
    assert scaled == 9
    check(batch, tmp_path)


def test_global_sum(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    batch = []
    for size, lanes, source in (
        ((13, 13), 2, FORMATS[3]),
        ((7, 7), 6, FORMATS[2]),
        ((14, 14), 1, FORMATS[4]),
        ((1, 3), 3, FORMATS[0]),
        ((5, 11), 2, FORMATS[5]),
        ((8, 8), 3, FORMATS[6]),
    ):
        for rounding in (Rounding.RND_CONV, Rounding.TRN_ZERO):
            output = FixedPoint(
                source.width, source.integer_bits - 1, source.signed, rounding, Overflow.SAT
            )
            graph = sum_graph((*size, 6), size, source, output)
            images = extreme_images(rng, (*size, 6), source)
            batch.append((sum_case(graph, lanes), images, graph.evaluate({"x": images})["y"]))
    assert all("global_sum" in case.call for case, _, _ in batch)
    check(batch, tmp_path)


def test_global_sum_in_a_memory_of_the_caller(tmp_path: Path) -> None:
    """What the memory holds from the last image does no harm."""
    source = FORMATS[2]
    graph = sum_graph((4, 5, 6), (4, 5), source, source)
    images = extreme_images(np.random.default_rng(13), (4, 5, 6), source)
    case = sum_case(graph, 2)
    accumulator = graph.tensors["sum"].format.raw_type
    given = Case(
        case.definitions + f"static {accumulator} sums[3][2];\n",
        "hwflow::global_sum<pool>(in0, out0, sums);",
        case.inputs,
        case.outputs,
    )
    check([(given, images, graph.evaluate({"x": images})["y"])], tmp_path)


@pytest.mark.parametrize("lanes", [8])
def test_optimised(lanes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    shape = (9, 9, 16)
    source = FORMATS[3]
    images = extreme_images(rng, shape, source)
    operation = MaxPool2D("pool", ("x",), (3, 3), (2, 2))
    graph = sum_graph(shape, (9, 9), source, source)
    check(
        [
            (
                pool_case(shape, source, operation, lanes, source),
                images,
                operation.evaluate(images),
            ),
            (sum_case(graph, lanes), images, graph.evaluate({"x": images})["y"]),
        ],
        tmp_path,
        FAST,
    )
