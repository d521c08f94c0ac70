"""Every layer kind: QKeras, the integer graph and the C-simulation agree on every tensor.

Each kind has a case here that adds it to a small random network. A kind without one fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from hwflow.errors import DesignError, ToolError
from hwflow.hls import writer
from hwflow.integer_graph import IntegerGraph
from hwflow.layers import kinds
from hwflow.networks.blocks import channel_shuffle, channel_split
from hwflow.opset import Conv2D
from hwflow.plan.mapping import Choices, map_graph
from hwflow.quantize.build import quantize
from hwflow.quantize.lower import lower
from hwflow.sections import Hardware, Quantization
from hwflow.simulate import csim, keras_reference

keras = pytest.importorskip("keras")
L = keras.layers

CONFORM = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=3,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# --- witnesses ----------------------------------------------------------------------------------


def extreme_images(graph: IntegerGraph, seed: int) -> Any:
    """Random, all minimum, all maximum, far beyond the range on either side, the extremes mixed."""
    tensor = graph.tensors[graph.inputs[0]]
    low, high = (tensor.format.to_float(v) for v in (tensor.format.minimum, tensor.format.maximum))
    rng = np.random.default_rng(seed)
    images = rng.uniform(low, high, (6, *tensor.shape))
    images[1], images[2] = low, high
    images[3] = rng.normal(0, 4 * max(abs(low), high), tensor.shape)
    images[4] = rng.choice([low, high], tensor.shape)
    images[5] = rng.integers(-8, 9, tensor.shape) * tensor.format.lsb / 2  # ties
    return images.astype(np.float32)


def assert_keras_equals(model: Any, graph: IntegerGraph, images: Any) -> None:
    """The QKeras model has the integer graph's values in every tensor that both have."""
    values = graph.evaluate(raw_input(graph, images))
    for name, tensor in graph.tensors.items():
        assert tensor.format.minimum <= values[name].min(), name
        assert values[name].max() <= tensor.format.maximum, name
        assert (values[name] >= tensor.interval.low).all(), name
        assert (values[name] <= tensor.interval.high).all(), name
    exact = keras_reference.float32_exact(graph)
    reference = keras_reference.KerasReference(model, graph)
    found = {name: v for name, v in reference.evaluate(images).items() if name in exact}
    precise = keras_reference.evaluate_float64(model, graph, images)
    assert set(precise) == set(reference.names)
    for witness in (found, precise):
        for name, got in witness.items():
            same = keras_reference.matches(got, values[name], graph.tensors[name])
            assert same.all(), f"{name}: {np.count_nonzero(~same)} of {same.size} differ"


def raw_input(graph: IntegerGraph, images: Any) -> dict[str, Any]:
    (name,) = graph.inputs
    return {name: graph.tensors[name].format.quantize(images)}


# --- a case for each kind -----------------------------------------------------------------------

Draw = Any


def square_or_not(draw: Draw, low: int, high: int) -> tuple[int, int]:
    return draw(st.tuples(st.integers(low, high), st.integers(low, high)))


def spread(draw: Draw, stride: int, rate: int) -> dict[str, tuple[int, int]]:
    """Strides or dilation; Keras takes no layer that has both."""
    if draw(st.booleans()):
        return {"strides": square_or_not(draw, 1, stride)}
    return {"dilation_rate": square_or_not(draw, 1, rate)}


def convolution(draw: Draw, x: Any) -> Any:
    channels = int(x.shape[-1])
    groups = draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
    return L.Conv2D(
        groups * draw(st.integers(1, 5)),
        square_or_not(draw, 1, 4),
        **spread(draw, 3, 5),
        padding=draw(st.sampled_from(["same", "valid"])),
        groups=groups,
        use_bias=draw(st.booleans()),
        name="it",
    )(x)


def depthwise(draw: Draw, x: Any) -> Any:
    return L.DepthwiseConv2D(
        square_or_not(draw, 1, 7),
        **spread(draw, 3, 4),
        padding=draw(st.sampled_from(["same", "valid"])),
        depth_multiplier=draw(st.integers(1, 3)),
        name="it",
    )(x)


