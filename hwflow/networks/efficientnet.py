"""EfficientNet B0 to B7: MBConv blocks with squeeze-and-excite, scaled in width, depth, resolution.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
arXiv:1905.11946: Table 1 (B0), section 3.3 (compound scaling); the coefficients of B1 to B7 are the
authors' release. Layer names, padding and rounding are those of the weights that Keras publishes;
the rescaling of pixels is left to the preprocessing.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import rounded_channels, strided_padding
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Stage(NamedTuple):
    """A line of Table 1: MBConv blocks of one width."""

    kernel: int
    repeats: int
    filters: int
    expansion: int
    stride: int


class Scaling(NamedTuple):
    """The compound scaling of a member."""

    width: float
    depth: float
    resolution: int
    dropout: float


STAGES = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 2, 24, 6, 2),
    Stage(5, 2, 40, 6, 2),
    Stage(3, 3, 80, 6, 2),
    Stage(5, 3, 112, 6, 1),
    Stage(5, 4, 192, 6, 2),
    Stage(3, 1, 320, 6, 1),
)
STEM_FILTERS, HEAD_FILTERS, SQUEEZE = 32, 1280, 0.25
MEMBERS = {
    "b0": Scaling(1.0, 1.0, 224, 0.2),
    "b1": Scaling(1.0, 1.1, 240, 0.2),
    "b2": Scaling(1.1, 1.2, 260, 0.3),
    "b3": Scaling(1.2, 1.4, 300, 0.3),
    "b4": Scaling(1.4, 1.8, 380, 0.4),
    "b5": Scaling(1.6, 2.2, 456, 0.4),
    "b6": Scaling(1.8, 2.6, 528, 0.5),
    "b7": Scaling(2.0, 3.1, 600, 0.5),
}

Size = Annotated[int, Field(ge=1, le=8192)]


class EfficientNetParameters(BaseModel):
    """The parameters of an EfficientNet; the defaults are B0."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    member: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = Field(
        "b0", description="Whose coefficients of width, depth and resolution are taken."
    )
    width: Annotated[float, Field(gt=0, le=8, strict=False)] | None = Field(
        None, description="Width coefficient, in multiples of 8 filters; by default the member's."
    )
    depth: Annotated[float, Field(gt=0, le=8, strict=False)] | None = Field(
        None, description="Depth coefficient, rounded up; by default the member's."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] | None = Field(
        None, description="Height, width, channels; by default the member's resolution."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )
    stages: Annotated[int, Field(ge=1, le=len(STAGES))] = Field(
        len(STAGES), description="How many of the 7 lines of MBConv blocks there are."
    )


def build(parameters: EfficientNetParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.
    """
    from tensorflow import keras

    member = MEMBERS[parameters.member]
    width = parameters.width or member.width
    depth = parameters.depth or member.depth
    shape = parameters.input_shape or (member.resolution, member.resolution, 3)
    inputs = keras.Input(shape, name="input")
    x = keras.layers.ZeroPadding2D(strided_padding(shape[:2], 3), name="stem_conv_pad")(inputs)
    x = keras.layers.Conv2D(
        rounded_channels(STEM_FILTERS * width), 3, strides=2, use_bias=False, name="stem_conv"
    )(x)
    x = _normed(x, norm="stem_bn", activation="stem_activation")
    for number, stage in enumerate(STAGES[: parameters.stages], start=1):
        filters = rounded_channels(stage.filters * width)
        for repeat in range(ceil(stage.repeats * depth)):
            name = f"block{number}{chr(ord('a') + repeat)}"
            x = _mbconv(x, name, stage, filters, stage.stride if repeat == 0 else 1)
    x = keras.layers.Conv2D(
        rounded_channels(HEAD_FILTERS * width), 1, padding="same", use_bias=False, name="top_conv"
    )(x)
    x = _normed(x, norm="top_bn", activation="top_activation")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dropout(member.dropout, name="top_dropout")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="efficientnet")


def _normed(tensor: Any, *, norm: str, activation: str) -> Any:
    from tensorflow import keras

    tensor = keras.layers.BatchNormalization(name=norm)(tensor)
    return keras.layers.Activation("swish", name=activation)(tensor)


def _mbconv(tensor: Any, name: str, stage: Stage, filters: int, stride: int) -> Any:
    """Expand by 1x1, filter depthwise, squeeze and excite, project linearly by 1x1."""
    from tensorflow import keras

    channels = int(tensor.shape[-1])
    expanded = channels * stage.expansion
    x = tensor
    if stage.expansion > 1:
        x = keras.layers.Conv2D(
            expanded, 1, padding="same", use_bias=False, name=f"{name}_expand_conv"
        )(x)
        x = _normed(x, norm=f"{name}_expand_bn", activation=f"{name}_expand_activation")
    padding = "same"
    if stride > 1:
        padding = "valid"
        zeros = strided_padding((int(x.shape[1]), int(x.shape[2])), stage.kernel)
        x = keras.layers.ZeroPadding2D(zeros, name=f"{name}_dwconv_pad")(x)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel, strides=stride, padding=padding, use_bias=False, name=f"{name}_dwconv"
    )(x)
    x = _normed(x, norm=f"{name}_bn", activation=f"{name}_activation")
    squeezed = max(1, int(channels * SQUEEZE))
    gate = keras.layers.GlobalAveragePooling2D(name=f"{name}_se_squeeze")(x)
    gate = keras.layers.Reshape((1, 1, expanded), name=f"{name}_se_reshape")(gate)
    gate = keras.layers.Conv2D(
        squeezed, 1, padding="same", activation="swish", name=f"{name}_se_reduce"
    )(gate)
    gate = keras.layers.Conv2D(
        expanded, 1, padding="same", activation="sigmoid", name=f"{name}_se_expand"
    )(gate)
    x = keras.layers.Multiply(name=f"{name}_se_excite")([x, gate])
    x = keras.layers.Conv2D(
        filters, 1, padding="same", use_bias=False, name=f"{name}_project_conv"
    )(x)
    x = keras.layers.BatchNormalization(name=f"{name}_project_bn")(x)
    if stride == 1 and channels == filters:
        x = keras.layers.Dropout(0.2, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
        x = keras.layers.Add(name=f"{name}_add")([x, tensor])
    return x


FAMILY = Family(
    name="efficientnet",
    summary="EfficientNet B0 to B7, and any other compound scaling",
    source="Tan and Le 2019, https://arxiv.org/abs/1905.11946",
    parameters=EfficientNetParameters,
    build=build,
    examples={
        "thin": {
            "width": 0.25,
            "depth": 0.5,
            "input_shape": (12, 13, 3),
            "classes": 5,
            "stages": 2,
        },
        "b3": {"member": "b3", "input_shape": (9, 12, 3), "classes": 3, "stages": 1},
    },
)
