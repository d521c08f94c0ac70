"""Finds the real weights and pictures that are not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def data_path(relative: str) -> Path:
    """The file or folder below the test data; the test is skipped where it is absent."""
    folder = Path(os.environ.get("HWFLOW_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = folder / relative
    if not path.exists():
        pytest.skip(f"no test data: {relative} is not below HWFLOW_TEST_DATA or ../shared/data")
    return path
