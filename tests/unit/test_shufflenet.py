"""ShuffleNet V1 and V2 against their papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwflow.networks import shufflenet_v1
from hwflow.networks.blocks import channel_shuffle, channel_split
from tests.support.networks import build, trained

slow = pytest.mark.slow


# V1: the counts of pytorchcv's models; the authors' release rounds them to 1.9 (g = 3, 1x), 2.4
# (g = 8, 1x) and 0.7 million (g = 3, 0.5x). V2: torchvision's counts, 1.4, 2.3, 3.5 and 7.4
# million in the authors' release.
@pytest.mark.parametrize(
    ("family", "values", "count"),
    [
        pytest.param("shufflenet_v1", {"groups": 1}, 1_531_936, marks=slow),
        pytest.param("shufflenet_v1", {"groups": 2}, 1_733_848, marks=slow),
        ("shufflenet_v1", {"groups": 3}, 1_865_728),
        pytest.param("shufflenet_v1", {"groups": 4}, 1_968_344, marks=slow),
        ("shufflenet_v1", {"groups": 8}, 2_434_768),
        pytest.param("shufflenet_v1", {"groups": 1, "scale": 0.25}, 209_746, marks=slow),
        pytest.param("shufflenet_v1", {"groups": 1, "scale": 0.5}, 534_484, marks=slow),
        pytest.param("shufflenet_v1", {"groups": 1, "scale": 0.75}, 975_214, marks=slow),
        pytest.param("shufflenet_v1", {"groups": 3, "scale": 0.25}, 305_902, marks=slow),
        pytest.param("shufflenet_v1", {"groups": 3, "scale": 0.5}, 718_324, marks=slow),
        pytest.param("shufflenet_v1", {"groups": 3, "scale": 0.75}, 1_238_266, marks=slow),
        pytest.param("shufflenet_v2", {"level": "0.5"}, 1_366_792, marks=slow),
        ("shufflenet_v2", {"level": "1.0"}, 2_278_604),
        pytest.param("shufflenet_v2", {"level": "1.5"}, 3_503_624, marks=slow),
        pytest.param("shufflenet_v2", {"level": "2.0"}, 7_393_996, marks=slow),
    ],
)
def test_parameter_counts_of_the_literature(
    family: str, values: dict[str, Any], count: int
) -> None:
    assert trained(build(family, **values)) == count


def test_the_stages_have_the_sizes_of_the_tables() -> None:
    model = build("shufflenet_v1")
    sizes = {1: 56, 2: 28, 3: 14, 4: 7}
    assert model.get_layer("pool1").output_shape[1:] == (sizes[1], sizes[1], 24)
    for stage, units in ((2, 4), (3, 8), (4, 4)):
        last = model.get_layer(f"stage{stage}_unit{units}_relu").output_shape
        assert last[1:] == (sizes[stage], sizes[stage], 240 << (stage - 2))
    assert model.get_layer("stage2_unit1_compress").groups == 1
    assert model.get_layer("stage2_unit1_expand").groups == 3
    assert model.get_layer("stage2_unit2_compress").groups == 3
    model = build("shufflenet_v2")
    for stage, units, channels in ((2, 4, 116), (3, 8, 232), (4, 4, 464)):
        last = model.get_layer(f"stage{stage}_unit{units}_shuffle").output_shape
        assert last[1:] == (sizes[stage], sizes[stage], channels)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("scale", [0.01, 0.3, 0.5, 1.0, 1.7])
def test_the_groups_divide_every_layer_at_any_scale(groups: int, scale: float) -> None:
    parameters = shufflenet_v1.ShuffleNetV1Parameters(groups=groups, scale=scale)
    given = shufflenet_v1.stem_filters(parameters)
    for unit in shufflenet_v1.units(parameters):
        made = unit.channels - (given if unit.stride == 2 else 0)
        assert made > 0
        assert [count % groups for count in (given, unit.channels // 4, made)] == [0, 0, 0]
        given = unit.channels


def test_the_narrow_network_of_eight_groups_has_the_widths_of_the_authors_release() -> None:
    parameters = shufflenet_v1.ShuffleNetV1Parameters(groups=8, scale=0.5)
    assert shufflenet_v1.stem_filters(parameters) == 16
    widths = {unit.channels for unit in shufflenet_v1.units(parameters)}
    assert widths == {192, 384, 768}


def test_odd_channels_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"channels must be even, .* not 7"):
        build("shufflenet_v2", channels=(6, 7))


def test_shuffle_and_split_move_the_channels_of_the_papers() -> None:
    import keras

    image = keras.Input((2, 1, 6))
    first, rest = channel_split(image, 2, name="split")
    model = keras.Model(image, [channel_shuffle(image, 3, name="shuffle"), first, rest])
    values = np.arange(12, dtype=np.float32).reshape(1, 2, 1, 6)
    shuffled, first, rest = (np.asarray(part)[0, 0, 0] for part in model(values))
    assert shuffled.tolist() == [0, 2, 4, 1, 3, 5]  # three groups of two
    assert first.tolist() == [0, 1]
    assert rest.tolist() == [2, 3, 4, 5]
