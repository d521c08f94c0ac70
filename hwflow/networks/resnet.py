"""ResNet: residual learning, for ImageNet (18 to 152 layers) and for CIFAR (20 to 110 layers).

Source: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385: Table 1 (the
bodies for ImageNet), Figure 5 (blocks), section 3.3 (shortcuts A and B), section 4.2 (CIFAR).
Layer names and padding are those of the weights that Keras publishes, which have biases in the
convolutions (`biases`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwflow.networks.blocks import conv2d_norm
from hwflow.networks.family import Family

if TYPE_CHECKING:
    import keras


class Body(NamedTuple):
    """A column of Table 1, or a network of section 4.2.

    Attributes:
        blocks: of each stage.
        is_bottleneck: 1x1, 3x3, 1x1 rather than twice 3x3.
        is_small: made for 32 x 32: a 3x3 stem without pool, 16 filters, shortcut A.
    """

    blocks: tuple[int, ...]
    is_bottleneck: bool = False
    is_small: bool = False


BODIES = {
    "18": Body((2, 2, 2, 2)),
    "34": Body((3, 4, 6, 3)),
    "50": Body((3, 4, 6, 3), is_bottleneck=True),
    "101": Body((3, 4, 23, 3), is_bottleneck=True),
    "152": Body((3, 8, 36, 3), is_bottleneck=True),
    "20": Body((3, 3, 3), is_small=True),
    "32": Body((5, 5, 5), is_small=True),
    "44": Body((7, 7, 7), is_small=True),
    "56": Body((9, 9, 9), is_small=True),
    "110": Body((18, 18, 18), is_small=True),
}
EXPANSION = 4
"""Filters of a bottleneck's last convolution, for each of its others."""

EPSILON = 1.001e-5

Size = Annotated[int, Field(ge=1, le=8192)]
Blocks = Annotated[int, Field(ge=1, le=64)]


