"""What a build tells of the calibration's images on integers."""

from __future__ import annotations

import numpy as np

from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input, Requantize
from hwflow.simulate.statistics import lost_share, observed, summary
from hwflow.summary import calibration_line


def graph(kept: FixedPoint) -> IntegerGraph:
    weights = np.array([[[[3, -3]]]])
    return IntegerGraph.build(
        "g",
        [
            Input("x", (), (1, 4, 1), FixedPoint(8, 8)),
            Conv2D("sums", ("x",), weights, np.array([0, 0]), FixedPoint(4, 4)),
            Requantize("y", ("sums",), kept, 0),
        ],
        ["y"],
    )


IMAGES = np.array([0, 1, 2, 40], np.float32).reshape(1, 1, 4, 1)  # sums of 0, 3, 6, 120 and less


def test_values_that_a_range_changes_are_lost_but_not_those_that_relu_does() -> None:
    signed = graph(FixedPoint(6, 6))
    seen = observed(signed, IMAGES)
    assert seen["y"]["format"].startswith("fixed<6,6")
    assert (seen["y"]["minimum"], seen["y"]["maximum"]) == (-32, 31)
    assert lost_share(seen["y"]) == 2 / 8  # 120 and -120
    assert summary(signed, seen, 1) == {
        "images": 1,
        "clipped": {"y": 0.25},
        "unused_bits": {"x": 1},  # sums have spare bits too, but nobody chose them
    }
    relu = graph(FixedPoint(6, 6, signed=False))
    assert lost_share(observed(relu, IMAGES)["y"]) == 1 / 8
    wide = graph(FixedPoint(9, 9, signed=False))
    told = summary(wide, observed(wide, IMAGES), 1)
    assert told == {"images": 1, "clipped": {}, "unused_bits": {"y": 2, "x": 1}}


def test_every_image_counts_and_is_told() -> None:
    told: list[tuple[int, int]] = []
    images = np.concatenate([IMAGES, -IMAGES, IMAGES])
    seen = observed(graph(FixedPoint(6, 6)), images, lambda *state: told.append(state))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seen["x"]["count"] == 12
    assert (seen["x"]["minimum"], seen["x"]["maximum"]) == (-40, 40)


def test_the_line_of_a_build() -> None:
    told = {"images": 1200, "clipped": {"a": 0.0123, "b": 0.5}, "unused_bits": {"c": 2}}
    assert calibration_line(told) == (
        "1,200 images on integers: clipped a 1.2%, b 50%; top bits unused c 2"
    )
    nothing = {"images": 8, "clipped": {}, "unused_bits": {}}
    assert calibration_line(nothing) == (
        "8 images on integers: clipped nothing; top bits unused none"
    )
