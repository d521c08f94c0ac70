"""The sections of a design, as frozen models with a default for all that can have one.

Each value is checked here by itself; what takes two of them, or the disk, is checked in
`hwflow.design`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwflow import presets

NAME_PATTERN = r"[a-z](_?[a-z0-9])*"
NAME_LENGTH = 64

RESERVED_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        alignas alignof and and_eq asm auto bitand bitor bool break case catch char class
        compl const constexpr const_cast continue decltype default delete do double
        dynamic_cast else enum explicit export extern false float for friend goto if inline
        int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
        protected public register reinterpret_cast return short signed sizeof static
        static_assert static_cast struct switch template this thread_local throw true try
        typedef typeid typename union unsigned using virtual void volatile wchar_t while xor
        xor_eq concept requires co_await co_return co_yield char8_t char16_t char32_t
        consteval constinit final override import module main std hls ap_int ap_uint
        ap_fixed beat hwflow nnet top input output weights biases firmware
        """,
    )
)
"""Words that cannot name a design: C++'s own, and those of the emitted project."""

Width = Annotated[int, Field(ge=1, le=32)]
IntegerBits = Annotated[int, Field(ge=-32, le=30)]
"""Of weights and biases, which can be scaled down; QKeras counts up to 30 of them in int32."""
TensorBits = Annotated[int, Field(ge=0, le=30)]
"""Of tensors, which QKeras cannot scale."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Pixels = Annotated[int, Field(ge=1, le=16384)]
ReuseFactor = Annotated[int, Field(ge=1, le=1 << 30)]
Role = Literal["depthwise", "first", "last"]
if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[presets.NAMES]
Storage = Literal["auto", "lut", "bram", "uram"]
Multiplier = Literal["auto", "lut", "dsp", "dsp_pair"]
PerChannel = Annotated[tuple[float, ...], Field(min_length=1, max_length=4)]

REASONS: Mapping[tuple[str, ...], str] = {
    ("quantization", "rounding"): "QKeras quantizers round ties to even and know no other way",
    ("hardware", "io_type"): (
        "io_parallel puts whole feature maps into registers, and those of these networks are "
        "far beyond what can be partitioned"
    ),
}
"""Why a field takes nothing else, told when something else was given."""


class Section(BaseModel):
    """Base of all sections: frozen, strict, no unknown keys, finite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=False
    )


class Weights(Section):
    """Where the network's weights come from: drawn from a seed, or a file."""

    source: Literal["random", "model", "file"] | None = Field(
        None,
        description="random: drawn from the seed. model: those of network.file. By default `file` "
        "with a file, `model` with network.file, else `random`.",
    )
    seed: Seed = Field(0, description="Seed of random weights.")
    file: Path | None = Field(
        None, description="An .h5, .keras, .npz or .net file, or a folder of .npy files."
    )


class Preprocessing(Section):
    """What is done to a picture: resize, crop, channel order, `(pixel - mean) * scale`."""

    resize: Pixels | None = Field(
        None,
        description="Size in pixels to resize to; null keeps the picture's own, or just covers the "
        "input where `crop` is null too.",
    )
    resize_mode: Literal["short_side", "warp"] = Field(
        "short_side",
        description="short_side: the shorter side gets the size. warp: both sides do.",
    )
    crop: Pixels | tuple[Pixels, Pixels] | None = Field(
        None, description="Central crop, one side or [height, width]; null takes the input's size."
    )
    channels: Literal["rgb", "bgr"] = Field("rgb", description="Order of the channels.")
    mean: float | PerChannel = Field(
        0.0, description="Subtracted from pixels of 0 to 255, one number or one a channel."
    )
    scale: float | PerChannel = Field(
        1 / 255, description="Multiplied after that, one number or one a channel."
    )

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Height and width of the crop, or None where the input's size is taken."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


class Format(Section):
    """Width of a kind of tensor, and where its binary point is."""

    width: Width = Field(default=8, description="Bits, the sign included.")
    integer_bits: TensorBits | None = Field(
        default=None,
        description="Bits left of the binary point as ap_fixed counts them, the sign included; "
        "null lets calibration choose.",
    )


