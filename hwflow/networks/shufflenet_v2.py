"""ShuffleNet V2: half of the channels pass a unit by, and a shuffle mixes the halves.

Source: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
arXiv:1807.11164: Table 5 (body), Figure 3(c) and (d) (units). Windows at the border are padded as
Keras's `same` has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import channel_shuffle, channel_split, conv2d_norm, depthwise_norm
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

STEM_FILTERS = 24
STAGES = {
    "0.5": (48, 96, 192),
    "1.0": (116, 232, 464),
    "1.5": (176, 352, 704),
    "2.0": (244, 488, 976),
}
"""Output channels of stages 2, 3 and 4 by the level of complexity: Table 5."""
HEAD_FILTERS = {"0.5": 1024, "1.0": 1024, "1.5": 1024, "2.0": 2048}
"""Filters of conv5."""
REPEATS = (4, 8, 4)
"""Units of each stage, of which the first has stride 2."""

Size = Annotated[int, Field(ge=1, le=8192)]
Channels = Annotated[int, Field(ge=1, le=65536)]


class ShuffleNetV2Parameters(BaseModel):
    """The parameters of a ShuffleNet V2; the defaults are ShuffleNet V2 1x at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    level: Literal["0.5", "1.0", "1.5", "2.0"] = Field(
        "1.0", description="Column of Table 5: the number of channels of every stage."
    )
    channels: (
        Annotated[tuple[Channels, ...], Field(min_length=1, max_length=3, strict=False)] | None
    ) = Field(None, description="Of each stage, even; by default the level's.")
    repeats: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...],
        Field(min_length=1, max_length=len(REPEATS), strict=False),
    ] = Field(REPEATS, description="Units of each stage.")
    stem_filters: Channels = Field(STEM_FILTERS, description="Filters of conv1.")
    head_filters: Channels | None = Field(
        None, description="Filters of conv5; by default the level's."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels; the paper's are 224 x 224 x 3."
    )
    classes: Channels = Field(1000, description="Outputs of the classifier.")


def build(parameters: ShuffleNetV2Parameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.

    Raises:
        ValueError: if a stage's channels are odd.
    """
    from tensorflow import keras

    stages = parameters.channels or STAGES[parameters.level]
    odd = [channels for channels in stages if channels % 2]
    if odd:
        raise ValueError(f"channels must be even, for they are split in halves, not {odd[0]}")
    inputs = keras.Input(parameters.input_shape, name="input")
    x = _convolved(inputs, parameters.stem_filters, "conv1", kernel=3, strides=2)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    for stage, (channels, repeats) in enumerate(zip(stages, parameters.repeats, strict=False), 2):
        x = _downsampling_unit(x, channels, f"stage{stage}_unit1")
        for unit in range(2, repeats + 1):
            x = _unit(x, f"stage{stage}_unit{unit}")
    head = parameters.head_filters or HEAD_FILTERS[parameters.level]
    x = _convolved(x, head, "conv5")
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="shufflenet_v2")


def _convolved(tensor: Any, filters: int, name: str, *, kernel: int = 1, strides: int = 1) -> Any:
    """Convolution `name` with batch norm and ReLU."""
    return conv2d_norm(
        tensor,
        filters,
        kernel,
        strides=strides,
        name=name,
        norm=f"{name}_bn",
        relu=f"{name}_relu",
    )


def _branch(tensor: Any, filters: int, name: str, stride: int) -> Any:
    """1x1, depthwise 3x3, 1x1, all of one width: the right side of Figure 3(c) and (d)."""
    x = _convolved(tensor, filters, f"{name}_first")
    x = depthwise_norm(x, 3, strides=stride, name=f"{name}_depthwise", norm=f"{name}_depthwise_bn")
    return _convolved(x, filters, f"{name}_second")


def _unit(tensor: Any, name: str) -> Any:
    """Figure 3(c): one half of the channels passes by."""
    from tensorflow import keras

    half = int(tensor.shape[-1]) // 2
    bypass, x = channel_split(tensor, half, name=f"{name}_split")
    x = _branch(x, half, name, 1)
    x = keras.layers.Concatenate(name=f"{name}_concat")([bypass, x])
    return channel_shuffle(x, 2, name=f"{name}_shuffle")


def _downsampling_unit(tensor: Any, channels: int, name: str) -> Any:
    """Figure 3(d): both sides have stride 2 and half of the output."""
    from tensorflow import keras

    half = channels // 2
    bypass = depthwise_norm(
        tensor, 3, strides=2, name=f"{name}_bypass_depthwise", norm=f"{name}_bypass_depthwise_bn"
    )
    bypass = _convolved(bypass, half, f"{name}_bypass")
    x = _branch(tensor, half, name, 2)
    x = keras.layers.Concatenate(name=f"{name}_concat")([bypass, x])
    return channel_shuffle(x, 2, name=f"{name}_shuffle")


FAMILY = Family(
    name="shufflenet_v2",
    summary="ShuffleNet V2: 0.5x to 2x, or any even channels, any resolution",
    source="Ma et al. 2018, https://arxiv.org/abs/1807.11164",
    parameters=ShuffleNetV2Parameters,
    build=build,
    examples={
        "small": {
            "channels": (6,),
            "repeats": (2,),
            "stem_filters": 4,
            "head_filters": 6,
            "input_shape": (17, 14, 3),
            "classes": 3,
        },
    },
)