def max_pooling(draw: Draw, x: Any) -> Any:
    window = square_or_not(draw, 1, 3)
    strides = square_or_not(draw, 1, 3)
    padding = draw(st.sampled_from(["same", "valid"]))
    return L.MaxPooling2D(window, strides=strides, padding=padding, name="it")(x)


def average_pooling(draw: Draw, x: Any) -> Any:
    if draw(st.booleans()):
        return L.GlobalAveragePooling2D(keepdims=draw(st.booleans()), name="it")(x)
    padding = draw(st.sampled_from(["same", "valid"]))
    if padding == "valid" and draw(st.booleans()):  # these zeros count
        x = L.ZeroPadding2D(((1, 0), (0, 2)), name="pad")(x)
    return L.AveragePooling2D(
        square_or_not(draw, 1, 4), square_or_not(draw, 1, 3), padding=padding, name="it"
    )(x)


def branches(draw: Draw, x: Any) -> list[Any]:
    """Two or three tensors of one shape and several formats."""
    filters = draw(st.integers(1, 4))
    found = []
    for index in range(draw(st.integers(2, 3))):
        y = L.Conv2D(filters, 1, name=f"branch{index}")(x)
        found.append(L.ReLU(name=f"branch{index}_relu")(y) if draw(st.booleans()) else y)
    return found


def addition(draw: Draw, x: Any) -> Any:
    return L.Add(name="it")(branches(draw, x))


def concatenation(draw: Draw, x: Any) -> Any:
    return L.Concatenate(name="it")(branches(draw, x))


def padding(draw: Draw, x: Any) -> Any:
    sides = draw(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2))
    x = L.ZeroPadding2D(sides, name="it")(x)
    if draw(st.booleans()):
        return L.DepthwiseConv2D(3, strides=2, name="reader")(x)
    return L.Conv2D(3, 3, padding=draw(st.sampled_from(["same", "valid"])), name="reader")(x)


def dense(draw: Draw, x: Any) -> Any:
    flat = L.Flatten(name="flat")(x)
    return L.Dense(draw(st.integers(1, 6)), use_bias=draw(st.booleans()), name="it")(flat)


def flattening(draw: Draw, x: Any) -> Any:
    return L.Dense(3, name="reader")(L.Flatten(name="it")(x))


def reshaping(draw: Draw, x: Any) -> Any:
    """A pixel to a vector and back; a channel shuffle; a channel split; both, of a pixel or map."""
    if draw(st.booleans()):
        x = L.GlobalAveragePooling2D(name="mean")(x)
        x = L.Reshape((1, 1, int(x.shape[-1])), name="it")(x)
    if draw(st.booleans()):
        groups, each = draw(st.integers(2, 3)), draw(st.integers(2, 3))
        x = L.ReLU(name="wide_relu")(L.Conv2D(groups * each, 1, name="wide")(x))
        x = channel_shuffle(x, groups, name="shuffle")
        x, rest = channel_split(x, draw(st.integers(1, groups * each - 1)), name="split")
        return [L.Conv2D(2, 1, name="reader")(x), L.Conv2D(2, 1, name="other")(rest)][
            draw(st.integers(0, 1))
        ]
    x = L.Permute((1, 2, 3), name="same")(L.Reshape(x.shape[1:], name="same_shape")(x))
    return L.Conv2D(2, 1, name="reader")(x)


def activation(draw: Draw, x: Any) -> Any:
    x = L.Conv2D(3, 2, name="above")(x)
    made = draw(
        st.sampled_from(
            [
                lambda: L.ReLU(name="it"),
                lambda: L.ReLU(6.0, name="it"),
                lambda: L.ReLU(0.3, name="it"),
                lambda: L.Activation("relu", name="it"),
                lambda: L.Activation("linear", name="it"),
            ]
        )
    )
    return made()(x)


def rectification(draw: Draw, x: Any) -> Any:
    """ReLU6, which the QKeras model has as a ReLU with its maximum and a quantizer."""
    x = L.Conv2D(4, 1, name="above")(x)
    return L.ReLU(draw(st.sampled_from([0.7, 1.0, 3.0, 6.0])), name="it")(x)


