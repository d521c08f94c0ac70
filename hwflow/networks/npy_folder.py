"""Reads weights from a folder of `.npy` files, as exports of Gluon, ONNX and PyTorch name them.

A file `<layer>_<weight>.npy` holds one tensor. `weight` is a kernel with the outputs first (OIHW, a
depthwise one `(Cin * multiplier, 1, kh, kw)`, a dense one `(outputs, inputs)`) and is brought to
Keras' layout; `kernel` and `depthwise_kernel` are in Keras' layout already. The rest are `bias`,
`gamma`, `beta` and `running_mean`, `running_var` or Keras' `moving_mean`, `moving_variance`.

Where every `<layer>` is a layer of the network, tensors are matched by name. Otherwise each must
end in `conv<number>`, `dense<number>` or `batchnorm<number>` after one common prefix, and the
numbers give the order among the network's layers of that kind: `squeezenet0_conv3_weight.npy` is
the kernel of its fourth convolution where the numbers begin at 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault

PARTS = {
    "weight": "kernel",
    "kernel": "kernel",
    "depthwise_kernel": "depthwise_kernel",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "moving_mean": "moving_mean",
    "moving_variance": "moving_variance",
}
FILE_NAME = re.compile(rf"(?P<layer>.+?)_(?P<part>{'|'.join(PARTS)})")
NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<kind>conv|dense|batchnorm)(?P<number>\d+)")

Array = npt.NDArray[Any]
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


def read_npy_folder(path: Path, shapes: Shapes) -> dict[str, dict[str, Array]]:
    """Every tensor by layer and weight name, in Keras' layout.

    Args:
        path: the folder.
        shapes: the network's weights, `shapes[layer][weight]`, in the order of its layers.

    Raises:
        DesignError: if files have other names, cannot be read, or cannot be put in order.
    """
    tensors: dict[str, dict[str, Array]] = {}
    faults = []
    for file in sorted(path.glob("*.npy")):
        match = FILE_NAME.fullmatch(file.stem)
        if not match:
            faults.append(
                Fault(
                    str(file),
                    "",
                    f"must be named <layer>_<weight>.npy, <weight> one of {', '.join(PARTS)}",
                )
            )
            continue
        try:
            tensor = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            faults.append(Fault(str(file), "", f"must be a whole .npy file: {error}"))
            continue
        tensors.setdefault(match["layer"], {})[match["part"]] = tensor
    if not tensors and not faults:
        faults.append(Fault(str(path), "", "must hold .npy files, but there are none in it"))
    if faults:
        raise DesignError(faults)
    names = _matched(path, tensors, shapes)
    return {
        names[given]: {
            part: tensor
            for name, array in parts.items()
            for part, tensor in [_in_keras_layout(name, array, shapes[names[given]])]
        }
        for given, parts in tensors.items()
    }


def _matched(
    path: Path, tensors: Mapping[str, Mapping[str, Array]], shapes: Shapes
) -> dict[str, str]:
    """The network's layer for each layer of the folder."""
    if all(name in shapes for name in tensors):
        return {name: name for name in tensors}
    matches = {name: NUMBERED.fullmatch(name) for name in tensors}
    foreign = [name for name, match in matches.items() if match is None and name not in shapes]
    if foreign:
        raise DesignError(
            [
                Fault(
                    str(path),
                    name,
                    "must be a layer of the network, or every name must end in conv<number>, "
                    "dense<number> or batchnorm<number>",
                )
                for name in foreign
            ]
        )
    found = {name: match for name, match in matches.items() if match is not None}
    prefixes = sorted({match["prefix"] for match in found.values()})
    if len(prefixes) != 1 or len(found) != len(matches):
        raise DesignError(
            Fault(
                str(path),
                "",
                "must name all layers by one prefix and a number, which gives their order, not "
                f"by several ({', '.join(prefixes[:5])}). Name the files by the network's layers",
            )
        )
    names: dict[str, str] = {}
    faults = []
    for kind in ("conv", "dense", "batchnorm"):
        given = sorted(
            (name for name, match in found.items() if match["kind"] == kind),
            key=lambda name: int(found[name]["number"]),
        )
        wanted = [layer for layer, parts in shapes.items() if _kind(parts) == kind]
        if len(given) != len(wanted):
            faults.append(
                Fault(
                    str(path),
                    "",
                    f"must hold {len(wanted)} {kind} layers as the network does, not {len(given)}",
                )
            )
        names.update(zip(given, wanted, strict=False))
    if faults:
        raise DesignError(faults)
    return names


def _kind(parts: Mapping[str, tuple[int, ...]]) -> str:
    if "depthwise_kernel" in parts or len(parts.get("kernel", ())) == 4:
        return "conv"
    return "dense" if "kernel" in parts else "batchnorm"


def _in_keras_layout(
    name: str, array: Array, parts: Mapping[str, tuple[int, ...]]
) -> tuple[str, Array]:
    if name != "weight":
        return PARTS[name], array
    if "depthwise_kernel" in parts:
        channels = parts["depthwise_kernel"][2]
        if array.ndim == 4 and array.shape[1] == 1 and array.shape[0] % channels == 0:
            array = array.reshape(channels, -1, *array.shape[2:]).transpose(2, 3, 0, 1)
        return "depthwise_kernel", array
    if array.ndim == 4:
        return "kernel", array.transpose(2, 3, 1, 0)
    return "kernel", array.T
