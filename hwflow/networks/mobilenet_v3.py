"""MobileNet V3 Large and Small, and their minimalistic forms.

Source: Howard et al., "Searching for MobileNetV3", arXiv:1905.02244: Tables 1 and 2 (bodies),
section 5.2 (h-swish), section 5.3 (squeeze-and-excite). The minimalistic forms have neither of the
two and no 5x5 window; they are the authors' own later release. Names of layers with weights,
padding and rounding of the widths are those of the weights that Keras publishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from hwflow.networks.blocks import hard_sigmoid, hard_swish, rounded_channels, strided_padding
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Row(NamedTuple):
    """A line of Table 1 or 2.

    Attributes:
        kernel: rows and columns of the depthwise window.
        expansion: channels within the block, for each of its input (the tables list the product).
        filters: of the linear projection.
        excites: whether there is squeeze-and-excite.
        is_hard_swish: h-swish, else ReLU.
        stride: of the depthwise convolution.
        dilation: of the same.
    """

    kernel: int
    expansion: float
    filters: int
    excites: bool
    is_hard_swish: bool
    stride: int
    dilation: int = 1


LARGE = (
    Row(3, 1, 16, False, False, 1),
    Row(3, 4, 24, False, False, 2),
    Row(3, 3, 24, False, False, 1),
    Row(5, 3, 40, True, False, 2),
    Row(5, 3, 40, True, False, 1),
    Row(5, 3, 40, True, False, 1),
    Row(3, 6, 80, False, True, 2),
    Row(3, 2.5, 80, False, True, 1),
    Row(3, 2.3, 80, False, True, 1),
    Row(3, 2.3, 80, False, True, 1),
    Row(3, 6, 112, True, True, 1),
    Row(3, 6, 112, True, True, 1),
    Row(5, 6, 160, True, True, 2),
    Row(5, 6, 160, True, True, 1),
    Row(5, 6, 160, True, True, 1),
)
SMALL = (
    Row(3, 1, 16, True, False, 2),
    Row(3, 72 / 16, 24, False, False, 2),
    Row(3, 88 / 24, 24, False, False, 1),
    Row(5, 4, 40, True, True, 2),
    Row(5, 6, 40, True, True, 1),
    Row(5, 6, 40, True, True, 1),
    Row(5, 3, 48, True, True, 1),
    Row(5, 3, 48, True, True, 1),
    Row(5, 6, 96, True, True, 2),
    Row(5, 6, 96, True, True, 1),
    Row(5, 6, 96, True, True, 1),
)
BODIES = {"large": LARGE, "small": SMALL}
LAST_POINT_FILTERS = {"large": 1280, "small": 1024}
STEM_FILTERS, LAST_EXPANSION, SQUEEZE = 16, 6, 0.25

Size = Annotated[int, Field(ge=1, le=8192)]


class MobileNetV3Parameters(BaseModel):
    """The parameters of a MobileNet V3; the defaults are Large at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: Literal["large", "small"] = Field("large", description="Table 1 or Table 2.")
    minimalistic: bool = Field(
        False, description="ReLU, 3x3 windows and no squeeze-and-excite throughout."
    )
    alpha: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0, description="Width multiplier of the blocks, in multiples of 8 filters."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] = Field(
        1000, description="Outputs of the classifier."
    )
    blocks: Annotated[int, Field(ge=1, le=len(LARGE))] = Field(
        len(LARGE), description="How many lines of the table there are at most."
    )


