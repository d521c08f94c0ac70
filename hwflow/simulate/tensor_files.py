"""Tensors that wait on the disk, so that memory holds one at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.workspace import disk_errors

Array = npt.NDArray[Any]


class TensorFiles(Mapping[str, Array]):
    """Arrays by name in a folder of their own, which is there as long as this is entered.

    Args:
        folder: emptied first, removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def __enter__(self) -> TensorFiles:
        shutil.rmtree(self._folder, ignore_errors=True)
        with disk_errors(f"making {self._folder.name}"):
            self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, name: str, array: Array) -> None:
        """Writes an array, as it is.

        Raises:
            ToolError: if the disk is full or refuses.
        """
        path = self._folder / f"{len(self._files)}.npy"
        with disk_errors(f"writing tensor {name}"):
            np.save(path, array, allow_pickle=False)
        self._files[name] = path

    def clear(self) -> None:
        """Removes all arrays."""
        for path in self._files.values():
            path.unlink(missing_ok=True)
        self._files.clear()

    def __getitem__(self, name: str) -> Array:
        """The array, read anew each time; KeyError if there is none of that name."""
        return np.asarray(np.load(self._files[name], allow_pickle=False))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
