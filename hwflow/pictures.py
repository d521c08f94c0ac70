"""The images that a network is calibrated and verified with: pictures, arrays, or seeded noise.

All come as float32 arrays `(N, H, W, C)` in the units of the network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault

if TYPE_CHECKING:
    from PIL.Image import Image

FloatArray = npt.NDArray[np.float32]
PixelArray = npt.NDArray[np.uint8]
InputShape = tuple[int, int, int]
"""Height, width, channels."""

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
PIXEL_MAXIMUM = 255

_Taken = TypeVar("_Taken")


VALUES_IN_MEMORY = 1 << 28
"""Values of one witness of several images at a time: 2 GiB in float64 or int64."""


class Preprocessing(Protocol):
    """What is done to a picture: resize, crop, channel order, `(pixel - mean) * scale`.

    Attributes:
        resize: pixels of the short side, or of both sides with `resize_mode` warp. None keeps the
            size; where `crop` is None too, the picture is resized to just cover the input.
        resize_mode: `short_side` or `warp`.
        crop: side, or height and width, of the central crop, in pixels; None takes the input's.
        channels: order of the network's input, `rgb` or `bgr`.
        mean: of pixels from 0 to 255, one number or one a channel, in the network's order.
        scale: one number or one a channel, in the network's order.
    """

    @property
    def resize(self) -> int | None: ...
    @property
    def resize_mode(self) -> str: ...
    @property
    def crop(self) -> int | tuple[int, int] | None: ...
    @property
    def channels(self) -> str: ...
    @property
    def mean(self) -> float | Sequence[float]: ...
    @property
    def scale(self) -> float | Sequence[float]: ...


def load_images(
    source: Path | None,
    preprocessing: Preprocessing,
    input_shape: InputShape,
    count: int,
    seed: int,
) -> FloatArray:
    """`count` images `(N, H, W, C)`: those of `source`, or seeded noise where it is None.

    A source that has fewer gives all that it has.

    Raises:
        DesignError: as `read_pictures` and `noise` do.
    """
    if source is None:
        return noise(input_shape, count, seed, preprocessing)
    return read_pictures(source, preprocessing, input_shape, count)


def read_pictures(
    source: Path,
    preprocessing: Preprocessing,
    input_shape: InputShape,
    count: int | None = None,
) -> FloatArray:
    """The first `count` images of a source, in the order of their names: `(N, H, W, C)`.

    Args:
        source: a picture, a folder of pictures, or a `.npy` array `(N, H, W, C)`. An array is taken
            as it is: it is in the units of the network's input already.
        preprocessing: what is done to a picture.
        input_shape: of the network's input; one channel takes pictures as greyscale.
        count: the most images to read; None for all.

    Raises:
        DesignError: if there are none, or any cannot be read or does not fit; all faults at once.
    """
    if not source.exists():
        raise _fault(
            source, "must be a picture, a folder of pictures or a .npy file, but is not there"
        )
    if source.suffix.lower() == ".npy":
        return _read_array(source, input_shape, count)
    if source.is_dir():
        files = pictures_in(source)
        if not files:
            raise _fault(source, f"must hold pictures ({', '.join(SUFFIXES)}), but has none in it")
    else:
        files = [source]
    mean, scale = _per_channel(preprocessing, input_shape[2])
    images = np.empty((len(files[:count]), *input_shape), np.float32)
    faults: list[Fault | str] = []
    for image, file in zip(images, files, strict=False):
        try:
            image[...] = (read_pixels(file, preprocessing, input_shape) - mean) * scale
        except DesignError as error:
            faults += error.faults
    if faults:
        raise DesignError(faults)
    return images


def batches(
    images: FloatArray, at_most: int, values_an_image: int
) -> Iterator[tuple[int, FloatArray]]:
    """Parts of images small enough that all tensors of a network fit into memory for each.

    Args:
        images: shape `(N, H, W, C)`.
        at_most: images in a part.
        values_an_image: values of the tensors that are kept of one image.

    Yields:
        Index of the first image of a part, and the part.
    """
    count = max(1, min(at_most, VALUES_IN_MEMORY // max(1, values_an_image)))
    for start in range(0, len(images), count):
        yield start, images[start : start + count]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder (not of those in it), in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def normalized(pixels: PixelArray, preprocessing: Preprocessing) -> FloatArray:
    """Pixels `(N, H, W, C)` of `read_pixels` in the units of the network's input.

    Raises:
        DesignError: if mean or scale do not fit the channels.
    """
    mean, scale = _per_channel(preprocessing, pixels.shape[-1])
    images = np.empty(pixels.shape, np.float32)
    for image, values in zip(images, pixels, strict=True):
        image[...] = (values - mean) * scale
    return images


def check_picture(file: Path) -> None:
    """Reads the head of a picture, which tells most that cannot be read from those that can.

    Raises:
        DesignError: if it is missing, no picture, or has other than 8 bits a channel.
    """
    _opened(file, lambda picture: None)


def noise(
    shape: InputShape, count: int, seed: int, preprocessing: Preprocessing | None = None
) -> FloatArray:
    """Seeded images `(count, H, W, C)` that exercise a network much as pictures do.

    Image i depends on the seed and i alone. The third is all black and the fourth all white, the
    fifth white noise, half of it at the extremes; all others have smooth areas,
    hard edges, flat patches of the extremes and sensor noise. Pixels are whole numbers from 0 to
    255, given as they are or, with `preprocessing`, as `(pixel - mean) * scale`.

    Raises:
        DesignError: if mean or scale do not fit the channels.
    """
    mean, scale = (0.0, 1.0) if preprocessing is None else _per_channel(preprocessing, shape[2])
    images = np.empty((count, *shape), np.float32)
    for index, image in enumerate(images):
        image[...] = (_noise_pixels(shape, index, seed) - mean) * scale
    return images


def _noise_pixels(shape: InputShape, index: int, seed: int) -> npt.NDArray[np.float64]:
    generator = np.random.default_rng([seed, index])
    if index in (2, 3):
        return np.full(shape, 0.0 if index == 2 else float(PIXEL_MAXIMUM))
    if index == 4:
        return np.clip(generator.integers(-128, 384, shape), 0, PIXEL_MAXIMUM).astype(np.float64)
    height, width, channels = shape
    pixels = np.zeros(shape)
    for cells in (2, 5, 13):  # coarse to fine, as the spectrum of pictures falls
        grid = generator.normal(0, 90 / cells**0.5, (cells + 1, cells + 1, channels))
        pixels += _interpolated(_interpolated(grid, height, 0), width, 1)
    pixels += generator.uniform(64, 192, channels)
    for _ in range(6):
        top, left = generator.integers(0, (height, width))
        rows, columns = generator.integers(1, (height // 3 + 2, width // 3 + 2))
        patch = pixels[top : top + rows, left : left + columns]
        kind = generator.integers(3)
        if kind == 2:
            patch += generator.normal(0, 60, channels)
        else:
            patch[...] = PIXEL_MAXIMUM * kind
    pixels += generator.normal(0, generator.uniform(0, 12), shape)
    return np.clip(np.rint(pixels), 0, PIXEL_MAXIMUM)


def _interpolated(grid: npt.NDArray[np.float64], size: int, axis: int) -> npt.NDArray[np.float64]:
    """The grid stretched linearly to `size` along the axis, ends on ends."""
    positions = np.linspace(0, grid.shape[axis] - 1, size)
    lower = np.minimum(positions.astype(np.int64), grid.shape[axis] - 2)
    fraction = (positions - lower).reshape([-1 if a == axis else 1 for a in range(grid.ndim)])
    below, above = grid.take(lower, axis), grid.take(lower + 1, axis)
    stretched: npt.NDArray[np.float64] = below + (above - below) * fraction
    return stretched


def read_pixels(file: Path, preprocessing: Preprocessing, input_shape: InputShape) -> PixelArray:
    """Pixels from 0 to 255 in the network's channel order, of the input's shape.

    Raises:
        DesignError: if the picture cannot be read, or does not fit the network's input.
    """
    height, width, channels = input_shape
    if channels not in (1, 3):
        raise _fault(
            file,
            f"pictures have 1 or 3 channels, but the network's input has {channels}. Give an .npy "
            "array (N, H, W, C)",
        )
    picture = _opened(file, lambda opened: opened.convert("L" if channels == 1 else "RGB"))
    crop = preprocessing.crop
    if crop is None:
        crop = (height, width)
    elif isinstance(crop, int):
        crop = (crop, crop)
    if tuple(crop) != (height, width):
        raise _fault(
            file,
            f"crop must give the network's input of {height} x {width} pixels, not "
            f"{crop[0]} x {crop[1]}",
        )
    picture = _resized(picture, preprocessing, (height, width))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    if left < 0 or top < 0:
        raise _fault(
            file,
            f"must be at least {height} x {width} pixels after resizing, as the crop is, but is "
            f"{picture.height} x {picture.width}. Set preprocessing.resize",
        )
    picture = picture.crop((left, top, left + width, top + height))
    pixels = np.asarray(picture, np.uint8).reshape(input_shape)
    return pixels[..., ::-1] if preprocessing.channels == "bgr" else pixels


def _opened(file: Path, take: Callable[[Image], _Taken]) -> _Taken:
    """What is taken of an opened picture; DesignError if it cannot be."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            if opened.mode not in EIGHT_BIT_MODES:
                raise _fault(file, f"must have 8 bits a channel, but is of mode {opened.mode}")
            return take(opened)
    except UnidentifiedImageError as error:
        raise _fault(file, "must be a picture, but its format is unknown") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _fault(file, f"must be a whole picture, but reading it failed: {error}") from error


