"""DenseNet: every layer of a block reads what all the layers before it in the block have made.

Source: Huang et al., "Densely Connected Convolutional Networks", arXiv:1608.06993: Table 1
(bodies), section 3 (composite function, bottleneck layers, compression). Layer names and padding
are those of the weights that Keras publishes. Batch norm and ReLU come before each convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

BLOCKS = {
    "121": (6, 12, 24, 16),
    "169": (6, 12, 32, 32),
    "201": (6, 12, 48, 32),
    "264": (6, 12, 64, 48),
}
"""Layers of each dense block: the columns of Table 1."""

BOTTLENECK = 4
"""Filters of the 1x1 convolution of a layer, for each channel that the layer adds."""

EPSILON = 1.001e-5

Size = Annotated[int, Field(ge=1, le=8192)]
Layers = Annotated[int, Field(ge=1, le=256)]


class DenseNetParameters(BaseModel):
    """The parameters of a DenseNet; the defaults are DenseNet-121 at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    depth: Literal["121", "169", "201", "264"] = Field(
        "121", description="Which column of Table 1: 121, 169, 201 or 264."
    )
    blocks: (
        Annotated[tuple[Layers, ...], Field(min_length=1, max_length=8, strict=False)] | None
    ) = Field(None, description="Layers of each dense block; by default those of Table 1.")
    growth_rate: Annotated[int, Field(ge=1, le=512)] = Field(
        32, description="k, the channels that each layer adds."
    )
    stem_filters: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Filters of the first convolution; by default twice the growth rate."
    )
    compression: Annotated[float, Field(gt=0, le=1, strict=False)] = Field(
        0.5, description="theta, the share of the channels that a transition layer keeps."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels; at least 32 x 32 for four blocks."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )


def build(parameters: DenseNetParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.

    Raises:
        ValueError: if nothing is left of the input before the last block.
    """
    from tensorflow import keras

    layers = parameters.blocks or BLOCKS[parameters.depth]
    filters = parameters.stem_filters or 2 * parameters.growth_rate
    least = 4 * 2 ** (len(layers) - 1) - 3 if len(layers) > 1 else 1
    if min(parameters.input_shape[:2]) < least:
        height, width = parameters.input_shape[:2]
        raise ValueError(
            f"input_shape must be at least {least} x {least} for {len(layers)} dense blocks, not "
            f"{height} x {width}"
        )
    inputs = keras.Input(parameters.input_shape, name="input")
    x = keras.layers.ZeroPadding2D(3, name="zero_padding2d")(inputs)
    x = keras.layers.Conv2D(filters, 7, strides=2, use_bias=False, name="conv1/conv")(x)
    x = _activated(x, norm="conv1/bn", relu="conv1/relu")
    x = keras.layers.ZeroPadding2D(1, name="zero_padding2d_1")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for number, count in enumerate(layers, start=2):
        for layer in range(1, count + 1):
            x = _dense_layer(x, parameters.growth_rate, f"conv{number}_block{layer}")
        if number <= len(layers):
            x = _transition(x, parameters.compression, f"pool{number}")
    x = _activated(x, norm="bn", relu="relu")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dense(parameters.classes, name="predictions")(x)
    return keras.Model(inputs, x, name="densenet")


def _activated(tensor: Any, *, norm: str, relu: str) -> Any:
    from tensorflow import keras

    tensor = keras.layers.BatchNormalization(epsilon=EPSILON, name=norm)(tensor)
    return keras.layers.ReLU(name=relu)(tensor)


def _dense_layer(tensor: Any, growth_rate: int, name: str) -> Any:
    """BN, ReLU, 1x1, BN, ReLU, 3x3, whose output joins the channels of its input: DenseNet-B."""
    from tensorflow import keras

    x = _activated(tensor, norm=f"{name}_0_bn", relu=f"{name}_0_relu")
    x = keras.layers.Conv2D(BOTTLENECK * growth_rate, 1, use_bias=False, name=f"{name}_1_conv")(x)
    x = _activated(x, norm=f"{name}_1_bn", relu=f"{name}_1_relu")
    x = keras.layers.Conv2D(growth_rate, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(
        x
    )
    return keras.layers.Concatenate(name=f"{name}_concat")([tensor, x])


def _transition(tensor: Any, compression: float, name: str) -> Any:
    """BN, ReLU, a 1x1 convolution to fewer channels, and the mean over 2x2: DenseNet-C."""
    from tensorflow import keras

    filters = max(1, int(tensor.shape[-1] * compression))
    x = _activated(tensor, norm=f"{name}_bn", relu=f"{name}_relu")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(x)
    return keras.layers.AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


FAMILY = Family(
    name="densenet",
    summary="DenseNet 121, 169, 201 and 264, and any other growth rate and blocks",
    source="Huang et al. 2017, https://arxiv.org/abs/1608.06993",
    parameters=DenseNetParameters,
    build=build,
    examples={
        "two_blocks": {
            "blocks": (2, 1),
            "growth_rate": 2,
            "stem_filters": 3,
            "input_shape": (17, 13, 2),
            "classes": 3,
        },
    },
)