def elementwise(draw: Draw, x: Any) -> Any:
    function = draw(st.sampled_from(["sigmoid", "tanh", "swish", "hard_sigmoid"]))
    x = L.Activation(function, name="function")(L.Conv2D(2, 1, name="above")(x))
    return L.Rescaling(0.75, offset=-0.1, name="it")(x)


def multiplication(draw: Draw, x: Any) -> Any:
    channels = int(x.shape[-1])
    gate = L.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    gate = L.ReLU(name="gate")(L.Conv2D(channels, 1, name="excite")(gate))
    other = L.Conv2D(channels, 1, name="other")(x)
    factors = [other, gate if draw(st.booleans()) else x]
    return L.Multiply(name="it")(factors[:: draw(st.sampled_from([1, -1]))])


def upsampling(draw: Draw, x: Any) -> Any:
    interpolation = draw(st.sampled_from(["nearest", "bilinear"]))
    factors = square_or_not(draw, 1, 4)
    if draw(st.booleans()):
        return L.UpSampling2D(factors, interpolation=interpolation, name="it")(x)
    height, width = (int(size) * by for size, by in zip(x.shape[1:3], factors, strict=True))
    return L.Resizing(height, width, interpolation=interpolation, name="it")(x)


def cropping(draw: Draw, x: Any) -> Any:
    """Of a map, or of the zeros around it and some of the map; read by windows, or not."""
    side = st.integers(0, 2)
    if draw(st.booleans()):
        x = L.ZeroPadding2D(draw(st.tuples(*[st.tuples(side, side)] * 2)), name="pad")(x)
    (top, bottom), (left, right) = draw(st.tuples(*[st.tuples(side, side)] * 2))
    x = L.Cropping2D(((top, bottom + 1), (left, right)), name="it")(x)
    return L.Conv2D(2, (1, 2), padding="same", name="reader")(x)


CASES: Mapping[str, Callable[[Draw, Any], Any]] = {
    "activation": activation,
    "addition": addition,
    "average_pooling": average_pooling,
    "concatenation": concatenation,
    "convolution": convolution,
    "cropping": cropping,
    "dense": dense,
    "depthwise": depthwise,
    "elementwise": elementwise,
    "flattening": flattening,
    "max_pooling": max_pooling,
    "multiplication": multiplication,
    "padding": padding,
    "rectification": rectification,
    "reshaping": reshaping,
    "upsampling": upsampling,
}


SCALES = st.sampled_from(["tensor", "channel"])


def randomized(model: Any, rng: np.random.Generator) -> Any:
    """Weights of both signs and very different sizes, also from channel to channel."""
    for layer in model.layers:
        gain = 2.0 ** rng.integers(-4, 3)
        shapes = [w.shape for w in layer.get_weights()]
        gains = [gain * 2.0 ** rng.integers(-5, 1, shape[-1]) for shape in shapes]
        layer.set_weights([rng.normal(0, g, shape) for g, shape in zip(gains, shapes, strict=True)])
    return model


def drawn_network(draw: Draw, kind: str) -> tuple[Any, Quantization, int]:
    """A network with a layer of the kind, widths, and a seed."""
    keras.backend.clear_session()
    seed = draw(st.integers(0, 10**6))
    image = keras.Input((*square_or_not(draw, 4, 8), draw(st.integers(1, 4))), name="image")
    x = image
    if draw(st.booleans()):  # what it reads is then unsigned
        x = L.ReLU(name="first_relu")(L.Conv2D(3, 1, name="first")(x))
    try:
        x = CASES[kind](draw, x)
    except ValueError as error:  # a window larger than the image
        texts = ("dimension size", "dimensions in the output")
        assume(not any(text in str(error) for text in texts))
        raise
    made = x if isinstance(x, list) else [x]
    assume(all(size > 0 for tensor in made for size in tensor.shape[1:]))
    model = randomized(keras.Model(image, x, name="net"), np.random.default_rng(seed))
    width = st.integers(2, 16)
    chosen = Quantization.model_validate(
        {
            "weights": {"width": draw(width), "scale": draw(SCALES)},
            "activations": {"width": draw(width)},
            "biases": {"width": draw(st.integers(2, 20))},
            "input": {"width": draw(width)},
            "layers": {"*1_relu": {"activations": {"width": draw(width)}}},
        }
    )
    return model, chosen, seed


