"""What the engine's library is compiled from; `setup.py` runs this file without the package."""

import hashlib
from pathlib import Path

FOLDERS = ("sim/bindings", "sim/include", "sim/src")
"""Below the project's folder."""


def source_digest(root: Path) -> str:
    """SHA-256 (hex) of the engine's sources below a project's folder; empty if there are none."""
    files = sorted(
        path
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.suffix in (".cpp", ".h", ".hpp")
    )
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
