"""MobileNet V1: depthwise separable convolutions, thinned by alpha.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", arXiv:1704.04861: Table 1 (body), section 3.3 (width), section 3.4 (resolution).
Layer names, padding and rounding of the widths are those of the weights that Keras publishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwflow.networks.blocks import batch_norm_relu6
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Block(NamedTuple):
    """A depthwise separable block of Table 1: filters of its 1x1 convolution, and its stride."""

    filters: int
    stride: int = 1


STEM_FILTERS = 32
BLOCKS = (
    Block(64),
    Block(128, 2),
    Block(128),
    Block(256, 2),
    Block(256),
    Block(512, 2),
    *[Block(512)] * 5,
    Block(1024, 2),
    Block(1024),
)

Size = Annotated[int, Field(ge=1, le=8192)]


class MobileNetV1Parameters(BaseModel):
    """The parameters of a MobileNet V1; the defaults are the paper's 1.0 MobileNet-224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    alpha: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0, description="Width multiplier: the filters of every layer times this, rounded down."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels; the paper's are 224, 192, 160, 128."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )
    depth_multiplier: Annotated[int, Field(ge=1, le=16)] = Field(
        1, description="Depthwise filters for each channel."
    )
    blocks: Annotated[int, Field(ge=1, le=len(BLOCKS))] = Field(
        len(BLOCKS), description="How many of the 13 blocks of Table 1 there are."
    )

    @model_validator(mode="after")
    def _every_layer_has_filters(self) -> MobileNetV1Parameters:
        if int(STEM_FILTERS * self.alpha) < 1:
            raise ValueError(
                f"alpha must leave conv1 at least one of its {STEM_FILTERS} filters, so be "
                f"{1 / STEM_FILTERS} or more, not {self.alpha}"
            )
        return self


def build(parameters: MobileNetV1Parameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present. Strided depthwise layers pad below and to the right alone, as the
    published weights want it.
    """
    from tensorflow import keras

    inputs = keras.Input(parameters.input_shape, name="input")
    filters = int(STEM_FILTERS * parameters.alpha)
    x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name="conv1")(
        inputs
    )
    x = batch_norm_relu6(x, norm="conv1_bn", relu="conv1_relu")
    for number, block in enumerate(BLOCKS[: parameters.blocks], start=1):
        x = _separable(x, number, block, parameters)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(x)
    x = keras.layers.Dropout(1e-3, name="dropout")(x)
    x = keras.layers.Conv2D(parameters.classes, 1, padding="same", name="conv_preds")(x)
    x = keras.layers.Reshape((parameters.classes,), name="reshape_2")(x)
    return keras.Model(inputs, x, name="mobilenet_v1")


def _separable(tensor: Any, number: int, block: Block, parameters: MobileNetV1Parameters) -> Any:
    """Depthwise 3x3, then 1x1, each with batch norm and ReLU6: Figure 3 of the paper."""
    from tensorflow import keras

    padding = "same"
    if block.stride > 1:
        padding = "valid"
        tensor = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(tensor)
    tensor = keras.layers.DepthwiseConv2D(
        3,
        strides=block.stride,
        padding=padding,
        depth_multiplier=parameters.depth_multiplier,
        use_bias=False,
        name=f"conv_dw_{number}",
    )(tensor)
    tensor = batch_norm_relu6(tensor, norm=f"conv_dw_{number}_bn", relu=f"conv_dw_{number}_relu")
    tensor = keras.layers.Conv2D(
        int(block.filters * parameters.alpha),
        1,
        padding="same",
        use_bias=False,
        name=f"conv_pw_{number}",
    )(tensor)
    return batch_norm_relu6(tensor, norm=f"conv_pw_{number}_bn", relu=f"conv_pw_{number}_relu")


FAMILY = Family(
    name="mobilenet_v1",
    summary="MobileNet V1: any width multiplier and resolution",
    source="Howard et al. 2017, https://arxiv.org/abs/1704.04861",
    parameters=MobileNetV1Parameters,
    build=build,
    examples={
        "thin": {"alpha": 0.25, "input_shape": (15, 18, 3), "classes": 5, "blocks": 2},
        "multiplied": {
            "alpha": 0.125,
            "input_shape": (9, 6, 1),
            "classes": 3,
            "blocks": 1,
            "depth_multiplier": 2,
        },
    },
)