@pytest.mark.parametrize("kind", [kind.name for kind in kinds()])
def test_keras_equals_the_integer_graph(kind: str) -> None:
    assert kind in CASES, f"the layer kind {kind!r} needs a case in CASES"
    seen: set[str] = set()

    @CONFORM
    @given(st.data())
    def conforms(data: st.DataObject) -> None:
        model, chosen, seed = drawn_network(data.draw, kind)
        shape = model.input_shape[1:]
        calibration = np.random.default_rng(seed).normal(0, 1, (2, *shape)).astype(np.float32)
        quantized = quantize(model, chosen, calibration)
        seen.update(type(layer).__name__ for layer in quantized.layers)
        graph = lower(quantized, "net")
        assert_keras_equals(quantized, graph, extreme_images(graph, seed))

    conforms()
    (it,) = (entry for entry in kinds() if entry.name == kind)
    assert seen & set(it.quantized_classes), f"the case of {kind!r} makes none of its layers"


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: L.UpSampling2D(2, interpolation="bicubic", name="up"), "interpolation must be"),
        (lambda: L.Resizing(8, 9, name="up"), r"whole factors, not from \(4, 4\) to \(8, 9\)"),
        (lambda: L.Resizing(8, 8, crop_to_aspect_ratio=True, name="up"), "crop_to_aspect_ratio"),
    ],
)
def test_other_upsampling_is_refused(layer: Callable[[], Any], reason: str) -> None:
    image = keras.Input((4, 4, 2), name="image")
    with pytest.raises(DesignError, match=f"layer 'up' .*{reason}"):
        quantize(keras.Model(image, layer()(image)), Quantization(), np.zeros((1, 4, 4, 2)))


RATES = [(2, 2), (1, 2), (2, 1), (3, 4), (9, 9)]  # the last reaches over more than the image


def pyramid(x: Any) -> Any:
    """Windows of one map at several rates, padded or not, as DeepLab has them; in groups too."""
    x = L.ReLU(name="stem_relu")(L.Conv2D(4, 1, name="stem")(x))
    made = [
        L.Conv2D(3, 3, dilation_rate=rate, padding="same", name=f"rate{index}")(x)
        for index, rate in enumerate(RATES)
    ]
    both = L.ReLU(name="both_relu")(L.Concatenate(name="both")(made))
    made = [
        L.DepthwiseConv2D(3, dilation_rate=rate, padding="same", name=f"depthwise{index}")(both)
        for index, rate in enumerate(RATES)
    ]
    x = L.Conv2D(6, (2, 3), dilation_rate=(3, 2), groups=3, name="grouped")(L.Add(name="sum")(made))
    x = L.ReLU(name="grouped_relu")(x)
    return L.DepthwiseConv2D(2, dilation_rate=(2, 1), depth_multiplier=2, name="valid")(x)


def test_dilation_is_that_of_keras() -> None:
    image = keras.Input((7, 8, 2), name="image")
    model = randomized(keras.Model(image, pyramid(image), name="net"), np.random.default_rng(3))
    calibration = np.random.default_rng(4).normal(0, 1, (2, 7, 8, 2)).astype(np.float32)
    quantized = quantize(model, Quantization(), calibration)
    graph = lower(quantized, "net")
    rates = {op.name: op.dilation for op in graph.operations if isinstance(op, Conv2D)}
    for index, rate in enumerate(RATES):
        assert rates[f"rate{index}"] == rates[f"depthwise{index}"] == rate
    assert graph.tensors["valid"].shape == (2, 3, 12)
    assert_keras_equals(quantized, graph, extreme_images(graph, 5))


def test_what_hls4ml_cannot_convert_is_an_error_of_the_tool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hwflow.hls import hls4ml_backend

    image = keras.Input((4, 4, 2), name="image")
    parts = [L.Conv2D(2, 1, name=name)(image) for name in "abc"]
    model = keras.Model(image, L.Add(name="add")(parts))
    quantized = quantize(model, Quantization(), np.ones((1, 4, 4, 2), np.float32))
    graph = lower(quantized, "net")
    streams = map_graph(graph, Choices(for_layer=Hardware().for_layer))
    settings = writer.ProjectSettings("vitis", "xczu9eg-ffvb1156-2-e", 5.0)
    monkeypatch.setattr(hls4ml_backend, "kinds", tuple)  # hls4ml's own parsers are left
    with pytest.raises(
        ToolError, match=r"hls4ml cannot convert the model: .*more than two tensors"
    ):
        hls4ml_backend.convert(quantized, graph, streams, settings)


