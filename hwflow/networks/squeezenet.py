"""SqueezeNet: fire modules, a 1x1 classifier, and the paper's generator of the whole family.

Source: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB
model size", arXiv:1602.07360: Table 1 (v1.0), Figure 2 (bypass), section 5 (metaparameters). v1.1
is the authors' own later release: the same fire modules, a smaller conv1 and earlier pools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from hwflow.networks.blocks import conv2d, conv2d_relu
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras

FIRE_MODULES = tuple(f"fire{number}" for number in range(2, 10))


class Version(NamedTuple):
    """What tells the releases apart."""

    conv1_kernel: int
    conv1_filters: int
    pools_after: tuple[str, ...]


VERSIONS = {
    "1.0": Version(7, 96, ("conv1", "fire4", "fire8")),
    "1.1": Version(3, 64, ("conv1", "fire3", "fire5")),
}
POOL_WINDOW, POOL_STRIDE, CONV1_STRIDE = 3, 2, 2

Size = Annotated[int, Field(ge=1, le=8192)]
Filters = Annotated[int, Field(ge=1, le=65536)]


class SqueezeNetParameters(BaseModel):
    """The parameters of a SqueezeNet; the defaults are v1.1 as released, without bypass."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal["1.0", "1.1"] = Field(
        "1.1",
        description="1.0: conv1 7x7, 96 filters, pools after conv1, fire4, fire8. "
        "1.1: conv1 3x3, 64 filters, pools after conv1, fire3, fire5.",
    )
    bypass: Literal["none", "simple", "complex"] = Field(
        "none",
        description="simple: the input is added to the output of fire3, fire5, fire7, fire9. "
        "complex: and of the others too, through a 1x1 convolution.",
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] = Field(
        (224, 224, 3), description="Height, width, channels."
    )
    classes: Filters = Field(1000, description="Outputs of the classifier.")
    conv1_filters: Filters | None = Field(
        None, description="Filters of conv1; by default the version's (96 or 64)."
    )
    conv10_padding: Literal[0, 1] = Field(
        0,
        description="Zeros around the input of conv10; the weights of the Deep Compression "
        "release were trained with 1.",
    )
    base_e: Filters = Field(128, description="Expand filters of the first fire module.")
    incr_e: Annotated[int, Field(ge=0, le=65536)] = Field(
        128, description="Expand filters added after every `freq` modules."
    )
    pct_3x3: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="Share of the expand filters that is 3x3."
    )
    freq: Annotated[int, Field(ge=1)] = Field(
        2, description="Fire modules after which the number of expand filters grows."
    )
    squeeze_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        0.125, description="SR: squeeze filters for each expand filter."
    )

    @field_validator("input_shape")
    @classmethod
    def _reaches_the_last_pool(
        cls, shape: tuple[int, int, int], info: ValidationInfo
    ) -> tuple[int, int, int]:
        version = info.data.get("version")
        if version is not None:  # else it has its own fault
            smallest = smallest_input(version)
            if min(shape[:2]) < smallest:
                raise ValueError(
                    f"must be at least {smallest} x {smallest} pixels for version {version}, so "
                    f"that its three pools have something to pool, not {shape[0]} x {shape[1]}"
                )
        return shape

    @model_validator(mode="after")
    def _every_layer_has_filters(self) -> SqueezeNetParameters:
        for name, widths in fire_widths(self).items():
            for layer, filters in widths._asdict().items():
                if filters < 1:
                    raise ValueError(
                        f"{name}_{layer} must have at least one filter, but base_e="
                        f"{self.base_e}, incr_e={self.incr_e}, pct_3x3={self.pct_3x3}, "
                        f"squeeze_ratio={self.squeeze_ratio} leave none. Raise base_e or the ratio"
                    )
        return self

    @model_validator(mode="after")
    def _bypassed_modules_keep_their_width(self) -> SqueezeNetParameters:
        outputs = {name: widths.outputs for name, widths in fire_widths(self).items()}
        for before, name in zip(FIRE_MODULES[0::2], FIRE_MODULES[1::2], strict=True):
            if self.bypass != "none" and outputs[before] != outputs[name]:
                raise ValueError(
                    f"bypass {self.bypass} adds the input of {name} to its output, so both must "
                    f"have the same channels, not {outputs[before]} and {outputs[name]}. Choose "
                    "an even freq, incr_e 0, or bypass none"
                )
        return self


def smallest_input(version: str) -> int:
    """The least height and width, in pixels, that leave one pixel after the last pool."""
    size = 1
    for _ in VERSIONS[version].pools_after:
        size = (size - 1) * POOL_STRIDE + POOL_WINDOW
    return (size - 1) * CONV1_STRIDE + VERSIONS[version].conv1_kernel


