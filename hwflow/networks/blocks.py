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


def conv2d_norm(
    tensor: Any,
    filters: int,
    kernel_size: int | tuple[int, int],
    *,
    name: str,
    norm: str,
    strides: int = 1,
    padding: str = "same",
    groups: int = 1,
    relu: str | None = None,
    use_bias: bool = False,
    epsilon: float = 1e-3,
) -> Any:
    """Convolution `name`, batch norm `norm`, then ReLU `relu` if that is given.

    `(N, H, W, C)` to `(N, H', W', filters)`.
    """
    from tensorflow import keras

    tensor = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        groups=groups,
        use_bias=use_bias,
        name=name,
    )(tensor)
    tensor = keras.layers.BatchNormalization(epsilon=epsilon, name=norm)(tensor)
    return tensor if relu is None else keras.layers.ReLU(name=relu)(tensor)


def depthwise_norm(
    tensor: Any, kernel_size: int, *, name: str, norm: str, strides: int = 1, use_bias: bool = False
) -> Any:
    """Depthwise convolution `name`, padded as `same`, then batch norm `norm`.

    `(N, H, W, C)` to `(N, H / strides, W / strides, C)`, rounded up.
    """
    from tensorflow import keras

    tensor = keras.layers.DepthwiseConv2D(
        kernel_size, strides=strides, padding="same", use_bias=use_bias, name=name
    )(tensor)
    return keras.layers.BatchNormalization(epsilon=1e-3, name=norm)(tensor)


def depthwise_norm_relu(
    tensor: Any, kernel_size: int, *, name: str, stem: str, strides: int = 1, use_bias: bool = False
) -> Any:
    """`depthwise_norm` with batch norm `<stem>_bn`, then ReLU `<stem>_relu`."""
    from tensorflow import keras

    tensor = depthwise_norm(
        tensor, kernel_size, name=name, norm=f"{stem}_bn", strides=strides, use_bias=use_bias
    )
    return keras.layers.ReLU(name=f"{stem}_relu")(tensor)


def batch_norm_relu6(tensor: Any, *, norm: str, relu: str, momentum: float = 0.99) -> Any:
    """Batch norm `norm` (epsilon 0.001), then ReLU6 `relu`; the shape stays."""
    from tensorflow import keras

    tensor = keras.layers.BatchNormalization(epsilon=1e-3, momentum=momentum, name=norm)(tensor)
    return keras.layers.ReLU(6.0, name=relu)(tensor)


def rounded_channels(channels: float, divisor: int = 8, least: int | None = None) -> int:
    """The multiple of `divisor` nearest to a number of channels, but not below 90 % of it.

    Args:
        channels: what a width multiplier makes of a layer's channels.
        divisor: of the result.
        least: smallest result; `divisor` if not given.

    Source: the MobileNet V2 authors' `_make_divisible`.
    """
    rounded = max(least or divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def strided_padding(size: tuple[int, int], kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros around the input of a convolution of stride 2, as Keras's published weights want them.

    Args:
        size: height and width of the input.
        kernel: rows and columns of the window.

    Returns:
        (rows above, rows below), (columns left, columns right): the larger half before where the
        size is odd, below and to the right where it is even.
    """
    half = kernel // 2
    top, left = (half - (1 - length % 2) for length in size)
    return (top, half), (left, half)


def hard_sigmoid(tensor: Any, *, name: str) -> Any:
    """`relu6(x + 3) / 6`, whose result is layer `name`; the shape stays.

    Source: section 5.2 of MobileNet V3, arXiv:1905.02244.
    """
    from tensorflow import keras

    tensor = keras.layers.Rescaling(1.0, offset=3.0, name=f"{name}_shift")(tensor)
    tensor = keras.layers.ReLU(6.0, name=f"{name}_relu6")(tensor)
    return keras.layers.Rescaling(1.0 / 6.0, name=name)(tensor)


def hard_swish(tensor: Any, *, name: str) -> Any:
    """`x * relu6(x + 3) / 6`, whose result is layer `name`; the shape stays.

    Source: section 5.2 of MobileNet V3, arXiv:1905.02244.
    """
    from tensorflow import keras

    gate = hard_sigmoid(tensor, name=f"{name}_gate")
    return keras.layers.Multiply(name=name)([tensor, gate])


def channel_shuffle(tensor: Any, groups: int, *, name: str) -> Any:
    """Channel `i * C / groups + j` becomes channel `j * groups + i`; the shape stays.

    Source: Figure 1(c) and section 3.1 of ShuffleNet, arXiv:1707.01083.
    """
    from tensorflow import keras

    height, width, channels = (int(size) for size in tensor.shape[1:])
    x = keras.layers.Reshape((height, width, groups, channels // groups), name=f"{name}_groups")(
        tensor
    )
    x = keras.layers.Permute((1, 2, 4, 3), name=f"{name}_transpose")(x)
    return keras.layers.Reshape((height, width, channels), name=name)(x)


def channel_slice(tensor: Any, first: int, last: int, *, name: str) -> Any:
    """Channels `first` up to `last` of `(N, H, W, C)`, whose result is layer `name`.

    Layers of Keras alone: the channels become a dimension that can be cropped.
    """
    from tensorflow import keras

    height, width, channels = (int(size) for size in tensor.shape[1:])
    x = keras.layers.Reshape((height, width, channels, 1), name=f"{name}_channels")(tensor)
    cropping = ((0, 0), (0, 0), (first, channels - last))
    x = keras.layers.Cropping3D(cropping, name=f"{name}_crop")(x)
    return keras.layers.Reshape((height, width, last - first), name=name)(x)


def channel_split(tensor: Any, first: int, *, name: str) -> tuple[Any, Any]:
    """The first channels of `(N, H, W, C)` and the others, as layers `<name>_0` and `<name>_1`.

    Source: section 3 of ShuffleNet V2, arXiv:1807.11164 (Channel Split).
    """
    channels = int(tensor.shape[-1])
    return (
        channel_slice(tensor, 0, first, name=f"{name}_0"),
        channel_slice(tensor, first, channels, name=f"{name}_1"),
    )
