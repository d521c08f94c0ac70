"""Layer groups that the families share. Every layer has a name; ReLU is a layer of its own."""

from __future__ import annotations

from typing import Any


def conv2d(
    tensor: Any,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    strides: int = 1,
    padding: str = "valid",
    use_bias: bool = True,
) -> Any:
    """Linear convolution `name`: `(N, H, W, C)` to `(N, H', W', filters)`."""
    from tensorflow import keras

    return keras.layers.Conv2D(
        filters, kernel_size, strides=strides, padding=padding, use_bias=use_bias, name=name
    )(tensor)


def conv2d_relu(
    tensor: Any,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    strides: int = 1,
    padding: str = "valid",
) -> Any:
    """Convolution `name`, then ReLU `<name>_relu`: `(N, H, W, C)` to `(N, H', W', filters)`."""
    from tensorflow import keras

    tensor = conv2d(tensor, filters, kernel_size, name=name, strides=strides, padding=padding)
    return keras.layers.ReLU(name=f"{name}_relu")(tensor)