def _resized(picture: Image, preprocessing: Preprocessing, covered: tuple[int, int]) -> Image:
    from PIL.Image import Resampling

    if preprocessing.resize is not None and preprocessing.resize_mode == "warp":
        size = (preprocessing.resize, preprocessing.resize)
    elif preprocessing.resize is not None:
        short = min(picture.size)
        size = (
            picture.width * preprocessing.resize // short,
            picture.height * preprocessing.resize // short,
        )
    elif preprocessing.crop is None:
        height, width = covered
        if picture.width * height >= picture.height * width:
            size = (max(width, round(picture.width * height / picture.height)), height)
        else:
            size = (width, max(height, round(picture.height * width / picture.width)))
    else:
        size = picture.size
    return picture if size == picture.size else picture.resize(size, Resampling.BILINEAR)


def _per_channel(
    preprocessing: Preprocessing, channels: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and scale, each of shape `(1,)` or `(channels,)`."""
    values = []
    faults = []
    for name in ("mean", "scale"):
        value = np.atleast_1d(np.asarray(getattr(preprocessing, name), np.float64))
        if value.size not in (1, channels):
            faults.append(
                Fault(
                    "",
                    f"preprocessing.{name}",
                    f"must be one number, or one for each of the {channels} channels of the "
                    f"network's input, not {value.size}",
                )
            )
        values.append(value)
    if faults:
        raise DesignError(faults)
    return values[0], values[1]


def _read_array(source: Path, input_shape: InputShape, count: int | None) -> FloatArray:
    try:
        array = np.load(source, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _fault(source, f"must be a whole .npy file: {error}") from error
    if array.ndim != 4 or array.shape[1:] != input_shape or array.shape[0] == 0:
        raise _fault(
            source,
            f"must be images of shape (N, {', '.join(map(str, input_shape))}), as the network's "
            f"input is, not {array.shape}",
        )
    if array.dtype.kind not in "fiu":
        raise _fault(source, f"must hold numbers, not {array.dtype}")
    images = np.array(array[:count], np.float32)
    if not np.isfinite(images).all():
        raise _fault(source, "must hold finite numbers, but has NaN or infinity among them")
    return images


def _fault(path: Path, message: str) -> DesignError:
    return DesignError(Fault(str(path), "", message))
