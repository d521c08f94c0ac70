"""QKeras quantizers and their exact formats.

QKeras takes no negative `integer` (it computes `2**integer` in int32), so a kernel or bias below
one half is stored scaled up by a power of two and scaled back by the quantizer's `alpha`: the
quantized value is the same number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray


def weight_quantizer(target: FixedPoint) -> Any:
    """The `quantized_bits` whose results are the values of a signed format.

    Args:
        target: signed format of at least two bits.
    """
    from qkeras import quantized_bits

    integer = target.qkeras_integer
    return quantized_bits(
        target.width, max(integer, 0), keep_negative=target.signed, alpha=2.0 ** min(integer, 0)
    )


def stored(raw: IntArray, target: FixedPoint) -> npt.NDArray[np.float64]:
    """What a layer must store so that `weight_quantizer(target)` gives `raw`."""
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
    kind = type(quantizer).__name__
    config = quantizer.get_config()
    bits, integer = int(config.get("bits", 0)), int(config.get("integer", 0) or 0)
    if kind == "quantized_bits":
        alpha = 1.0 if config["alpha"] is None else config["alpha"]
        gain = _power_of_two(alpha, what)
        keep_negative = bool(config["keep_negative"])
        if bits - keep_negative < 1:
            raise DesignError(f"{what}: binary quantizers are not supported")
        plain = FixedPoint.from_qkeras(bits, integer, keep_negative, bool(config["symmetric"]))
        return FixedPoint(
            plain.width,
            plain.integer_bits + gain,
            plain.signed,
            plain.rounding,
            plain.overflow,
        )
    if kind == "quantized_relu":
        if config["use_sigmoid"] or config["negative_slope"]:
            raise DesignError(f"{what}: quantized_relu must have no sigmoid and no negative slope")
        if not getattr(quantizer, "is_quantized_clip", True) and quantizer.relu_upper_bound:
            raise DesignError(f"{what}: relu_upper_bound is not supported")
        return FixedPoint.from_qkeras(bits, integer, keep_negative=False)
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


def _power_of_two(alpha: Any, what: str) -> int:
    if isinstance(alpha, str):
        raise DesignError(f"{what}: alpha must be a constant power of two, not {alpha!r}")
    values = np.unique(np.asarray(alpha, np.float64))
    exponent = np.log2(values[0]) if values.size == 1 and values[0] > 0 else 0.5
    if exponent != int(exponent):
        raise DesignError(f"{what}: alpha must be a constant power of two, not {alpha}")
    return int(exponent)


def raw_weights(values: Any, quantizer: Any, what: str) -> tuple[IntArray, FixedPoint]:
    """The raw integers that a quantizer makes of stored weights.

    Args:
        values: what the layer stores.
        quantizer: its QKeras quantizer.
        what: the subject of the error.

    Raises:
        DesignError: where the quantizer has no format or leaves its own grid.
    """
    import tensorflow as tf

    target = format_of(quantizer, what)
    quantized = np.asarray(quantizer(tf.convert_to_tensor(values)), np.float64)
    scaled = quantized * 2.0**target.fraction_bits
    if not np.array_equal(scaled, np.rint(scaled)):
        raise DesignError(f"{what}: the quantizer's results are not multiples of {target.lsb}")
    raw = scaled.astype(np.int64)
    if raw.size and (raw.min() < target.minimum or raw.max() > target.maximum):
        raise DesignError(f"{what}: the quantizer's results leave the range of {target}")
    return raw, target
