"""select_channels: shuffles, splits, repetitions, in every number of lanes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint
from hwflow.hls import packing
from hwflow.opset import SelectChannels
from hwflow.plan.process_schedule import SELECTION_LAG, selection_steps
from tests.support.kernel_cases import config, constants, divisors, extreme_images, types
from tests.support.kernel_harness import Case, Port, run_cases

HEIGHT, WIDTH = 2, 5


def selection_case(operation: SelectChannels, value: FixedPoint, channels: int, lanes: int) -> Case:
    out_channels = len(operation.channels)
    settings = {
        "pixels": HEIGHT * WIDTH,
        "in_channels": channels,
        "out_channels": out_channels,
        "lanes": lanes,
    }
    settings["buffer_pixels"] = 2 + -(-SELECTION_LAG // selection_steps(settings))
    wider = FixedPoint(value.width + 1, value.integer_bits + 1)
    text = config(
        "selection",
        constants(**settings),
        types(input_t=value.raw_type, output_t=wider.raw_type),
    )
    beats, places = packing.selection_rows(np.array(operation.channels), lanes)
    text += packing.array_text("beats", packing.narrowest(beats))
    text += packing.array_text("places", packing.narrowest(places))
    words = settings["buffer_pixels"] * (channels // lanes)
    text += f"static {value.raw_type} buffer[{lanes}][{words}][{lanes}];\n"
    return Case(
        text,
        "hwflow::select_channels<selection>(in0, out0, beats, places, buffer);",
        (Port(value, lanes, HEIGHT * WIDTH * channels // lanes),),
        (Port(wider, lanes, HEIGHT * WIDTH * out_channels // lanes),),
    )


SELECTIONS = {
    "a shuffle of three groups": (12, tuple(np.arange(12).reshape(3, 4).T.ravel().tolist())),
    "the second half": (12, tuple(range(6, 12))),
    "the last of each four": (12, (3, 7, 11)),
    "more than there are": (6, (0, 5, 5, 1, 2, 2, 2, 4, 3, 0, 1, 5)),
    "one of one": (1, (0,)),
    "reversed": (6, (5, 4, 3, 2, 1, 0)),
}


@pytest.mark.parametrize("value", [FixedPoint(8, 4, False), FixedPoint(5, 2)], ids=str)
def test_every_number_of_lanes(value: FixedPoint, tmp_path: Path) -> None:
    rng = np.random.default_rng(20)
    batch = []
    for channels, chosen in SELECTIONS.values():
        operation = SelectChannels("it", ("x",), chosen)
        images = extreme_images(rng, (HEIGHT, WIDTH, channels), value)
        expected = operation.evaluate(images)
        batch += [
            (selection_case(operation, value, channels, lanes), images, expected)
            for lanes in divisors(int(np.gcd(channels, len(chosen))))
        ]
    results = run_cases([(case, [images]) for case, images, _ in batch], tmp_path)
    for (case, _, expected), (result,) in zip(batch, results, strict=True):
        np.testing.assert_array_equal(
            result.reshape(expected.shape), expected, err_msg=case.definitions
        )