# --- the C-simulation ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A network to be compiled.

    Attributes:
        layers: adds them to the input.
        shape: of the input.
        quantization: widths.
        hardware: folds.
        backend: pragmas of which tool.
    """

    layers: Callable[[Any], Any]
    shape: tuple[int, int, int]
    quantization: dict[str, Any]
    hardware: dict[str, Any]
    backend: str = "vitis"


def chain(x: Any) -> Any:
    """Strides, paddings and sizes that are not square; overlapping pools; a mean over 15."""
    x = L.ZeroPadding2D(((0, 1), (2, 0)), name="pad")(x)
    x = L.Conv2D(6, (3, 2), strides=(1, 2), name="conv")(x)
    x = L.ReLU(name="conv_relu")(x)
    x = L.MaxPooling2D((3, 2), strides=(2, 1), padding="same", name="pool")(x)
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = L.Conv2D(5, 1, name="pointwise")(x)
    return L.GlobalAveragePooling2D(name="mean")(x)


def joined(x: Any) -> Any:
    """Sums and concatenations of different formats, signed pooling, three readers of one, a gate
    that is named first, and outputs of several sizes, of which one is read inside too."""
    x = L.ReLU(0.8, name="stem_relu")(L.Conv2D(4, 2, padding="same", name="stem")(x))
    left = L.Conv2D(4, 1, name="left")(x)
    right = L.Activation("relu", name="right_relu")(
        L.DepthwiseConv2D(2, padding="same", name="right")(x)
    )
    total = L.Add(name="add")([L.Add(name="first_add")([left, right]), x, left])
    gate = L.GlobalAveragePooling2D(keepdims=True, name="gate")(x)
    gated = L.Multiply(name="gated")([gate, total])
    both = L.Concatenate(name="concat")([total, x, gated])
    both = L.MaxPooling2D(2, name="pool")(both)
    both = L.AveragePooling2D((2, 1), strides=1, name="average")(both)
    flat = L.Flatten(name="flat")(both)
    small = L.MaxPooling2D(2, strides=2, name="small")(gated)
    large = L.UpSampling2D((2, 3), interpolation="bilinear", name="large")(small)
    large = L.UpSampling2D((1, 2), name="wide")(large)
    return [L.Dense(4, name="dense")(flat), total, large, gate, total]


def shuffled(x: Any) -> Any:
    """Grouped convolutions with and without a window, a shuffle and a split of their channels, a
    map that is moved, and zeros around one."""
    x = L.ReLU(name="stem_relu")(L.Conv2D(12, 1, name="stem")(x))
    x = L.Cropping2D(((0, 1), (1, 0)), name="cut")(L.ZeroPadding2D(((1, 1), (0, 1)))(x))
    x = L.Conv2D(18, 3, groups=3, padding="same", strides=(2, 1), name="grouped")(x)
    x = L.AveragePooling2D(3, strides=(1, 2), padding="same", name="average")(x)
    x = channel_shuffle(x, 3, name="shuffle")
    first, second = channel_split(x, 8, name="split")
    first = L.Conv2D(10, 1, groups=2, name="pointwise")(first)
    around = L.ZeroPadding2D(((1, 0), (0, 1)), name="around")(first)
    first = L.MaxPooling2D(2, strides=1, name="peak")(around)  # among values below zero
    return L.Concatenate(name="concat")([second, first])


NARROW = {
    "weights": {"width": 2, "scale": "channel"},
    "activations": {"width": 3},
    "input": {"width": 2},
}
WIDE = {
    "weights": {"width": 12, "scale": "channel"}, "activations": {"width": 14},
    "biases": {"width": 20}, "input": {"width": 16},
    "layers": {"right_relu": {"activations": {"width": 6}}},
}  # fmt: skip
COMPILED: Mapping[str, Network] = {
    "a chain, folded to the end": Network(
        chain, (6, 7, 2), NARROW, {"layers": {"*": {"reuse_factor": None}}}
    ),
    "a chain, folds by hand": Network(
        chain,
        (6, 7, 2),
        {"weights": {"width": 7}, "activations": {"width": 5}},
        {"layers": {"conv": {"reuse_factor": 12}, "pointwise": {"reuse_factor": 6}}},
    ),
    "groups, as fast as can be": Network(
        shuffled, (5, 6, 3), {}, {"target": {"interval_cycles": 100}}, "vivado"
    ),
    "groups, folds by hand": Network(
        shuffled,
        (5, 6, 3),
        {"weights": {"width": 5}},
        {"layers": {"grouped": {"reuse_factor": 54}, "pointwise": {"reuse_factor": 40}}},
    ),
    "groups, all taps by hand": Network(
        shuffled, (5, 6, 3), {"weights": {"width": 6}}, {"layers": {"grouped": {"reuse_factor": 6}}}
    ),
    "dilated, one tap at a time": Network(pyramid, (7, 8, 2), {"weights": {"width": 5}}, {}),
    "dilated, as fast as can be": Network(
        pyramid, (7, 8, 2), {}, {"target": {"interval_cycles": 60}}, "vivado"
    ),
    "branches, one at a time": Network(joined, (5, 4, 3), WIDE, {}, "vivado"),
    "branches, as fast as can be": Network(
        joined, (5, 4, 3), {}, {"target": {"interval_cycles": 30}}
    ),
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled objects: the types' headers are precompiled once."""
    return tmp_path_factory.mktemp("objects")


