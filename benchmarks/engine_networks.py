"""Whole networks as integer graphs with random int8 weights, built without Keras."""

from __future__ import annotations

import math

import numpy as np

from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import (
    Add,
    Concatenate,
    Conv2D,
    Input,
    MaxPool2D,
    Operation,
    Requantize,
    SumPool2D,
)


class NetworkBuilder:
    """Builds whole int8 networks out of random weights, with ReLU as unsigned formats."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.operations: list[Operation] = []
        self.fraction_bits: dict[str, int] = {}
        self.channels: dict[str, int] = {}

    def input(self, shape: tuple[int, int, int], image_format: FixedPoint) -> str:
        self.operations.append(Input("x", (), shape, image_format))
        return self._known("x", image_format.fraction_bits, shape[2])

    def conv(
        self,
        name: str,
        source: str,
        filters: int,
        kernel: int,
        stride: int = 1,
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        depthwise: bool = False,
        activation: FixedPoint | None = None,
    ) -> str:
        """A convolution and the requantization of its sums (ReLU unless told otherwise)."""
        channels = self.channels[source]
        inputs = 1 if depthwise else channels
        weights = self.random.integers(-127, 128, (kernel, kernel, inputs, filters))
        kept = activation or FixedPoint(8, 4, signed=False)
        # Weights of this size keep the spread of activations about the same, rather wider.
        spread = math.log2(73 * math.sqrt(kernel * kernel * inputs / 2))
        weight_format = FixedPoint(8, 8 - math.floor(spread))
        unit = self.fraction_bits[source] + weight_format.fraction_bits
        biases = self.random.integers(-(1 << 8), 1 << 8, filters)
        self.operations.append(
            Conv2D(
                f"{name}_sum",
                (source,),
                weights,
                biases,
                weight_format,
                (stride, stride),
                padding,
                channels if depthwise else 1,
            )
        )
        self.operations.append(Requantize(name, (f"{name}_sum",), kept, unit))
        return self._known(name, kept.fraction_bits, filters)

    def max_pool(self, name: str, source: str, window: int, stride: int) -> str:
        self.operations.append(MaxPool2D(name, (source,), (window, window), (stride, stride)))
        return self._known(name, self.fraction_bits[source], self.channels[source])

    def concatenate(self, name: str, *sources: str) -> str:
        self.operations.append(Concatenate(name, sources, (0,) * len(sources)))
        channels = sum(self.channels[source] for source in sources)
        return self._known(name, self.fraction_bits[sources[0]], channels)

    def add(self, name: str, left: str, right: str, kept: FixedPoint) -> str:
        unit = self.fraction_bits[left]
        self.operations.append(Add(f"{name}_sum", (left, right), (0, 0)))
        self.operations.append(Requantize(name, (f"{name}_sum",), kept, unit))
        return self._known(name, kept.fraction_bits, self.channels[left])

    def average(self, name: str, source: str, size: int) -> str:
        unit = self.fraction_bits[source]
        kept = FixedPoint(8, 4, signed=False)
        self.operations.append(SumPool2D(f"{name}_sum", (source,), (size, size), (size, size)))
        self.operations.append(Requantize(name, (f"{name}_sum",), kept, unit, size * size))
        return self._known(name, kept.fraction_bits, self.channels[source])

    def build(self, name: str, output: str) -> IntegerGraph:
        return IntegerGraph.build(name, self.operations, [output])

    def _known(self, name: str, fraction_bits: int, channels: int) -> str:
        self.fraction_bits[name] = fraction_bits
        self.channels[name] = channels
        return name


def squeezenet(size: int = 224, classes: int = 1000) -> IntegerGraph:
    """SqueezeNet v1.1's shape with random int8 weights."""
    net = NetworkBuilder()
    x = net.input((size, size, 3), FixedPoint(8, 0, signed=False))
    x = net.conv("conv1", x, 64, 3, 2)
    x = net.max_pool("pool1", x, 3, 2)
    side = ((size - 3) // 2 + 1 - 3) // 2 + 1
    for index, squeeze in enumerate([16, 16, 32, 32, 48, 48, 64, 64], start=2):
        s = net.conv(f"fire{index}_squeeze", x, squeeze, 1)
        left = net.conv(f"fire{index}_1x1", s, 4 * squeeze, 1)
        right = net.conv(f"fire{index}_3x3", s, 4 * squeeze, 3, padding=(1, 1, 1, 1))
        x = net.concatenate(f"fire{index}", left, right)
        if index in (3, 5):
            x = net.max_pool(f"pool{index}", x, 3, 2)
            side = (side - 3) // 2 + 1
    x = net.conv("conv10", x, classes, 1)
    return net.build("squeezenet", net.average("logits", x, side))


def mobilenet(
    size: int = 224, classes: int = 1000, alpha: float = 1.0, repeats: int = 5
) -> IntegerGraph:
    """MobileNetV1's shape with random int8 weights; its padding is TensorFlow's.

    Args:
        size: height and width of the input, a multiple of 32.
        classes: outputs.
        alpha: width multiplier.
        repeats: of the block of 512 channels; the paper has 5.
    """
    net = NetworkBuilder()
    x = net.input((size, size, 3), FixedPoint(8, 0, signed=False))
    x = net.conv("conv1", x, int(32 * alpha), 3, 2, (0, 1, 0, 1))
    side = size // 2
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    plan += [(512, 1)] * repeats + [(1024, 2), (1024, 1)]
    for index, (filters, stride) in enumerate(plan, start=1):
        padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        x = net.conv(f"dw{index}", x, net.channels[x], 3, stride, padding, depthwise=True)
        x = net.conv(f"pw{index}", x, int(filters * alpha), 1)
        side //= stride
    x = net.average("pool", x, side)
    x = net.conv("logits", x, classes, 1, activation=FixedPoint(16, 8))
    return net.build("mobilenet", x)


def mobilenet_v2(size: int = 224, classes: int = 1000) -> IntegerGraph:
    """MobileNetV2's shape with random int8 weights: signed bottlenecks and residual additions."""
    signed = FixedPoint(8, 4)
    net = NetworkBuilder()
    x = net.input((size, size, 3), FixedPoint(8, 0, signed=False))
    x = net.conv("conv1", x, 32, 3, 2, (0, 1, 0, 1))
    side = size // 2
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    plan += [(6, 160, 3, 2), (6, 320, 1, 1)]
    index = 0
    for expansion, filters, repeats, first_stride in plan:
        for repeat in range(repeats):
            index += 1
            stride = first_stride if repeat == 0 else 1
            padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
            y = x
            if expansion != 1:
                y = net.conv(f"expand{index}", x, expansion * net.channels[x], 1)
            y = net.conv(f"dw{index}", y, net.channels[y], 3, stride, padding, depthwise=True)
            y = net.conv(f"project{index}", y, filters, 1, activation=signed)
            side //= stride
            x = net.add(f"add{index}", x, y, signed) if repeat else y
    x = net.conv("conv_last", x, 1280, 1)
    x = net.average("pool", x, side)
    x = net.conv("logits", x, classes, 1, activation=FixedPoint(16, 8))
    return net.build("mobilenet_v2", x)
