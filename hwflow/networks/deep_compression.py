"""Reads weights in the file format of Deep Compression's released SqueezeNet: pruned and shared.

The file is little endian and knows convolutions only, in the order of the network, without their
shapes. First one uint32 for each convolution, its number of stored entries n. Then for each
convolution: a codebook of 256 float32; one float32 bias for each output channel; n codes of 8 bits;
n gaps of 4 bits, the low nibble first, in whole bytes. Entry k stands at position
`sum(gap + 1) - 1` over the entries 0 ... k of the flattened weights (output channel, input channel,
kernel row, kernel column). Where nothing stands, the weight is zero.

Source: Han et al., "Deep Compression", arXiv:1510.00149, and the decoder of the released model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault

CODEBOOK_ENTRIES = 256


def read_deep_compression(
    path: Path, kernel_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
    """Dense kernels `(kh, kw, Cin, Cout)` and biases `(Cout,)` of every convolution.

    Pruned weights are zeros; shared ones keep the codebook's values, at most 256 a layer.

    Args:
        path: the file.
        kernel_shapes: of each convolution by its name, `(kh, kw, Cin, Cout)`, in the file's order.

    Raises:
        DesignError: if the file's size is not what its own counts and the shapes require, or an
            entry stands beyond the end of its layer.
        OSError: if the file cannot be read.
    """
    data = path.read_bytes()
    header = 4 * len(kernel_shapes)
    if len(data) < header:
        raise _fault(
            path,
            f"must hold one entry count for each of {len(kernel_shapes)} convolutions, {header} "
            f"bytes, but holds {len(data)} bytes. Is it truncated?",
        )
    counts = [int(count) for count in np.frombuffer(data, "<u4", len(kernel_shapes))]
    required = header + sum(
        4 * (CODEBOOK_ENTRIES + shape[-1]) + count + (count + 1) // 2
        for shape, count in zip(kernel_shapes.values(), counts, strict=True)
    )
    if len(data) != required:
        kind = "truncated" if len(data) < required else "for another network"
        raise _fault(
            path,
            f"must hold {required} bytes for {len(kernel_shapes)} convolutions by its own entry "
            f"counts, but holds {len(data)}. Is it {kind}?",
        )
    layers = {}
    offset = header
    faults = []

    def take(dtype: str, count: int) -> npt.NDArray[Any]:
        nonlocal offset
        values = np.frombuffer(data, dtype, count, offset)
        offset += values.nbytes
        return values

    for (name, shape), count in zip(kernel_shapes.items(), counts, strict=True):
        codebook = take("<f4", CODEBOOK_ENTRIES)
        biases = take("<f4", shape[-1])
        codes = take("u1", count)
        nibbles = take("u1", (count + 1) // 2)
        gaps = np.stack([nibbles & 15, nibbles >> 4], axis=1).ravel()[:count]
        positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
        kernel_height, kernel_width, inputs, filters = shape
        size = kernel_height * kernel_width * inputs * filters
        if count and positions[-1] >= size:
            faults.append(
                Fault(
                    str(path),
                    name,
                    f"must have its entries among {size} weights, but the last stands at "
                    f"{positions[-1]}. Is the file for another network?",
                )
            )
            continue
        flat = np.zeros(size, np.float32)
        flat[positions] = codebook[codes]
        kernel = flat.reshape(filters, inputs, kernel_height, kernel_width).transpose(2, 3, 1, 0)
        layers[name] = {
            "kernel": np.ascontiguousarray(kernel),
            "bias": biases.astype(np.float32),
        }
    if faults:
        raise DesignError(faults)
    return layers


def _fault(path: Path, message: str) -> DesignError:
    return DesignError(Fault(str(path), "", message))
