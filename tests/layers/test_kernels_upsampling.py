"""upsample_nearest and upsample_bilinear as they are emitted, against the integer operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwflow.fixed_point import FixedPoint, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Input, Operation, Requantize, Shape, UpsampleBilinear2D, UpsampleNearest2D
from tests.support.kernel_cases import emitted_case, extreme_images
from tests.support.kernel_harness import STRICT, run_cases

BYTE = FixedPoint(8, 3)
INSTANCES: list[tuple[Shape, tuple[int, int], FixedPoint]] = [
    ((3, 4, 2), (2, 2), BYTE),
    ((4, 3, 6), (4, 1), FixedPoint(8, 4, False)),
    ((2, 3, 3), (3, 5), FixedPoint(5, 2)),
    ((1, 5, 4), (2, 3), FixedPoint(16, 4)),
    ((5, 1, 24), (1, 4), BYTE),
    ((1, 1, 40), (3, 2), FixedPoint(20, 4, False)),
    ((2, 2, 48), (1, 1), FixedPoint(1, 1, False)),
    ((6, 5, 64), (2, 2), FixedPoint(13, 4)),
]


def test_upsampling(tmp_path: Path) -> None:
    rng = np.random.default_rng(21)
    cases, expected = [], []
    for shape, factors, source in INSTANCES:
        blend = UpsampleBilinear2D("blend", ("x",), factors)
        fraction_bits, divisor = source.fraction_bits, blend.scale
        while divisor % 2 == 0:
            fraction_bits, divisor = fraction_bits + 1, divisor // 2
        target = FixedPoint(source.width, source.integer_bits, source.signed, Rounding.RND_CONV)
        programs: list[list[Operation]] = [
            [UpsampleNearest2D("y", ("x",), factors)],
            [blend, Requantize("y", ("blend",), target, fraction_bits, divisor)],
        ]
        if divisor == 1:
            programs.append([UpsampleBilinear2D("y", ("x",), factors)])
        for program in programs:
            graph = IntegerGraph.build("up", [Input("x", (), shape, source), *program], ["y"])
            images = extreme_images(rng, shape, source)
            cases.append((emitted_case(graph), [images]))
            expected.append(graph.evaluate({"x": images})["y"])
    results = run_cases(cases, tmp_path, STRICT)
    for (case, _), (result,), values in zip(cases, results, expected, strict=True):
        np.testing.assert_array_equal(result.reshape(values.shape), values, err_msg=case.call)
