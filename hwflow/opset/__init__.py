"""The closed set of integer operations, each with its NumPy reference.

Tensors are int64 arrays of raw integers, shape `(N, H, W, C)`; a tensor's `FixedPoint` says what
a raw integer is worth. Every operation gives its result exactly: what loses bits is `Requantize`
alone. An operation also bounds its result: `interval` maps, channel by channel, what its inputs can
reach to what its output can reach, over the actual weights.
"""

from __future__ import annotations

from hwflow.opset.base import KINDS, Input, Interval, Operation, Shape, Tensor, require_int64
from hwflow.opset.convolution import Conv2D
from hwflow.opset.frame import Frame2D
from hwflow.opset.heads import Softmax, TopKIndices, TopKValues
from hwflow.opset.joins import Add, Concatenate, Multiply
from hwflow.opset.pooling import MaxPool2D, SumPool2D, common_divisor
from hwflow.opset.requantize import Requantize
from hwflow.opset.selection import SelectChannels
from hwflow.opset.table import Table
from hwflow.opset.upsampling import UpsampleBilinear2D, UpsampleNearest2D
from hwflow.opset.windows import Padding, reach_of

__all__ = [
    "KINDS",
    "Add",
    "Concatenate",
    "Conv2D",
    "Frame2D",
    "Input",
    "Interval",
    "MaxPool2D",
    "Multiply",
    "Operation",
    "Padding",
    "Requantize",
    "SelectChannels",
    "Shape",
    "Softmax",
    "SumPool2D",
    "Table",
    "Tensor",
    "TopKIndices",
    "TopKValues",
    "UpsampleBilinear2D",
    "UpsampleNearest2D",
    "common_divisor",
    "reach_of",
    "require_int64",
]
