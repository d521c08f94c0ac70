"""MnasNet A1 and B1: the blocks that a search for accuracy and latency on a phone has found.

Source: Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
arXiv:1807.11626: Figure 7 (A1, with squeeze-and-excite), Table 3 and the authors' release (B1,
without). Rounding of the widths is that of the authors' release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import (
    conv2d_norm,
    conv2d_relu,
    depthwise_norm_relu,
    rounded_channels,
)
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Stage(NamedTuple):
    """A line of Figure 7: MBConv blocks of one width.

    Attributes:
        expansion: channels within the block, for each of its input.
        kernel: rows and columns of the depthwise window.
        filters: of the linear projection.
        repeats: blocks.
        stride: of the first block's depthwise convolution.
        excites: whether there is squeeze-and-excite.
    """

    expansion: int
    kernel: int
    filters: int
    repeats: int
    stride: int
    excites: bool = False


A1 = (
    Stage(6, 3, 24, 2, 2),
    Stage(3, 5, 40, 3, 2, excites=True),
    Stage(6, 3, 80, 4, 2),
    Stage(6, 3, 112, 2, 1, excites=True),
    Stage(6, 5, 160, 3, 2, excites=True),
    Stage(6, 3, 320, 1, 1),
)
B1 = (
    Stage(3, 3, 24, 3, 2),
    Stage(3, 5, 40, 3, 2),
    Stage(6, 5, 80, 3, 2),
    Stage(6, 3, 96, 2, 1),
    Stage(6, 5, 192, 4, 2),
    Stage(6, 3, 320, 1, 1),
)
BODIES = {"a1": A1, "b1": B1}
STEM_FILTERS, SEPARABLE_FILTERS, HEAD_FILTERS, SQUEEZE = 32, 16, 1280, 0.25

Size = Annotated[int, Field(ge=1, le=8192)]


class MnasNetParameters(BaseModel):
    """The parameters of a MnasNet; the defaults are MnasNet-A1 at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    variant: Literal["a1", "b1"] = Field("a1", description="With squeeze-and-excite, or without.")
    alpha: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0, description="Width multiplier of all but the head, in multiples of 8 filters."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )
    stages: Annotated[int, Field(ge=1, le=len(A1))] = Field(
        len(A1), description="How many of the 6 lines of MBConv blocks there are."
    )
    head_filters: Annotated[int, Field(ge=1, le=65536)] = Field(
        HEAD_FILTERS, description="Filters of the last convolution, never thinned."
    )


def build(parameters: MnasNetParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.
    """
    from tensorflow import keras

    def thinned(filters: int) -> int:
        return rounded_channels(filters * parameters.alpha)

    inputs = keras.Input(parameters.input_shape, name="input")
    x = conv2d_norm(
        inputs,
        thinned(STEM_FILTERS),
        3,
        strides=2,
        name="stem_conv",
        norm="stem_bn",
        relu="stem_relu",
    )
    x = depthwise_norm_relu(x, 3, name="sepconv_dwconv", stem="sepconv")
    x = _projected(x, thinned(SEPARABLE_FILTERS), "sepconv")
    for number, stage in enumerate(BODIES[parameters.variant][: parameters.stages], start=1):
        for repeat in range(stage.repeats):
            name = f"block{number}{chr(ord('a') + repeat)}"
            x = _mbconv(x, name, stage, thinned(stage.filters), stage.stride if repeat == 0 else 1)
    x = conv2d_norm(
        x, parameters.head_filters, 1, name="head_conv", norm="head_bn", relu="head_relu"
    )
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="mnasnet")


def _mbconv(tensor: Any, name: str, stage: Stage, filters: int, stride: int) -> Any:
    """Expand by 1x1, filter depthwise, squeeze and excite, project linearly by 1x1: Figure 7."""
    from tensorflow import keras

    channels = int(tensor.shape[-1])
    x = conv2d_norm(
        tensor,
        channels * stage.expansion,
        1,
        name=f"{name}_expand_conv",
        norm=f"{name}_expand_bn",
        relu=f"{name}_expand_relu",
    )
    x = depthwise_norm_relu(x, stage.kernel, name=f"{name}_dwconv", stem=name, strides=stride)
    if stage.excites:
        x = _excited(x, max(1, int(channels * SQUEEZE)), name)
    x = _projected(x, filters, name)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([tensor, x])
    return x


def _projected(tensor: Any, filters: int, name: str) -> Any:
    return conv2d_norm(tensor, filters, 1, name=f"{name}_project_conv", norm=f"{name}_project_bn")


def _excited(tensor: Any, squeezed: int, name: str) -> Any:
    """Squeeze-and-excite, squeezed to a quarter of the block's input: SERatio of Figure 7."""
    from tensorflow import keras

    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_squeeze")(tensor)
    x = conv2d_relu(x, squeezed, 1, name=f"{name}_se_reduce")
    x = keras.layers.Conv2D(
        int(tensor.shape[-1]), 1, activation="sigmoid", name=f"{name}_se_expand"
    )(x)
    return keras.layers.Multiply(name=f"{name}_se_excite")([tensor, x])


FAMILY = Family(
    name="mnasnet",
    summary="MnasNet A1 (squeeze-and-excite) and B1: any width multiplier and resolution",
    source="Tan et al. 2019, https://arxiv.org/abs/1807.11626",
    parameters=MnasNetParameters,
    build=build,
    examples={
        "a1": {
            "alpha": 0.25,
            "input_shape": (11, 13, 3),
            "classes": 3,
            "stages": 2,
            "head_filters": 8,
        },
        "b1": {
            "variant": "b1",
            "alpha": 0.25,
            "input_shape": (14, 9, 1),
            "classes": 3,
            "stages": 2,
            "head_filters": 8,
        },
    },
)