class FireWidths(NamedTuple):
    """Filters of the three convolutions of a fire module."""

    squeeze1x1: int
    expand1x1: int
    expand3x3: int

    @property
    def outputs(self) -> int:
        """Channels of the module's output."""
        return self.expand1x1 + self.expand3x3


def fire_widths(parameters: SqueezeNetParameters) -> dict[str, FireWidths]:
    """Filters of fire2 ... fire9 from the metaparameters, fractions rounded to the nearest.

    Source: section 5.1 of the paper, `e_i = base_e + incr_e * floor(i / freq)` for i = 0 ... 7.
    """
    table = {}
    for index, name in enumerate(FIRE_MODULES):
        expand = parameters.base_e + parameters.incr_e * (index // parameters.freq)
        expand3x3 = int(parameters.pct_3x3 * expand + 0.5)
        squeeze = int(parameters.squeeze_ratio * expand + 0.5)
        table[name] = FireWidths(squeeze, expand - expand3x3, expand3x3)
    return table


def build(parameters: SqueezeNetParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    All pools and conv1 are without padding and drop the pixels that are over. The released Caffe
    models round the size of a pool up instead; at their own input sizes, 227 for v1.0 and 224 for
    v1.1, every pool divides exactly and both rules are one.
    """
    from tensorflow import keras

    version = VERSIONS[parameters.version]

    def pooled(tensor: Any, after: str) -> Any:
        if after not in version.pools_after:
            return tensor
        name = f"pool{after.removeprefix('conv').removeprefix('fire')}"
        return keras.layers.MaxPooling2D(POOL_WINDOW, POOL_STRIDE, name=name)(tensor)

    inputs = keras.Input(parameters.input_shape, name="input")
    x = conv2d_relu(
        inputs,
        parameters.conv1_filters or version.conv1_filters,
        version.conv1_kernel,
        strides=CONV1_STRIDE,
        name="conv1",
    )
    x = pooled(x, after="conv1")
    for index, (name, widths) in enumerate(fire_widths(parameters).items()):
        projected = index % 2 == 0  # fire2, fire4, fire6, fire8
        has_bypass = parameters.bypass == "complex" or (
            parameters.bypass == "simple" and not projected
        )
        x = _fire(x, name, widths, bypass=has_bypass, projected=projected)
        x = pooled(x, after=name)
    x = keras.layers.Dropout(0.5, name="drop9")(x)
    if parameters.conv10_padding:
        x = keras.layers.ZeroPadding2D(parameters.conv10_padding, name="conv10_pad")(x)
    x = conv2d_relu(x, parameters.classes, 1, name="conv10")
    x = keras.layers.GlobalAveragePooling2D(name="pool10")(x)
    return keras.Model(inputs, x, name="squeezenet")


def _fire(tensor: Any, name: str, widths: FireWidths, *, bypass: bool, projected: bool) -> Any:
    """Squeeze by 1x1, expand by 1x1 and 3x3 side by side, with or without a bypass around it.

    Source: Figures 1 and 2 of the paper. The projection of the complex bypass is linear.
    """
    from tensorflow import keras

    squeezed = conv2d_relu(tensor, widths.squeeze1x1, 1, name=f"{name}_squeeze1x1")
    expand1x1 = conv2d_relu(squeezed, widths.expand1x1, 1, name=f"{name}_expand1x1")
    expand3x3 = conv2d_relu(squeezed, widths.expand3x3, 3, padding="same", name=f"{name}_expand3x3")
    result = keras.layers.Concatenate(name=f"{name}_concat")([expand1x1, expand3x3])
    if not bypass:
        return result
    if projected:
        tensor = conv2d(tensor, widths.outputs, 1, name=f"{name}_bypass_conv")
    return keras.layers.Add(name=f"{name}_bypass_add")([tensor, result])


FAMILY = Family(
    name="squeezenet",
    summary="SqueezeNet v1.0 and v1.1: vanilla, simple and complex bypass, all metaparameters",
    source="Iandola et al. 2016, https://arxiv.org/abs/1602.07360",
    parameters=SqueezeNetParameters,
    build=build,
    examples={
        name: {
            "version": version,
            "bypass": bypass,
            "input_shape": shape,
            "classes": 3,
            "conv1_filters": 4,
            "base_e": 8,
            "incr_e": 4,
            "squeeze_ratio": 0.25,
        }
        for name, version, bypass, shape in (
            ("vanilla", "1.1", "none", (31, 33, 3)),
            ("complex_bypass", "1.0", "complex", (35, 37, 2)),
        )
    },
)
