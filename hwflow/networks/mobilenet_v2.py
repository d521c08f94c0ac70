"""MobileNet V2: inverted residuals with linear bottlenecks.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381:
Table 1 (bottleneck), Table 2 (body), section 4 (width multiplier). Layer names, padding and
rounding of the widths are those of the weights that Keras publishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import batch_norm_relu6, rounded_channels, strided_padding
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Stage(NamedTuple):
    """A line of Table 2: bottlenecks of one width."""

    expansion: int
    filters: int
    repeats: int
    stride: int


STEM_FILTERS, HEAD_FILTERS = 32, 1280
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
MOMENTUM = 0.999

Size = Annotated[int, Field(ge=1, le=8192)]


class MobileNetV2Parameters(BaseModel):
    """The parameters of a MobileNet V2; the defaults are the paper's network at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    alpha: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0,
        description="Width multiplier: the filters of every layer times this, in multiples of 8; "
        "the last convolution is never thinned.",
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels; the paper's are 96 to 224."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )
    expansion: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="t of every bottleneck but the first; by default Table 2's 6."
    )
    stages: Annotated[int, Field(ge=1, le=len(STAGES))] = Field(
        len(STAGES), description="How many of the 7 lines of bottlenecks of Table 2 there are."
    )
    head_filters: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="Filters of the last convolution; by default 1280, times alpha above 1."
    )


class Bottleneck(NamedTuple):
    """One inverted residual block.

    Attributes:
        name: of the block, before its layers' names.
        expanded: channels within; the input's where there is no expansion.
        filters: of the linear projection.
        stride: of the depthwise convolution.
        expands: whether a 1x1 convolution widens the input first.
        adds: whether the input is added to the output.
    """

    name: str
    expanded: int
    filters: int
    stride: int
    expands: bool
    adds: bool


def bottlenecks(parameters: MobileNetV2Parameters) -> list[Bottleneck]:
    """The blocks of Table 2 under the width multiplier and expansion."""
    channels = rounded_channels(STEM_FILTERS * parameters.alpha)
    blocks: list[Bottleneck] = []
    for stage in STAGES[: parameters.stages]:
        filters = rounded_channels(int(stage.filters * parameters.alpha))
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            first = not blocks
            expansion = stage.expansion if first else parameters.expansion or stage.expansion
            blocks.append(
                Bottleneck(
                    "expanded_conv" if first else f"block_{len(blocks)}",
                    channels * expansion,
                    filters,
                    stride,
                    expands=not first,
                    adds=stride == 1 and channels == filters,
                )
            )
            channels = filters
    return blocks


def build(parameters: MobileNetV2Parameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.
    """
    from tensorflow import keras

    inputs = keras.Input(parameters.input_shape, name="input")
    x = keras.layers.Conv2D(
        rounded_channels(STEM_FILTERS * parameters.alpha),
        3,
        strides=2,
        padding="same",
        use_bias=False,
        name="Conv1",
    )(inputs)
    x = batch_norm_relu6(x, norm="bn_Conv1", relu="Conv1_relu", momentum=MOMENTUM)
    for block in bottlenecks(parameters):
        x = _bottleneck(x, block)
    head = parameters.head_filters or (
        rounded_channels(HEAD_FILTERS * parameters.alpha) if parameters.alpha > 1 else HEAD_FILTERS
    )
    x = keras.layers.Conv2D(head, 1, use_bias=False, name="Conv_1")(x)
    x = batch_norm_relu6(x, norm="Conv_1_bn", relu="out_relu", momentum=MOMENTUM)
    x = keras.layers.GlobalAveragePooling2D(name="global_average_pooling2d")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="mobilenet_v2")


def _bottleneck(tensor: Any, block: Bottleneck) -> Any:
    """Expand by 1x1, filter depthwise 3x3, project linearly by 1x1: Table 1 and Figure 4."""
    from tensorflow import keras

    x, name = tensor, block.name
    if block.expands:
        x = keras.layers.Conv2D(block.expanded, 1, use_bias=False, name=f"{name}_expand")(x)
        x = batch_norm_relu6(
            x, norm=f"{name}_expand_BN", relu=f"{name}_expand_relu", momentum=MOMENTUM
        )
    padding = "same"
    if block.stride > 1:
        padding = "valid"
        size = (int(x.shape[1]), int(x.shape[2]))
        x = keras.layers.ZeroPadding2D(strided_padding(size, 3), name=f"{name}_pad")(x)
    x = keras.layers.DepthwiseConv2D(
        3, strides=block.stride, padding=padding, use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = batch_norm_relu6(
        x, norm=f"{name}_depthwise_BN", relu=f"{name}_depthwise_relu", momentum=MOMENTUM
    )
    x = keras.layers.Conv2D(block.filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3, momentum=MOMENTUM, name=f"{name}_project_BN")(
        x
    )
    return keras.layers.Add(name=f"{name}_add")([tensor, x]) if block.adds else x


FAMILY = Family(
    name="mobilenet_v2",
    summary="MobileNet V2: any width multiplier, expansion and resolution",
    source="Sandler et al. 2018, https://arxiv.org/abs/1801.04381",
    parameters=MobileNetV2Parameters,
    build=build,
    examples={
        "thin": {
            "alpha": 0.25,
            "input_shape": (14, 17, 3),
            "classes": 5,
            "stages": 2,
            "expansion": 2,
            "head_filters": 24,
        },
    },
)
