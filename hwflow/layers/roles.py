"""What becomes of the classes of layers besides the kinds: QKeras's, and what does nothing."""

from __future__ import annotations

from collections.abc import Mapping

SKIPPED = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "RandomBrightness",
    "RandomContrast",
    "SpatialDropout2D",
)
"""Keras layers that do nothing at inference."""

Role = tuple[str, str, str]
"""A weight, the argument with its quantizer, and what to write where that is missing."""


def _written(role: str, key: str, quantizer: str, otherwise: str = "") -> Role:
    return role, key, f'Write {key}="{quantizer}"{otherwise}'


_BITS = "quantized_bits(8, 0, alpha=1)"
_KERNEL = _written("kernel", "kernel_quantizer", _BITS)
_DEPTHWISE = _written("kernel", "depthwise_quantizer", _BITS)
_POINTWISE = _written("pointwise kernel", "pointwise_quantizer", _BITS)
_WIDE = "quantized_bits(16, 4, alpha=1)"
_BIAS = _written("bias", "bias_quantizer", _WIDE, ", or use_bias=False")
_FOLDED_BIAS = _written("folded bias", "bias_quantizer", _WIDE)

ROLES: Mapping[str, tuple[Role, ...]] = {
    "QActivation": (),
    "QAveragePooling2D": (),
    "QBatchNormalization": (
        _written("beta", "beta_quantizer", "quantized_po2(5)"),
        _written("gamma", "gamma_quantizer", "quantized_relu_po2(6)"),
        _written("mean", "mean_quantizer", "quantized_po2(5)"),
        _written(
            "variance", "variance_quantizer", "quantized_relu_po2(6, quadratic_approximation=True)"
        ),
    ),
    "QConv2D": (_KERNEL, _BIAS),
    "QConv2DBatchnorm": (_KERNEL, _FOLDED_BIAS),
    "QDense": (_KERNEL, _BIAS),
    "QDepthwiseConv2D": (_DEPTHWISE, _BIAS),
    "QDepthwiseConv2DBatchnorm": (_DEPTHWISE, _FOLDED_BIAS),
    "QGlobalAveragePooling2D": (),
    "QSeparableConv2D": (_DEPTHWISE, _POINTWISE, _BIAS),
}
"""The weights of QKeras layers, by class; what is not here is no QKeras layer that can be built."""

OPTIONS: Mapping[str, str] = {"bias": "use_bias", "beta": "center", "gamma": "scale"}
"""Arguments without which a layer does not have a weight."""

UNQUANTIZED: Mapping[str, str] = {
    "BatchNormalization": "Fold it (QConv2DBatchnorm), or use QBatchNormalization",
    "Conv2D": "Use QConv2D",
    "Dense": "Use QDense",
    "DepthwiseConv2D": "Use QDepthwiseConv2D",
    "PReLU": "Use quantized_relu with a negative_slope",
    "SeparableConv2D": "Use QSeparableConv2D",
}
"""Keras layers with weights, and what to use in a model of QKeras layers."""
