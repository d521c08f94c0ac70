"""Weights that are powers of two, each with a sign: what `quantized_po2` makes.

There is no zero among them: QKeras makes the least power of what is smaller.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.fixed_point import FixedPoint
from hwflow.layers.base import RawWeights
from hwflow.quantize import qkeras


def quantizer(kernel: npt.NDArray[np.float64], width: int) -> Any:
    """The `quantized_po2` whose greatest power is the nearest to the greatest weight.

    Args:
        kernel: real values of any shape.
        width: bits of sign and exponent, from 2 to 5.
    """
    from qkeras import quantized_po2

    peak = float(np.max(np.abs(kernel), initial=0.0))
    exponent = round(math.log2(peak)) if peak > 0 else 0
    least, greatest = qkeras.exponents_of(quantized_po2(width, max_value=2.0))
    if exponent <= 0:  # QKeras then spends no bit on the exponent's sign
        least, greatest = qkeras.exponents_of(quantized_po2(width, max_value=1.0))
    return quantized_po2(width, max_value=2.0 ** min(max(exponent, least), greatest))


def nearest(kernel: npt.NDArray[np.float64], chosen: Any) -> RawWeights:
    """The weights as powers of two, nearest by their logarithms.

    Args:
        kernel: real values of any shape.
        chosen: the quantizer.
    """
    least, greatest = qkeras.exponents_of(chosen)
    with np.errstate(divide="ignore"):
        exponents = np.clip(np.rint(np.log2(np.abs(kernel))), least, greatest)
    raw = np.where(kernel < 0, -1.0, 1.0) * 2.0 ** (exponents - least)
    width = greatest - least + 2
    return RawWeights(raw.astype(np.int64), FixedPoint(width, width + least))