class ResNetParameters(BaseModel):
    """The parameters of a ResNet; the defaults are ResNet-50 at 224."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    depth: Literal["18", "34", "50", "101", "152", "20", "32", "44", "56", "110"] = Field(
        "50", description="18 to 152 as in Table 1; 20, 32, 44, 56, 110 as made for CIFAR."
    )
    blocks: (
        Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=4, strict=False)] | None
    ) = Field(None, description="Blocks of each stage; by default those of the depth.")
    shortcut: Literal["identity", "projection"] | None = Field(
        None,
        description="Where the width changes: A, every other pixel and channels of zeros, or B, "
        "a 1x1 convolution. By default A for CIFAR, else B.",
    )
    stem_filters: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Filters of the first convolution and stage; by default 64, or 16."
    )
    biases: bool = Field(
        False, description="Biases before batch norm, as the weights that Keras publishes have."
    )
    input_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)] | None = Field(
        None, description="Height, width, channels; by default 224 x 224 x 3, or 32 x 32 x 3."
    )
    classes: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="Outputs of the classifier; by default 1000, or 10."
    )

    @model_validator(mode="after")
    def _zeros_come_in_whole_tensors(self) -> ResNetParameters:
        if self.shortcut == "identity" and BODIES[self.depth].is_bottleneck:
            raise ValueError(
                "shortcut must be projection for bottleneck blocks (depth 50, 101, 152): the zeros "
                "of A double the channels, which theirs do not"
            )
        return self


def build(parameters: ResNetParameters) -> keras.Model:
    """The float model, input `(N, H, W, C)`, output `(N, classes)`: logits, without softmax.

    Batch norm is present.
    """
    from tensorflow import keras

    body = BODIES[parameters.depth]
    filters = parameters.stem_filters or (16 if body.is_small else 64)
    shortcut = parameters.shortcut or ("identity" if body.is_small else "projection")
    shape = parameters.input_shape or ((32, 32, 3) if body.is_small else (224, 224, 3))
    inputs = keras.Input(shape, name="input")
    block = _Blocks(body.is_bottleneck, shortcut == "projection", parameters.biases)
    if body.is_small:
        x = block.convolved(inputs, filters, 3, "conv1", relu=True)
    else:
        x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
        x = block.convolved(x, filters, 7, "conv1", strides=2, padding="valid", relu=True)
        x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, count in enumerate(parameters.blocks or body.blocks):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block.add(x, filters << stage, stride, f"conv{stage + 2}_block{index + 1}")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    classes = parameters.classes or (10 if body.is_small else 1000)
    x = keras.layers.Dense(classes, name="predictions")(x)
    return keras.Model(inputs, x, name="resnet")


class _Blocks(NamedTuple):
    """How the blocks of a network are made: Figure 5 and section 3.3."""

    is_bottleneck: bool
    projects: bool
    biases: bool

    def convolved(
        self,
        tensor: Any,
        filters: int,
        kernel: int,
        name: str,
        *,
        strides: int = 1,
        padding: str = "same",
        relu: bool = False,
    ) -> Any:
        return conv2d_norm(
            tensor,
            filters,
            kernel,
            strides=strides,
            padding=padding,
            name=f"{name}_conv",
            norm=f"{name}_bn",
            relu=f"{name}_relu" if relu else None,
            use_bias=self.biases,
            epsilon=EPSILON,
        )

    def add(self, tensor: Any, filters: int, stride: int, name: str) -> Any:
        """A residual block: `(N, H, W, C)` to `(N, H / stride, W / stride, outputs)`."""
        from tensorflow import keras

        outputs = filters * (EXPANSION if self.is_bottleneck else 1)
        bypass = tensor
        if stride > 1 or int(tensor.shape[-1]) != outputs:
            bypass = self.shortcut(tensor, outputs, stride, name)
        if self.is_bottleneck:
            x = self.convolved(tensor, filters, 1, f"{name}_1", strides=stride, relu=True)
            x = self.convolved(x, filters, 3, f"{name}_2", relu=True)
            x = self.convolved(x, outputs, 1, f"{name}_3")
        else:
            x = self.strided(tensor, filters, stride, f"{name}_1")
            x = self.convolved(x, outputs, 3, f"{name}_2")
        x = keras.layers.Add(name=f"{name}_add")([bypass, x])
        return keras.layers.ReLU(name=f"{name}_out")(x)

    def strided(self, tensor: Any, filters: int, stride: int, name: str) -> Any:
        """A 3x3 convolution that pads all around, whatever its stride."""
        from tensorflow import keras

        if stride == 1:
            return self.convolved(tensor, filters, 3, name, relu=True)
        tensor = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(tensor)
        return self.convolved(tensor, filters, 3, name, strides=stride, padding="valid", relu=True)

    def shortcut(self, tensor: Any, outputs: int, stride: int, name: str) -> Any:
        """Around a block that changes the shape: a convolution, or pixels left out and zeros."""
        from tensorflow import keras

        if self.projects:
            return self.convolved(tensor, outputs, 1, f"{name}_0", strides=stride)
        x = keras.layers.MaxPooling2D(1, strides=stride, name=f"{name}_0_pixels")(tensor)
        zeros = keras.layers.Rescaling(0.0, name=f"{name}_0_zeros")(x)
        return keras.layers.Concatenate(name=f"{name}_0_concat")([x, zeros])


FAMILY = Family(
    name="resnet",
    summary="ResNet 18 to 152 for ImageNet, 20 to 110 for CIFAR",
    source="He et al. 2016, https://arxiv.org/abs/1512.03385",
    parameters=ResNetParameters,
    build=build,
    examples={
        "basic": {
            "depth": "18",
            "blocks": (1, 1),
            "stem_filters": 3,
            "input_shape": (13, 16, 2),
            "classes": 3,
        },
        "bottleneck": {
            "depth": "50",
            "blocks": (2, 1),
            "stem_filters": 2,
            "biases": True,
            "input_shape": (14, 11, 2),
            "classes": 3,
        },
        "cifar": {
            "depth": "20",
            "blocks": (1, 2),
            "stem_filters": 3,
            "input_shape": (7, 6, 2),
            "classes": 3,
        },
    },
)