class WeightFormat(Format):
    """The same for weights: their values, their scales, and what is done to them before."""

    integer_bits: IntegerBits | None = Field(
        default=None,
        description="Bits left of the binary point, the sign included; null takes the best.",
    )
    values: Literal["linear", "ternary", "binary", "powers_of_two"] = Field(
        default="linear",
        description="linear: every integer of the width. ternary: -1, 0, 1 (width 2). binary: -1, "
        "1 (width 1). powers_of_two: plus or minus a power of two, `width` bits of sign and "
        "exponent.",
    )
    scale: Literal["channel", "tensor"] = Field(
        default="channel",
        description="channel: each output channel has a power of two of its own by which its "
        "weights are scaled. tensor: one serves a whole layer; so it is wherever integer_bits are "
        "given, and for powers_of_two.",
    )
    curve: Literal["none", "tanh"] = Field(
        default="none", description="tanh: DoReFa's normalisation, before quantization."
    )
    density: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Share of a layer's weights that is left, the largest; the others become 0.",
    )
    shared: Annotated[int, Field(ge=2, le=1 << 16)] | None = Field(
        default=None, description="Most different weights of a layer, found by k-means."
    )


class BiasFormat(Format):
    """The same for biases, which are wider by default."""

    width: Width = Field(default=16, description="Bits, the sign included.")
    integer_bits: IntegerBits | None = Field(
        default=None,
        description="Bits left of the binary point, the sign included; null takes what they need.",
    )


class PartialLayer(Section):
    """The formats of the layers that a pattern names, as far as they differ."""

    weights: WeightFormat | None = None
    activations: Format | None = None
    biases: BiasFormat | None = None


@dataclass(frozen=True)
class LayerQuantization:
    """The formats that one layer gets.

    Attributes:
        weights: of its weights.
        activations: of its output.
        biases: of its biases.
    """

    weights: WeightFormat
    activations: Format
    biases: Format


class Quantization(Section):
    """Widths and binary points, by default and by layer."""

    preset: PresetName | None = Field(
        None,
        description="A scheme by name; the keys given beside it are laid over its own, one by one.",
    )
    weights: WeightFormat = Field(WeightFormat(), description="Weights of every layer.")
    activations: Format = Field(Format(), description="Outputs of every layer.")
    biases: BiasFormat = Field(BiasFormat(), description="Biases of every layer.")
    input: Format = Field(Format(), description="The network's input.")
    rounding: Literal["half_even"] = Field(
        "half_even", description="Nearest, ties to even: what QKeras does."
    )
    depthwise: PartialLayer = Field(
        PartialLayer(), description="What depthwise convolutions have otherwise."
    )
    first: PartialLayer = Field(
        PartialLayer(), description="What the first layer with weights has otherwise."
    )
    last: PartialLayer = Field(
        PartialLayer(), description="What the last layer with weights has otherwise."
    )
    layers: dict[str, PartialLayer] = Field(
        {}, description="By layer name or pattern (`fire*`); later ones override earlier ones."
    )

    @model_validator(mode="before")
    @classmethod
    def _over_its_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, Mapping) else None
        if not isinstance(name, str) or name not in presets.NAMES:
            return data
        return presets.laid_over(presets.preset(name).quantization, data)

    def for_layer(self, name: str, roles: Iterable[Role] = ()) -> LayerQuantization:
        """The formats of a layer: the defaults, overridden field by field.

        Args:
            name: of the layer.
            roles: that it has in its network, the more particular one later.
        """
        result = LayerQuantization(self.weights, self.activations, self.biases)
        partials: list[PartialLayer] = [getattr(self, role) for role in roles]
        for partial in [*partials, *_matching(self.layers, name)]:
            for kind in ("weights", "activations", "biases"):
                change = getattr(partial, kind)
                if change is not None:
                    given = {field: getattr(change, field) for field in change.model_fields_set}
                    updated = getattr(result, kind).model_copy(update=given)
                    result = replace(result, **{kind: updated})
        return result

    def place_of(self, key: str, name: str, roles: Iterable[Role] = ()) -> str:
        """The dotted path of what holds for a layer: of the last that `for_layer` takes it from.

        Args:
            key: such as `weights.width`.
            name: of the layer.
            roles: that it has in its network, the more particular one later.
        """
        kind, field = key.split(".")
        partials: dict[str, PartialLayer] = {role: getattr(self, role) for role in roles}
        partials |= {
            f"layers.{pattern}": self.layers[pattern]
            for pattern in self.layers
            if fnmatchcase(name, pattern)
        }
        for place, partial in reversed(partials.items()):
            change = getattr(partial, kind)
            if change is not None and field in change.model_fields_set:
                return f"quantization.{place}.{key}"
        return f"quantization.{key}"


