"""LR-ASPP: a segmentation head on MobileNet V3.

Source: Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, section 6.4 and Figure 10. The
gate is pooled over the whole map, as in the authors' and others' later releases, where the figure
has a large window with strides. Where the output stride is 16, the backbone's last stage has no
stride; its windows are dilated on request, as in torchvision's release.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwflow.networks import mobilenet_v3
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

LOW_STRIDE = 8
"""Of the features of fine resolution, which the figure adds to those of the backbone's end."""

Size = Annotated[int, Field(ge=1, le=8192)]


class LrAsppParameters(BaseModel):
    """The parameters of an LR-ASPP; the defaults are V3-Large on 21 classes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: Literal["large", "small"] = Field("large", description="Of the MobileNet V3.")
    minimalistic: bool = Field(False, description="Of the MobileNet V3.")
    alpha: Annotated[float, Field(gt=0, le=8, strict=False)] = Field(
        1.0, description="Width multiplier of the MobileNet V3."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels; both sides multiples of 32."
    )
    classes: Annotated[int, Field(ge=1, le=4096)] = Field(
        21, description="Classes of a pixel, the background included."
    )
    filters: Annotated[int, Field(ge=1, le=4096)] = Field(
        128, description="Filters of the head (F in Table 7)."
    )
    output_stride: Literal[16, 32] = Field(
        16, description="Input pixels for each of the backbone's last features, along a side."
    )
    dilated: bool = Field(
        False,
        description="Whether the windows of the stage without its stride are dilated by that.",
    )
    blocks: Annotated[int, Field(ge=2, le=len(mobilenet_v3.LARGE))] = Field(
        len(mobilenet_v3.LARGE),
        description="How many lines of the backbone's table there are at most.",
    )
    upsampling: Literal[1, 2, 4, 8] = Field(
        8, description="Of the result, which has an eighth of the input's size."
    )

    @model_validator(mode="after")
    def _the_low_features_are_there(self) -> LrAsppParameters:
        strides = accumulate((row.stride for row in mobilenet_v3.BODIES[self.size]), mul, initial=2)
        least = list(strides).index(LOW_STRIDE)
        if self.blocks < least:
            raise ValueError(f"blocks must be {least} or more on V3-{self.size}, not {self.blocks}")
        return self

    @model_validator(mode="after")
    def _there_is_something_to_dilate(self) -> LrAsppParameters:
        table = mobilenet_v3.BODIES[self.size][: self.blocks]
        rows = mobilenet_v3.rows_within(table, self.output_stride, dilated=self.dilated)
        if self.dilated and all(row.dilation == 1 for row in rows):
            raise ValueError(
                f"dilated must be false: with output_stride {self.output_stride} the first "
                f"{len(table)} blocks of V3-{self.size} keep all their strides"
            )
        return self

    @model_validator(mode="after")
    def _every_stride_divides(self) -> LrAsppParameters:
        for side in self.input_shape[:2]:
            if side % 32:
                raise ValueError(
                    f"input_shape must have sides that are multiples of 32, not {side}"
                )
        return self


def build(parameters: LrAsppParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, H', W', classes)`: logits of each pixel.

    Batch norm is present.
    """
    from tensorflow import keras

    inputs = keras.Input(parameters.input_shape, name="input")
    shared = {"size", "minimalistic", "alpha", "blocks", "input_shape"}
    body = mobilenet_v3.MobileNetV3Parameters.model_validate(parameters.model_dump(include=shared))
    features = mobilenet_v3.features(
        inputs, body, parameters.output_stride, dilated=parameters.dilated
    )
    high = mobilenet_v3.expanded_features(features[-1], body)
    low = next(x for x in features if int(x.shape[1]) * LOW_STRIDE == parameters.input_shape[0])
    x = keras.layers.Conv2D(parameters.filters, 1, use_bias=False, name="head")(high)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name="head_bn")(x)
    x = keras.layers.ReLU(name="head_relu")(x)
    x = keras.layers.Multiply(name="head_gated")([x, _gate(high, parameters.filters)])
    factor = int(low.shape[1]) // int(x.shape[1])
    x = keras.layers.UpSampling2D(factor, interpolation="bilinear", name="head_upsampled")(x)
    x = keras.layers.Conv2D(parameters.classes, 1, name="high_classes")(x)
    fine = keras.layers.Conv2D(parameters.classes, 1, name="low_classes")(low)
    x = keras.layers.Add(name="classes")([x, fine])
    if parameters.upsampling > 1:
        x = keras.layers.UpSampling2D(
            parameters.upsampling, interpolation="bilinear", name="classes_upsampled"
        )(x)
    return keras.Model(inputs, x, name="lraspp")


def _gate(tensor: Any, filters: int) -> Any:
    """Which filters matter in the whole picture, `(N, 1, 1, filters)`."""
    from tensorflow import keras

    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="gate_pool")(tensor)
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name="gate_conv")(x)
    return keras.layers.Activation("sigmoid", name="gate")(x)


FAMILY = Family(
    name="lraspp",
    summary="LR-ASPP segmentation on MobileNet V3: classes of each pixel",
    source="Howard et al. 2019, https://arxiv.org/abs/1905.02244",
    parameters=LrAsppParameters,
    build=build,
    examples={
        "small": {
            "size": "small",
            "minimalistic": True,
            "alpha": 0.25,
            "input_shape": (32, 64, 3),
            "classes": 3,
            "filters": 8,
            "blocks": 4,
            "upsampling": 4,
        },
    },
)
