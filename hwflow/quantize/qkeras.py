"""QKeras quantizers and their exact formats.

QKeras takes no negative `integer` (it computes `2**integer` in int32), so a kernel or bias below
one half is stored scaled up by a power of two and scaled back by the quantizer's `alpha`: the
quantized value is the same number.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray, Overflow
from hwflow.layers.base import RawWeights

LARGEST_POWERS = 32
"""Bits of raw integers that are powers of two."""

SIGNIFICANT_BITS = 24
"""Bits of the integers that float32, in which Keras stores weights and tensors, holds exactly."""


def weight_quantizer(target: FixedPoint, shifts: IntArray | None = None) -> Any:
    """The `quantized_bits` whose results are the values of a signed format, by channel.

    Args:
        target: signed format of at least two bits.
        shifts: bits by which the values are coarser, of a shape that broadcasts to the weights'.
    """
    from qkeras import quantized_bits

    integer = target.qkeras_integer
    return quantized_bits(
        target.width,
        max(integer, 0),
        symmetric=target.overflow is Overflow.SAT_SYM,
        keep_negative=target.signed,
        alpha=_alpha(min(integer, 0), shifts),
    )


def sign_quantizer(target: FixedPoint, shifts: IntArray | None = None) -> Any:
    """The `quantized_bits` of one bit, which makes plus or minus one unit of a format.

    Args:
        target: gives the unit.
        shifts: as for `weight_quantizer`.
    """
    from qkeras import quantized_bits

    return quantized_bits(1, 0, alpha=_alpha(-target.fraction_bits, shifts))


def _alpha(exponent: int, shifts: IntArray | None) -> Any:
    if shifts is None:
        return 2.0**exponent
    return (2.0 ** (exponent + shifts)).tolist()  # a list can be saved in the model's file


def largest_exponent(width: int) -> int:
    """The most bits by which alpha may shift weights of a width: `quantized_bits` adds the weights
    as they are stored to those that it makes of them, and float32 must hold the sum.
    """
    return SIGNIFICANT_BITS - width


def stored(raw: IntArray, target: FixedPoint) -> npt.NDArray[np.float64]:
    """What a layer must store so that `weight_quantizer(target, shifts)` gives `raw`, shifted."""
    return target.to_float(raw) * 2.0 ** -min(target.qkeras_integer, 0)


def activation_quantizer(target: FixedPoint) -> Any:
    """`quantized_relu` for an unsigned format, `quantized_bits` for a signed one.

    Raises:
        DesignError: for negative integer bits, which QKeras cannot express here.
    """
    from qkeras import quantized_bits, quantized_relu

    if target.qkeras_integer < 0:
        raise DesignError(f"QKeras has no activation quantizer with the range of {target}")
    if target.signed:
        return quantized_bits(target.width, target.qkeras_integer, alpha=1.0)
    return quantized_relu(target.width, target.qkeras_integer)


def format_of(quantizer: Any, what: str) -> FixedPoint:
    """The exact format of a QKeras quantizer's results.

    Args:
        quantizer: a QKeras quantizer object, or None.
        what: the subject of the error.

    Raises:
        DesignError: where there is no quantizer, or no such format.
    """
    require_quantizer(quantizer, what)
    plain, alpha = _without_alpha(quantizer, what)
    exponents = np.unique(_exponents(alpha, what))
    if exponents.size > 1:
        raise DesignError(f"{what}: alpha must be a constant power of two, not {alpha}")
    return _scaled(plain, int(exponents[0]))


def _scaled(plain: FixedPoint, exponent: int) -> FixedPoint:
    return dataclasses.replace(plain, integer_bits=plain.integer_bits + exponent)


def _without_alpha(quantizer: Any, what: str) -> tuple[FixedPoint, Any]:
    """The format of a quantizer's results before they are scaled, and their scale."""
    kind = type(quantizer).__name__
    config = quantizer.get_config()
    bits, integer = int(config.get("bits", 0)), int(config.get("integer", 0) or 0)
    if kind == "quantized_bits":
        keep_negative = bool(config["keep_negative"])
        if bits - keep_negative < 1:
            raise DesignError(f"{what}: binary quantizers are not supported for activations")
        plain = FixedPoint.from_qkeras(bits, integer, keep_negative, bool(config["symmetric"]))
        return plain, 1.0 if config["alpha"] is None else config["alpha"]
    if kind == "quantized_relu":
        if config["use_sigmoid"] or config["negative_slope"]:
            raise DesignError(f"{what}: quantized_relu must have no sigmoid and no negative slope")
        if not getattr(quantizer, "is_quantized_clip", True) and quantizer.relu_upper_bound:
            raise DesignError(f"{what}: relu_upper_bound is not supported")
        return FixedPoint.from_qkeras(bits, integer, keep_negative=False), 1.0
    raise DesignError(f"{what}: the quantizer {kind} is not supported")