class Images(Section):
    """Pictures from a folder or a .npy file, or seeded noise."""

    images: Path | None = Field(
        None, description="A folder of pictures, one picture, or a .npy file of (N, H, W, C)."
    )
    source: Literal["noise"] | None = Field(
        None, description="noise: seeded pictures of noise; the default without `images`."
    )
    seed: Seed = Field(1, description="Seed of the noise.")
    count: Count = Field(8, description="Number of pictures.")


class Calibration(Images):
    """The pictures by which ranges are chosen."""

    count: Count = Field(
        8, description="Number of pictures; by default 32 of `images`, 8 of noise."
    )


class Verification(Images):
    """The pictures by which the witnesses are compared."""

    seed: Seed = Field(2, description="Seed of the noise.")
    count: Count = Field(4, description="Number of pictures.")


class Target(Section):
    """The speed that the hardware is to reach; the plan takes the least resources for it."""

    frames_per_second: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Pictures a second."
    )
    interval_cycles: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Clock cycles from one picture to the next."
    )
    latency_ms: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Milliseconds from a picture's first input to its last output."
    )
    fastest: Literal[True] | None = Field(
        None, description="Instead: the most pictures a second that fit the share of the part."
    )


class PartialHardware(Section):
    """What the layers that a pattern names have otherwise."""

    reuse_factor: ReuseFactor | None = Field(None, description="Uses of a multiplier an output.")
    storage: Storage = Field("auto", description="Memory of the weights.")
    multiplier: Multiplier = Field("auto", description="What makes the products.")


@dataclass(frozen=True)
class LayerHardware:
    """How one layer is built.

    Attributes:
        reuse_factor: uses of a multiplier for one output pixel; None lets the plan choose.
        storage: memory of its weights: `auto`, `lut`, `bram` or `uram`.
        multiplier: what makes its products: `auto`, `lut`, `dsp` or `dsp_pair`.
    """

    reuse_factor: int | None
    storage: str
    multiplier: str = "auto"


