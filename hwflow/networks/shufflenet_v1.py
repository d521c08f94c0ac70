"""ShuffleNet V1: grouped pointwise convolutions, and a shuffle of channels between them.

Source: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
Devices", arXiv:1707.01083: Table 1 (body), Figure 2 (units), section 3.3 (the groups, the width
and the first unit). Windows at the border are padded as Keras's `same` has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import channel_shuffle, conv2d_norm, depthwise_norm
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

STEM_FILTERS = 24
STAGE_2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Output channels of stage 2 by the number of groups: Table 1. Each stage doubles them."""
REPEATS = (4, 8, 4)
"""Units of stages 2, 3 and 4, of which the first has stride 2: Table 1."""
BOTTLENECK = 4
"""Output channels of a unit for each of its bottleneck's."""

Size = Annotated[int, Field(ge=1, le=8192)]


class ShuffleNetV1Parameters(BaseModel):
    """The parameters of a ShuffleNet V1; the defaults are ShuffleNet 1x, g = 3, at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    groups: Literal[1, 2, 3, 4, 8] = Field(
        3, description="Groups of the pointwise convolutions; the width of the stages goes by it."
    )
    scale: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0,
        description="s: the channels of every layer times this, in multiples of the groups.",
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels; the paper's are 224 x 224 x 3."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )
    repeats: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...],
        Field(min_length=1, max_length=len(REPEATS), strict=False),
    ] = Field(REPEATS, description="Units of each stage.")


class Unit(NamedTuple):
    """A ShuffleNet unit.

    Attributes:
        name: of the unit, before its layers' names.
        channels: of its output.
        stride: 1: Figure 2(b). 2: Figure 2(c).
        groups: of its pointwise convolutions.
        is_first: the first pointwise convolution of stage 2 has no groups: few channels reach it.
    """

    name: str
    channels: int
    stride: int
    groups: int
    is_first: bool


def stem_filters(parameters: ShuffleNetV1Parameters) -> int:
    """Filters of the first convolution: a multiple of the groups, for they are passed by."""
    groups = parameters.groups
    return max(1, -(-int(STEM_FILTERS * parameters.scale) // groups)) * groups


def units(parameters: ShuffleNetV1Parameters) -> list[Unit]:
    """The units of Table 1 under the scale factor."""
    step = BOTTLENECK * parameters.groups
    width = max(1, round(STAGE_2[parameters.groups] * parameters.scale / step)) * step
    found: list[Unit] = []
    for stage, repeats in enumerate(parameters.repeats):
        for repeat in range(repeats):
            stride = 2 if repeat == 0 else 1
            name = f"stage{stage + 2}_unit{repeat + 1}"
            found.append(Unit(name, width << stage, stride, parameters.groups, not found))
    return found


def build(parameters: ShuffleNetV1Parameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.
    """
    from tensorflow import keras

    inputs = keras.Input(parameters.input_shape, name="input")
    x = conv2d_norm(
        inputs,
        stem_filters(parameters),
        3,
        strides=2,
        name="conv1",
        norm="conv1_bn",
        relu="conv1_relu",
    )
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    for unit in units(parameters):
        x = _unit(x, unit)
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="shufflenet_v1")


def _unit(tensor: Any, unit: Unit) -> Any:
    """Group by 1x1, shuffle, filter depthwise 3x3, group by 1x1 linearly; then join the input."""
    from tensorflow import keras

    name, groups = unit.name, unit.groups
    made = unit.channels - (int(tensor.shape[-1]) if unit.stride == 2 else 0)
    x = conv2d_norm(
        tensor,
        unit.channels // BOTTLENECK,
        1,
        groups=1 if unit.is_first else groups,
        name=f"{name}_compress",
        norm=f"{name}_compress_bn",
        relu=f"{name}_compress_relu",
    )
    if groups > 1:
        x = channel_shuffle(x, groups, name=f"{name}_shuffle")
    x = depthwise_norm(
        x, 3, strides=unit.stride, name=f"{name}_depthwise", norm=f"{name}_depthwise_bn"
    )
    x = conv2d_norm(x, made, 1, groups=groups, name=f"{name}_expand", norm=f"{name}_expand_bn")
    if unit.stride == 2:
        bypass = keras.layers.AveragePooling2D(3, strides=2, padding="same", name=f"{name}_pool")(
            tensor
        )
        x = keras.layers.Concatenate(name=f"{name}_concat")([bypass, x])
    else:
        x = keras.layers.Add(name=f"{name}_add")([tensor, x])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


FAMILY = Family(
    name="shufflenet_v1",
    summary="ShuffleNet V1: 1, 2, 3, 4 or 8 groups, any scale factor and resolution",
    source="Zhang et al. 2018, https://arxiv.org/abs/1707.01083",
    parameters=ShuffleNetV1Parameters,
    build=build,
    examples={
        "three_groups": {
            "scale": 0.2,
            "repeats": (2,),
            "input_shape": (18, 13, 3),
            "classes": 3,
        },
    },
)
