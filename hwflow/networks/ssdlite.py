"""SSDLite: an object detector on MobileNet V1 or V2, of depthwise separable convolutions.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381,
section 6.2; Liu et al., "SSD: Single Shot MultiBox Detector", arXiv:1512.02325 (feature maps of
falling size, default boxes). Boxes are decoded, and overlapping ones dropped, by whoever reads the
outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks import mobilenet_v1, mobilenet_v2
from hwflow.networks.blocks import batch_norm_relu6, rounded_channels
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

EXTRA_FILTERS = (512, 256, 256, 128)
"""Filters of the feature maps behind the backbone's own two, each of half the size."""

FIRST_BOXES, BOXES = 3, 6
"""Default boxes at each place of the first feature map, and of the others."""

COORDINATES = 4
LEAST_EXTRA_FILTERS = 8

Size = Annotated[int, Field(ge=1, le=8192)]


class SsdLiteParameters(BaseModel):
    """The parameters of an SSDLite; the defaults are the paper's on MobileNet V2."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    backbone: Literal["mobilenet_v1", "mobilenet_v2"] = Field(
        "mobilenet_v2", description="The network that makes the first two feature maps."
    )
    alpha: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0, description="Width multiplier of the backbone and of the maps behind it."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (320, 320, 3), description="Height, width, channels."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        80, description="Classes of objects; the background is one more."
    )
    depth: Annotated[int, Field(ge=2, le=13)] | None = Field(
        None, description="How many blocks (V1) or stages (V2) the backbone has; null for all."
    )
    maps: Annotated[int, Field(ge=1, le=2 + len(EXTRA_FILTERS))] = Field(
        2 + len(EXTRA_FILTERS), description="How many feature maps boxes are predicted from."
    )


def build(parameters: SsdLiteParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`; two outputs for each feature map, boxes and classes.

    `boxes_<i>` is `(N, h, w, boxes * 4)`, `classes_<i>` is `(N, h, w, boxes * (classes + 1))`: of
    one default box after another, the background first. Batch norm is present.
    """
    from tensorflow import keras

    inputs, maps = _backbone(parameters)
    for number, filters in enumerate(EXTRA_FILTERS, start=2):
        if number < parameters.maps:
            maps.append(_halved(maps[-1], number, filters, parameters.alpha))
    outputs = []
    for number, features in enumerate(maps[: parameters.maps]):
        boxes = FIRST_BOXES if number == 0 else BOXES
        outputs.append(_predicted(features, f"boxes_{number}", boxes * COORDINATES))
        outputs.append(_predicted(features, f"classes_{number}", boxes * (parameters.classes + 1)))
    return keras.Model(inputs, outputs, name="ssdlite")


def _backbone(parameters: SsdLiteParameters) -> tuple[Any, list[Any]]:
    """The input, and the feature maps of a sixteenth and a thirty-second of its size.

    The first is what the last block with a stride reads; on MobileNet V2 its expansion, within the
    fifteenth layer, as section 6.2 says. A backbone of fewer blocks has larger maps.
    """
    own: dict[str, Any] = {"alpha": parameters.alpha, "input_shape": parameters.input_shape}
    if parameters.backbone == "mobilenet_v2":
        own["stages"] = min(parameters.depth or len(mobilenet_v2.STAGES), len(mobilenet_v2.STAGES))
        chosen = mobilenet_v2.MobileNetV2Parameters.model_validate(own)
        model = mobilenet_v2.build(chosen)
        last = [block for block in mobilenet_v2.bottlenecks(chosen) if block.stride > 1][-1]
        names = (f"{last.name}_expand_relu", "out_relu")
    else:
        count = own["blocks"] = parameters.depth or len(mobilenet_v1.BLOCKS)
        model = mobilenet_v1.build(mobilenet_v1.MobileNetV1Parameters.model_validate(own))
        blocks = mobilenet_v1.BLOCKS[:count]
        before = max(number for number, block in enumerate(blocks) if block.stride > 1)
        names = (f"conv_pw_{before}_relu", f"conv_pw_{count}_relu")
    return model.input, [model.get_layer(name).output for name in names]


def _halved(tensor: Any, number: int, filters: int, alpha: float) -> Any:
    """The next feature map: 1x1 to half its filters, 3x3 depthwise of stride 2, 1x1."""
    from tensorflow import keras

    wide = rounded_channels(filters * alpha, least=LEAST_EXTRA_FILTERS)
    narrow = rounded_channels(filters * alpha / 2, least=LEAST_EXTRA_FILTERS)
    name = f"extra_{number}"
    x = keras.layers.Conv2D(narrow, 1, use_bias=False, name=f"{name}_reduce")(tensor)
    x = batch_norm_relu6(x, norm=f"{name}_reduce_bn", relu=f"{name}_reduce_relu")
    x = _depthwise(x, name, strides=2)
    x = keras.layers.Conv2D(wide, 1, use_bias=False, name=name)(x)
    return batch_norm_relu6(x, norm=f"{name}_bn", relu=f"{name}_relu")


def _predicted(tensor: Any, name: str, filters: int) -> Any:
    """A separable convolution whose last part is linear: what an SSD's 3x3 becomes."""
    from tensorflow import keras

    return keras.layers.Conv2D(filters, 1, name=name)(_depthwise(tensor, name, strides=1))


def _depthwise(tensor: Any, name: str, *, strides: int) -> Any:
    from tensorflow import keras

    tensor = keras.layers.DepthwiseConv2D(
        3, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(tensor)
    return batch_norm_relu6(tensor, norm=f"{name}_depthwise_bn", relu=f"{name}_depthwise_relu")


FAMILY = Family(
    name="ssdlite",
    summary="SSDLite object detection on MobileNet V1 or V2: boxes and classes of each feature map",
    source="Sandler et al. 2018, https://arxiv.org/abs/1801.04381",
    parameters=SsdLiteParameters,
    build=build,
    examples={
        "on_v1": {
            "backbone": "mobilenet_v1",
            "alpha": 0.125,
            "input_shape": (24, 20, 3),
            "classes": 2,
            "depth": 2,
            "maps": 3,
        },
        "on_v2": {
            "backbone": "mobilenet_v2",
            "alpha": 0.1,
            "input_shape": (20, 24, 3),
            "classes": 2,
            "depth": 2,
            "maps": 1,
        },
    },
)