@pytest.mark.parametrize("what", COMPILED)
def test_the_emitted_code_equals_the_integer_graph(
    what: str, objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwflow.hls import hls4ml_backend

    # so little runs that compiling takes longer
    monkeypatch.setattr(csim, "FLAGS", tuple(f.replace("-O3", "-O0") for f in csim.FLAGS))

    network = COMPILED[what]
    image = keras.Input(network.shape, name="image")
    rng = np.random.default_rng(len(what))
    model = randomized(keras.Model(image, network.layers(image), name="net"), rng)
    chosen = Quantization.model_validate(network.quantization)
    calibration = rng.normal(0, 1, (3, *network.shape)).astype(np.float32)
    quantized = quantize(model, chosen, calibration)
    graph = lower(quantized, "net")
    images = extreme_images(graph, len(what))
    assert_keras_equals(quantized, graph, images)
    hardware = Hardware.model_validate(network.hardware)
    target = hardware.target.interval_cycles if hardware.target else None
    choices = Choices(
        for_layer=hardware.for_layer,
        explicit=lambda name: hardware.for_layer(name).reuse_factor is not None,
        interval_cycles=target or 1_000_000,
    )
    streams = map_graph(graph, choices)
    for name, reuse_factor in ((n, hardware.for_layer(n).reuse_factor) for n in graph.tensors):
        products = [p.multipliers for p in streams.of_layer(name) if p.multipliers]
        if reuse_factor is not None and products:
            assert products == [graph.operation(name).weights.size // reuse_factor]  # type: ignore[attr-defined]
    settings = writer.ProjectSettings(network.backend, "xczu9eg-ffvb1156-2-e", 5.0)
    files, _ = hls4ml_backend.convert(quantized, graph, streams, settings)
    files.write_into(tmp_path / "hls")
    inputs = raw_input(graph, images)
    expected = graph.evaluate(inputs)
    quantized_tensors = {op.name for op in graph.operations if op.kind == "requantize"}
    for ap_types in csim.AP_TYPES:
        simulator = csim.compile_project(
            tmp_path / "hls",
            streams,
            objects,
            tmp_path / "compile.txt",
            ap_types=ap_types,
            together=ap_types == "reference",
        )
        found = csim.simulate(simulator, inputs, tmp_path / "run", tmp_path / "run.txt")
        assert quantized_tensors <= set(found)
        for name, values in found.items():
            shaped = expected[name].reshape(values.shape)
            np.testing.assert_array_equal(values, shaped, err_msg=f"{name}, {ap_types}")
