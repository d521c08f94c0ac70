"""SSDLite and LR-ASPP: their shapes and their size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.networks import build

keras = pytest.importorskip("keras")


def trainable(model: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# 4.3 and 5.1 million in Table 6 of arXiv:1801.04381, with COCO's 80 classes
@pytest.mark.parametrize(
    ("backbone", "parameters"), [("mobilenet_v2", 4_337_013), ("mobilenet_v1", 5_100_661)]
)
def test_ssdlite_is_that_of_the_paper(backbone: str, parameters: int) -> None:
    model = build("ssdlite", backbone=backbone)
    assert trainable(model) == parameters
    places = [20, 10, 5, 3, 2, 1]
    shapes = []
    for index, place in enumerate(places):
        boxes = 3 if index == 0 else 6
        shapes += [(None, place, place, boxes * 4), (None, place, place, boxes * 81)]
    assert [tuple(output.shape) for output in model.outputs] == shapes
    assert model.output_names[:2] == ["boxes_0", "classes_0"]


# 3,221,538 is what the published weights of the LR-ASPP on V3-Large have
@pytest.mark.parametrize(("size", "parameters"), [("large", 3_221_538), ("small", 1_077_954)])
def test_lraspp_has_as_many_weights_as_the_published_one(size: str, parameters: int) -> None:
    model = build("lraspp", size=size)
    assert trainable(model) == parameters
    assert model.output_shape == (None, 224, 224, 21)
    assert model.get_layer("Conv_1").output_shape[1:3] == (14, 14)
    assert model.get_layer("low_classes").output_shape[1:3] == (28, 28)


# torchvision dilates the windows of the last three blocks by 2, the one without its stride too
@pytest.mark.parametrize(("size", "blocks"), [("large", (12, 13, 14)), ("small", (8, 9, 10))])
def test_lraspp_dilates_the_stage_without_its_stride(size: str, blocks: tuple[int, ...]) -> None:
    given = {"size": size, "input_shape": (64, 96, 3)}
    model, dense = build("lraspp", dilated=True, **given), build("lraspp", **given)
    rates = {
        layer.name: layer.dilation_rate
        for layer in model.layers
        if "dilation_rate" in layer.get_config() and layer.dilation_rate != (1, 1)
    }
    assert rates == {f"expanded_conv_{index}/depthwise": (2, 2) for index in blocks}
    assert trainable(model) == trainable(dense)
    for changed, same in zip(model.layers, dense.layers, strict=True):
        assert (changed.name, changed.output_shape) == (same.name, same.output_shape)


@pytest.mark.parametrize("given", [{"output_stride": 32}, {"blocks": 12}])
def test_lraspp_has_nothing_to_dilate_where_all_strides_are_kept(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="dilated must be false: with output_stride"):
        build("lraspp", dilated=True, **given)


def test_lraspp_keeps_its_strides_where_they_are_asked_for() -> None:
    model = build("lraspp", size="small", output_stride=32, upsampling=1, input_shape=(64, 96, 3))
    assert model.get_layer("Conv_1").output_shape[1:3] == (2, 3)
    assert model.output_shape == (None, 8, 12, 21)
    with pytest.raises(ValueError, match="multiples of 32, not 100"):
        build("lraspp", input_shape=(64, 100, 3))
    with pytest.raises(ValueError, match="blocks must be 4 or more on V3-large, not 3"):
        build("lraspp", blocks=3)