COMPUTING = (
    "binary",
    "quantized_hswish",
    "quantized_po2",
    "quantized_relu_po2",
    "quantized_sigmoid",
    "quantized_tanh",
    "quantized_ulaw",
    "ternary",
)
"""Quantizers that compute a function of each value."""


def require_quantizer(quantizer: Any, what: str) -> None:
    """Refuses what is no deterministic quantizer.

    Args:
        quantizer: a QKeras quantizer object, or None.
        what: the subject of the error.

    Raises:
        DesignError: where there is none, or it draws numbers.
    """
    kind = type(quantizer).__name__
    if quantizer is None or kind in ("function", "str"):
        raise DesignError(f"{what} has no quantizer: every tensor must be quantized")
    config = quantizer.get_config()
    if config.get("use_stochastic_rounding") or kind in STOCHASTIC:
        raise DesignError(f"{what}: stochastic rounding has no hardware equivalent")
    if float(config.get("qnoise_factor", 1.0)) != 1.0:
        raise DesignError(f"{what}: qnoise_factor must be 1, not {config['qnoise_factor']}")


STOCHASTIC = ("bernoulli", "stochastic_binary", "stochastic_ternary")
"""Quantizers that draw numbers."""


def computes(quantizer: Any) -> bool:
    """Whether a quantizer of activations does more than round, so that a table holds its results.

    One whose scale depends on the values that it is given computes nothing by itself.
    """
    config = quantizer.get_config() if hasattr(quantizer, "get_config") else {}
    if isinstance(config.get("alpha"), str):
        return False
    kind = type(quantizer).__name__
    if kind == "quantized_relu":
        return bool(config["use_sigmoid"] or config["negative_slope"])
    if kind == "quantized_bits":
        return bool(config["bits"] - config["keep_negative"] < 1)
    return kind in COMPUTING


def _few_values(quantizer: Any, what: str) -> tuple[FixedPoint, Any] | None:
    """The same of a quantizer of weights alone: signs, -1 to 1, or powers of two."""
    kind = type(quantizer).__name__
    if kind not in ("quantized_bits", "binary", "ternary", "quantized_po2"):
        return None
    config = quantizer.get_config()
    alpha = 1.0 if config.get("alpha") is None else config["alpha"]
    if kind == "quantized_po2":
        least, greatest = exponents_of(quantizer)
        width = greatest - least + 2
        if width > LARGEST_POWERS:
            raise DesignError(
                f"{what}: powers of two from 2**{least} to 2**{greatest} need {width} bits, more "
                f"than {LARGEST_POWERS}: give quantized_po2 fewer bits or a max_value"
            )
        return FixedPoint(width, width + least), 1.0
    if kind == "quantized_bits" and (config["bits"] != 1 or not config["keep_negative"]):
        return None
    if config.get("use_01"):
        return FixedPoint(1, 1, signed=False), alpha
    return FixedPoint(2, 2, overflow=Overflow.SAT_SYM), alpha


def exponents_of(quantizer: Any) -> tuple[int, int]:
    """The least and the greatest power of two that a `quantized_po2` makes."""
    least, greatest = int(quantizer._min_exp), int(quantizer._max_exp)
    if quantizer.max_value is not None:
        greatest = min(greatest, round(math.log2(quantizer.max_value)))
    return least, max(least, greatest)


def _exponents(alpha: Any, what: str) -> IntArray:
    """The logarithms of a scale that is a power of two everywhere."""
    if isinstance(alpha, str):
        raise DesignError(f"{what}: alpha must be a constant power of two, not {alpha!r}")
    fractions, exponents = np.frexp(np.asarray(alpha, np.float64))
    if not np.all(fractions == 0.5):
        raise DesignError(f"{what}: alpha must be a constant power of two, not {alpha}")
    return np.asarray(exponents, np.int64) - 1


def raw_weights(values: Any, quantizer: Any, what: str) -> RawWeights:
    """The raw integers that a quantizer makes of stored weights.

    Args:
        values: what the layer stores.
        quantizer: its QKeras quantizer.
        what: the subject of the error.

    Raises:
        DesignError: where the quantizer has no format or leaves its own grid.
    """
    import tensorflow as tf

    require_quantizer(quantizer, what)
    plain, alpha = _few_values(quantizer, what) or _without_alpha(quantizer, what)
    exponents = _exponents(alpha, what)
    target = _scaled(plain, int(exponents.min()))
    quantized = np.asarray(quantizer(tf.convert_to_tensor(values)), np.float64)
    shifts = exponents - exponents.min()
    scaled = quantized * 2.0 ** (target.fraction_bits - shifts)
    if not np.array_equal(scaled, np.rint(scaled)):
        raise DesignError(f"{what}: the quantizer's results are not multiples of {target.lsb}")
    raw = scaled.astype(np.int64)
    if raw.size and (raw.min() < target.minimum or raw.max() > target.maximum):
        raise DesignError(f"{what}: the quantizer's results leave the range of {target}")
    return RawWeights(raw, target, np.broadcast_to(shifts, raw.shape) if shifts.any() else None)
