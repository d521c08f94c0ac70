"""frame as it is emitted, in every number of lanes, against the integer operation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint
from hwflow.opset import Frame2D, Padding, Shape
from tests.support.kernel_cases import config, constants, divisors, extreme_images, types
from tests.support.kernel_harness import Case, Port, run_cases

FRAMES: list[tuple[Shape, Padding]] = [
    ((4, 5, 6), (-1, 0, 0, -2)),
    ((5, 3, 4), (-2, -2, -1, -1)),  # a single pixel is left
    ((3, 4, 2), (1, 2, 3, 0)),
    ((4, 3, 6), (-1, 1, 1, -1)),  # moved
    ((3, 5, 1), (2, -2, -4, 5)),  # nothing is left but a corner, among zeros
    ((2, 2, 12), (0, 0, 0, 0)),
]


def frame_case(operation: Frame2D, value: FixedPoint, shape: Shape, lanes: int) -> Case:
    wider = FixedPoint(value.width + 1, value.integer_bits + 1)
    height, width, channels = operation.output_shape(shape)
    text = config(
        "framing",
        constants(
            in_height=shape[0],
            in_width=shape[1],
            channels=channels,
            lanes=lanes,
            pad_top=operation.padding[0],
            pad_left=operation.padding[2],
            out_height=height,
            out_width=width,
        ),
        types(input_t=value.raw_type, output_t=wider.raw_type),
    )
    return Case(
        text,
        "hwflow::frame<framing>(in0, out0);",
        (Port(value, lanes, int(np.prod(shape)) // lanes),),
        (Port(wider, lanes, height * width * channels // lanes),),
    )


@pytest.mark.parametrize("value", [FixedPoint(8, 4, False), FixedPoint(5, 2)], ids=str)
def test_every_number_of_lanes(value: FixedPoint, tmp_path: Path) -> None:
    rng = np.random.default_rng(22)
    batch = []
    for shape, padding in FRAMES:
        operation = Frame2D("it", ("x",), padding)
        images = extreme_images(rng, shape, value)
        expected = operation.evaluate(images)
        batch += [
            (frame_case(operation, value, shape, lanes), images, expected)
            for lanes in divisors(shape[2])
        ]
    results = run_cases([(case, [images]) for case, images, _ in batch], tmp_path)
    for (case, _, expected), (result,) in zip(batch, results, strict=True):
        np.testing.assert_array_equal(
            result.reshape(expected.shape), expected, err_msg=case.definitions
        )
