"""SqueezeNext: two squeezes, then 3x1 and 1x3 instead of 3x3, around which the input is added.

Source: Gholami et al., "SqueezeNext: Hardware-Aware Neural Network Design", arXiv:1803.10615:
section 2 (block), section 3 (1.0-SqNxt-23 and its fifth version), and the networks that the authors
released, which settle what the text leaves open: neither convolutions nor the classifier have
biases; pools round their size up; within a stage the 3x1 convolution comes first in every other
block; a block that changes width or resolution adds a 1x1 convolution of its input instead, and in
the fifth version squeezes that convolution rather than its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import conv2d_norm
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Version(NamedTuple):
    """A version of the 23-layer network.

    Attributes:
        conv1_kernel: rows and columns of the first convolution.
        blocks: of each of the four stages.
        squeezes_projection: whether a block that changes the width squeezes the projection that it
            adds, and not its input.
    """

    conv1_kernel: int
    blocks: tuple[int, ...]
    squeezes_projection: bool


VERSIONS = {
    "v1": Version(7, (6, 6, 8, 1), False),
    "v5": Version(5, (2, 4, 14, 1), True),
}
CONV1_FILTERS, LAST_FILTERS = 64, 128
STAGE_FILTERS = (32, 64, 128, 256)

Size = Annotated[int, Field(ge=9, le=8192)]
Blocks = Annotated[int, Field(ge=1, le=64)]


class SqueezeNextParameters(BaseModel):
    """The parameters of a SqueezeNext; the defaults are 1.0-SqNxt-23v5 at its own 227."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal["v1", "v5"] = Field(
        "v5", description="v1: 7x7 first, 6, 6, 8, 1 blocks. v5: 5x5 first, 2, 4, 14, 1 blocks."
    )
    width: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0, description="Width multiplier: the filters of every layer times this, rounded down."
    )
    blocks: (
        Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=4, strict=False)] | None
    ) = Field(None, description="Blocks of each stage; by default the version's.")
    input_shape: Annotated[
        tuple[Size, Size, Annotated[int, Field(ge=1, le=8192)]], Field(strict=False)
    ] = Field((227, 227, 3), description="Height, width, channels; at least 9 x 9.")
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )


def build(parameters: SqueezeNextParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.

    Raises:
        ValueError: if a layer is left without filters.
    """
    from tensorflow import keras

    version = VERSIONS[parameters.version]
    stages = parameters.blocks or version.blocks
    least = 4 / STAGE_FILTERS[0]
    if parameters.width < least:
        raise ValueError(f"width must leave every layer a filter, so be {least} or more")

    def widened(filters: int) -> int:
        return int(filters * parameters.width)

    inputs = keras.Input(parameters.input_shape, name="input")
    x = _convolved(
        inputs,
        widened(CONV1_FILTERS),
        version.conv1_kernel,
        "conv1",
        strides=2,
        padding="valid",
    )
    x = _pooled(x)
    for number, count in enumerate(stages, start=1):
        for index in range(count):
            x = _block(
                x,
                f"stage{number}_block{index + 1}",
                widened(STAGE_FILTERS[number - 1]),
                stride=2 if number > 1 and index == 0 else 1,
                upright_first=index % 2 == 0,
                squeezes_projection=version.squeezes_projection,
            )
    x = _convolved(x, widened(LAST_FILTERS), 1, "conv_last")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dense(parameters.classes, use_bias=False, name="predictions")(x)
    return keras.Model(inputs, x, name="squeezenext")


def _convolved(
    tensor: Any,
    filters: int,
    kernel: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    padding: str = "same",
) -> Any:
    """Convolution, batch norm and ReLU, as all of them are."""
    return conv2d_norm(
        tensor,
        filters,
        kernel,
        strides=strides,
        padding=padding,
        name=name,
        norm=f"{name}_bn",
        relu=f"{name}_relu",
    )


def _pooled(tensor: Any) -> Any:
    """Maxima over 3x3 with stride 2; a window that is cut off below or at the right counts too."""
    from tensorflow import keras

    cut_off = tuple((0, 1 - int(size) % 2) for size in tensor.shape[1:3])
    if any(after for _, after in cut_off):
        tensor = keras.layers.ZeroPadding2D(cut_off, name="pool1_pad")(tensor)
    return keras.layers.MaxPooling2D(3, strides=2, name="pool1")(tensor)


def _block(
    tensor: Any,
    name: str,
    filters: int,
    *,
    stride: int,
    upright_first: bool,
    squeezes_projection: bool,
) -> Any:
    """Squeeze to a half, to a quarter, 3x1 and 1x3, expand, add: Figures 1 and 4."""
    from tensorflow import keras

    bypass = tensor
    if stride > 1 or int(tensor.shape[-1]) != filters:
        bypass = _convolved(tensor, filters, 1, f"{name}_bypass", strides=stride)
    reads_bypass = bypass is tensor or squeezes_projection
    x = _convolved(
        bypass if reads_bypass else tensor,
        filters // 2,
        1,
        f"{name}_squeeze1",
        strides=1 if reads_bypass else stride,
    )
    x = _convolved(x, filters // 4, 1, f"{name}_squeeze2")
    first, second = ((3, 1), (1, 3)) if upright_first else ((1, 3), (3, 1))
    x = _convolved(x, filters // 2, first, f"{name}_conv{first[0]}x{first[1]}")
    x = _convolved(x, filters // 2, second, f"{name}_conv{second[0]}x{second[1]}")
    x = _convolved(x, filters, 1, f"{name}_expand")
    x = keras.layers.Add(name=f"{name}_add")([bypass, x])
    return keras.layers.ReLU(name=f"{name}_add_relu")(x)


FAMILY = Family(
    name="squeezenext",
    summary="SqueezeNext: SqNxt-23 and SqNxt-23v5, any width and depth",
    source="Gholami et al. 2018, https://arxiv.org/abs/1803.10615",
    parameters=SqueezeNextParameters,
    build=build,
    examples={
        "v1": {
            "version": "v1",
            "width": 0.125,
            "blocks": (2, 1),
            "input_shape": (19, 16, 3),
            "classes": 3,
        },
        "v5": {"width": 0.125, "blocks": (1, 2), "input_shape": (15, 18, 2), "classes": 3},
    },
)
