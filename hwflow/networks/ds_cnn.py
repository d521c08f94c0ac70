"""DS-CNN: depthwise separable convolutions over a spectrogram, to spot keywords.

Source: Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128: section
4.4 (network) and Table 1 (features); the defaults are the network of the MLPerf Tiny benchmark,
whose convolutions have biases before their batch norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import conv2d_norm, depthwise_norm_relu
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

STEM_KERNEL = (10, 4)
"""Frames and features that the first convolution sees."""

Size = Annotated[int, Field(ge=1, le=8192)]


class DsCnnParameters(BaseModel):
    """The parameters of a DS-CNN; the defaults are those of MLPerf Tiny."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    filters: Annotated[int, Field(ge=1, le=4096)] = Field(
        64, description="Filters of every layer; the paper's small, medium, large: 64, 172, 276."
    )
    blocks: Annotated[int, Field(ge=1, le=16)] = Field(
        4, description="Depthwise separable blocks after the first convolution."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (49, 10, 1), description="Frames, features of a frame, channels."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        12, description="Outputs: keywords, silence, unknown."
    )


def build(parameters: DsCnnParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.
    """
    from tensorflow import keras

    inputs = keras.Input(parameters.input_shape, name="input")
    x = conv2d_norm(
        inputs,
        parameters.filters,
        STEM_KERNEL,
        strides=2,
        use_bias=True,
        name="conv",
        norm="conv_bn",
        relu="conv_relu",
    )
    x = keras.layers.Dropout(0.2, name="conv_dropout")(x)
    for number in range(1, parameters.blocks + 1):
        x = _separable(x, parameters.filters, f"block{number}")
    x = keras.layers.Dropout(0.4, name="dropout")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="ds_cnn")


def _separable(tensor: Any, filters: int, name: str) -> Any:
    """Depthwise 3x3, then 1x1, each with batch norm and ReLU."""
    x = depthwise_norm_relu(tensor, 3, name=f"{name}_dw", stem=f"{name}_dw", use_bias=True)
    return conv2d_norm(
        x,
        filters,
        1,
        use_bias=True,
        name=f"{name}_pw",
        norm=f"{name}_pw_bn",
        relu=f"{name}_pw_relu",
    )


FAMILY = Family(
    name="ds_cnn",
    summary="DS-CNN for keyword spotting, any width, depth and spectrogram",
    source="Zhang et al. 2017, https://arxiv.org/abs/1711.07128",
    parameters=DsCnnParameters,
    build=build,
    examples={
        "thin": {"filters": 3, "blocks": 1, "input_shape": (13, 6, 1), "classes": 3},
    },
)
