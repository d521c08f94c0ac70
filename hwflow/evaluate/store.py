"""What evaluations keep of each batch, so that one that was stopped goes on.

A record lies under a key that is a digest of all it depends on: the pictures' content and order,
the preprocessing, the witness's model, and hwflow itself. Whatever changes, the key does. Labels do
not matter to a prediction, so other labels cost nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hwflow.evaluate.figures import TOP
from hwflow.workspace import disk_errors, file_digest, write_atomically

_MODELS = {
    "float": ("model/float.h5",),
    "qkeras": ("model/quantized.h5", "integer_graph.json"),
    "fast": ("integer_graph.json", "integer_graph.npz"),
}
"""What each witness is made of."""


class Store:
    """The records of a project's evaluations.

    Args:
        project: folder of the project; records lie in its working area, which a new build keeps.
        package: digest of hwflow.
        classes: of the network.
        statistics: whether the engine's records must hold statistics.
    """

    def __init__(self, project: Path, package: str, classes: int, statistics: bool) -> None:
        self.folder = project.parent / f".{project.name}" / "evaluation"
        self._ranks = min(TOP, classes)
        self._statistics = statistics
        settings = json.dumps(
            json.loads((project / "design.json").read_text())["preprocessing"], sort_keys=True
        )
        self._witnesses = {}
        for witness, files in _MODELS.items():
            models = [file_digest(project / name) for name in files]
            gathers = str(statistics and witness == "fast")
            self._witnesses[witness] = _digest([package, settings, witness, *models, gathers])

    @property
    def content(self) -> str:
        """Digest of everything that predictions depend on but the pictures."""
        return _digest(list(self._witnesses.values()))

    def path(self, witness: str, pictures: Sequence[str]) -> Path:
        """Where a record lies.

        Args:
            witness: that predicted.
            pictures: digests of the batch's pictures, in order.
        """
        return self.folder / f"{witness}-{_digest([self._witnesses[witness], *pictures])[:32]}.json"

    def read(self, witness: str, pictures: Sequence[str]) -> dict[str, Any] | None:
        """The record of a batch; None if there is none, or it is damaged."""
        try:
            record = json.loads(self.path(witness, pictures).read_bytes())
            whole = (
                [len(ranks) for ranks in record["top"]] == [self._ranks] * len(pictures)
                and len(record["logits"]) == len(pictures)
                and isinstance(record["ties"], int)
                and isinstance(record["seconds"], float)
                and ("statistics" in record) == (self._statistics and witness == "fast")
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if whole else None

    def write(self, witness: str, pictures: Sequence[str], record: dict[str, Any]) -> None:
        """Keeps a record.

        Raises:
            ToolError: if the disk is full or refuses.
        """
        with disk_errors("keeping a batch of the evaluation"):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(witness, pictures), json.dumps(record).encode())


def picture_digests(
    files: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None
) -> list[str]:
    """SHA-256 (hex) of each picture's content."""
    digests = []
    for index, file in enumerate(files):
        with disk_errors(f"reading {file.name}"):
            digests.append(file_digest(file))
        if index % 100 == 0:
            progress(index, len(files))
    return digests


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