def build(parameters: MobileNetV3Parameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present; the rescaling of pixels is left to the preprocessing.
    """
    from tensorflow import keras

    swishes = not parameters.minimalistic
    inputs = keras.Input(parameters.input_shape, name="input")
    x = expanded_features(features(inputs, parameters)[-1], parameters)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(x)
    last = LAST_POINT_FILTERS[parameters.size]
    if parameters.alpha > 1:
        last = rounded_channels(last * parameters.alpha)
    x = keras.layers.Conv2D(last, 1, padding="same", name="Conv_2")(x)
    x = _activated(x, "Conv_2", swishes=swishes)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    x = keras.layers.Conv2D(parameters.classes, 1, padding="same", name="Logits")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, x, name="mobilenet_v3")


def rows_within(rows: Sequence[Row], output_stride: int, *, dilated: bool) -> list[Row]:
    """Lines of a table with the strides that an output stride allows.

    Args:
        rows: from the first on.
        output_stride: rows of the input for each row of the last features; strides that would
            exceed it are left out.
        dilated: whether the windows from the first such line on are spread by what is left out.
    """
    stride, dilation = 2, 1  # the stem's
    kept = []
    for row in rows:
        if stride * row.stride > output_stride:
            dilation *= row.stride if dilated else 1
            row = row._replace(stride=1)
        stride *= row.stride
        kept.append(row._replace(dilation=dilation))
    return kept


def features(
    inputs: Any,
    parameters: MobileNetV3Parameters,
    output_stride: int = 32,
    *,
    dilated: bool = False,
) -> list[Any]:
    """What the first convolution and each block of the table make, in order.

    Args:
        inputs: `(N, H, W, C)`.
        parameters: of the network.
        output_stride: as `rows_within` takes it.
        dilated: the same.
    """
    swishes = not parameters.minimalistic
    made = [_convolved(inputs, STEM_FILTERS, "Conv", swishes=swishes, kernel=3, strides=2)]
    table = BODIES[parameters.size][: parameters.blocks]
    for index, row in enumerate(rows_within(table, output_stride, dilated=dilated)):
        made.append(_block(made[-1], index, row, parameters))
    return made


def expanded_features(tensor: Any, parameters: MobileNetV3Parameters) -> Any:
    """The last 1x1 convolution before the pooling, which widens the features."""
    filters = rounded_channels(tensor.shape[-1] * LAST_EXPANSION)
    return _convolved(tensor, filters, "Conv_1", swishes=not parameters.minimalistic)


def _activated(tensor: Any, name: str, *, swishes: bool) -> Any:
    from tensorflow import keras

    if swishes:
        return hard_swish(tensor, name=f"{name}/hswish")
    return keras.layers.ReLU(name=f"{name}/relu")(tensor)


def _normed(tensor: Any, name: str) -> Any:
    from tensorflow import keras

    return keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.999, name=f"{name}/BatchNorm")(
        tensor
    )


def _convolved(
    tensor: Any, filters: int, name: str, *, swishes: bool, kernel: int = 1, strides: int = 1
) -> Any:
    from tensorflow import keras

    tensor = keras.layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False, name=name
    )(tensor)
    return _activated(_normed(tensor, name), name, swishes=swishes)


def _block(tensor: Any, index: int, row: Row, parameters: MobileNetV3Parameters) -> Any:
    """Expand, filter depthwise, squeeze and excite, project linearly: Figures 3 and 4."""
    from tensorflow import keras

    prefix = f"expanded_conv_{index}" if index else "expanded_conv"
    swishes = row.is_hard_swish and not parameters.minimalistic
    kernel = 3 if parameters.minimalistic else row.kernel
    channels = int(tensor.shape[-1])
    expanded = rounded_channels(channels * row.expansion)
    filters = rounded_channels(row.filters * parameters.alpha)
    x, name = tensor, f"{prefix}/depthwise"
    if index:
        x = _convolved(x, expanded, f"{prefix}/expand", swishes=swishes)
    padding = "same"
    if row.stride > 1:
        padding = "valid"
        size = (int(x.shape[1]), int(x.shape[2]))
        x = keras.layers.ZeroPadding2D(strided_padding(size, kernel), name=f"{name}/pad")(x)
    x = keras.layers.DepthwiseConv2D(
        kernel,
        strides=row.stride,
        padding=padding,
        dilation_rate=row.dilation,
        use_bias=False,
        name=name,
    )(x)
    x = _activated(_normed(x, name), name, swishes=swishes)
    if row.excites and not parameters.minimalistic:
        x = _excited(x, expanded, f"{prefix}/squeeze_excite")
    name = f"{prefix}/project"
    x = keras.layers.Conv2D(filters, 1, padding="same", use_bias=False, name=name)(x)
    x = _normed(x, name)
    if row.stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{prefix}/Add")([tensor, x])
    return x


def _excited(tensor: Any, channels: int, prefix: str) -> Any:
    """Squeeze-and-excite with a hard sigmoid, squeezed to a quarter: section 5.3."""
    from tensorflow import keras

    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}/AvgPool")(tensor)
    squeezed = rounded_channels(channels * SQUEEZE)
    x = keras.layers.Conv2D(squeezed, 1, padding="same", name=f"{prefix}/Conv")(x)
    x = keras.layers.ReLU(name=f"{prefix}/Relu")(x)
    x = keras.layers.Conv2D(channels, 1, padding="same", name=f"{prefix}/Conv_1")(x)
    x = hard_sigmoid(x, name=f"{prefix}/hsigmoid")
    return keras.layers.Multiply(name=f"{prefix}/Mul")([tensor, x])


FAMILY = Family(
    name="mobilenet_v3",
    summary="MobileNet V3: Large and Small, minimalistic or not",
    source="Howard et al. 2019, https://arxiv.org/abs/1905.02244",
    parameters=MobileNetV3Parameters,
    build=build,
    examples={
        name: {
            "size": size,
            "minimalistic": minimalistic,
            "alpha": 0.25,
            "input_shape": (17, 16, 3),
            "classes": 5,
            "blocks": blocks,
        }
        for name, size, minimalistic, blocks in (
            ("large", "large", False, 5),
            ("small", "small", False, 1),
            ("large_minimalistic", "large", True, 3),
            ("small_minimalistic", "small", True, 2),
        )
    },
)