class Hardware(Section):
    """The tools, the device, and how much of it the network may take."""

    backend: Literal["vitis", "vivado"] = Field("vitis", description="The HLS tool's generation.")
    part: str = Field(
        "xczu9eg-ffvb1156-2-e", description="A part number, or a board such as zcu102."
    )
    clock_period_ns: Annotated[float, Field(ge=0.5, le=1000)] = Field(
        5.0, description="Clock period in nanoseconds."
    )
    io_type: Literal["io_stream"] = Field("io_stream", description="Layers are joined by streams.")
    strategy: Literal["resource", "latency"] = Field(
        "resource",
        description="resource: folded for the target, else for a million cycles a frame. latency: "
        "folded as little as is legal.",
    )
    reuse_factor: ReuseFactor | None = Field(
        None, description="Uses of a multiplier for one output pixel, in every layer."
    )
    target: Target | None = Field(
        None, description="Speed to reach, for which the planner folds each layer."
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="Of each resource of the part that a plan for a target may take."
    )
    storage: Storage = Field("auto", description="Memory of the weights.")
    uram_load_port: bool = Field(
        False,
        description="Whether weights may stand in UltraRAM that cannot be initialised: the top "
        "function then has a port through which they are loaded at start-up.",
    )
    multiplier: Multiplier = Field(
        "auto", description="What makes the products; dsp_pair: two of an input in one DSP slice."
    )
    layers: dict[str, PartialHardware] = Field(
        {}, description="By layer name or pattern (`fire*`); later ones override earlier ones."
    )

    def for_layer(self, name: str) -> LayerHardware:
        """How a layer is built: the defaults, overridden field by field."""
        result = LayerHardware(self.reuse_factor, self.storage, self.multiplier)
        for partial in _matching(self.layers, name):
            given = {field: getattr(partial, field) for field in partial.model_fields_set}
            result = replace(result, **given)
        return result

    def place_of(self, key: str, name: str) -> str:
        """The dotted path of what holds for a layer, likewise."""
        for pattern, partial in reversed(self.layers.items()):
            if fnmatchcase(name, pattern) and key in partial.model_fields_set:
                return f"hardware.layers.{pattern}.{key}"
        return f"hardware.{key}"


HeadName = Literal["logits", "argmax", "top_k", "softmax"]
HeadCount = Annotated[int, Field(ge=1, le=64)]
HeadWidth = Annotated[int, Field(ge=2, le=16)]


class PartialOutput(Section):
    """What the outputs that a pattern names have otherwise."""

    head: HeadName = Field("logits", description="What is made of the logits.")
    k: HeadCount = Field(5, description="How many `top_k` gives.")
    width: HeadWidth = Field(8, description="Bits of the results of `softmax`.")


@dataclass(frozen=True)
class OutputHead:
    """What becomes of one output.

    Attributes:
        head: `logits`, `argmax`, `top_k` or `softmax`.
        k: how many `top_k` gives.
        width: bits of the results of `softmax`.
    """

    head: str
    k: int
    width: int


class Outputs(Section):
    """What the hardware makes of the network's outputs, pixel by pixel over the channels."""

    head: HeadName = Field(
        "logits",
        description="logits: as they are. argmax: the index of the greatest, the lowest of equal "
        "ones. top_k: indices and values of the `k` greatest. softmax: shares, rounded once.",
    )
    k: HeadCount = Field(5, description="How many `top_k` gives.")
    width: HeadWidth = Field(
        8, description="Bits of the results of `softmax`, one of them before the point."
    )
    layers: dict[str, PartialOutput] = Field(
        {}, description="By output layer's name or pattern; later ones override earlier ones."
    )

    def for_layer(self, name: str) -> OutputHead:
        """What becomes of an output: the defaults, overridden field by field."""
        result = OutputHead(self.head, self.k, self.width)
        for partial in _matching(self.layers, name):
            given = {field: getattr(partial, field) for field in partial.model_fields_set}
            result = replace(result, **given)
        return result


class Simulation(Section):
    """How the emitted code is simulated."""

    ap_types: Literal["reference", "fast"] = Field(
        "fast",
        description="Headers of ap_int and ap_fixed: those that hls4ml ships, or native integers, "
        "proved to compute the same.",
    )


SECTIONS: Mapping[str, type[Section]] = {
    "weights": Weights,
    "preprocessing": Preprocessing,
    "quantization": Quantization,
    "outputs": Outputs,
    "calibration": Calibration,
    "hardware": Hardware,
    "verification": Verification,
    "simulation": Simulation,
}
"""The optional sections by name, in the order in which designs have them."""

_Partial = TypeVar("_Partial")


def _matching(layers: Mapping[str, _Partial], name: str) -> Iterator[_Partial]:
    return (partial for pattern, partial in layers.items() if fnmatchcase(name, pattern))


def unmatched(layers: Mapping[str, Any], names: list[str]) -> list[str]:
    """The patterns of a `layers` mapping that name none of the given layers."""
    return [p for p in layers if not any(fnmatchcase(name, p) for name in names)]
