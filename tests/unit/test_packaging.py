"""What a source distribution and a wheel hold, and that an installed wheel simulates."""

from __future__ import annotations

import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import tomllib
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MADE = (".pyc", ".so")
"""Endings of what is not source."""


@pytest.fixture(scope="module")
def settings() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def data_files() -> set[str]:
    """Files of the package that are no Python, below `hwflow`."""
    return {
        path.relative_to(ROOT / "hwflow").as_posix()
        for path in (ROOT / "hwflow").rglob("*")
        if path.is_file() and path.suffix not in (".py", *MADE)
    }


def test_every_file_of_the_package_is_among_its_data(settings: Any) -> None:
    globs = settings["tool"]["setuptools"]["package-data"]["hwflow"]
    files = data_files()
    assert len(files) > 40
    left_out = {
        file
        for file in files
        if not any(
            fnmatch(file, glob) and file.count("/") == glob.count("/")  # a glob's * is one folder
            for glob in globs
        )
    }
    assert left_out == set()
    for glob in globs:
        assert any(fnmatch(file, glob) for file in files), f"{glob} matches nothing"


def test_every_source_of_the_libraries_is_in_the_source_distribution() -> None:
    grafted = [line.split()[1] for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
    compiled = [
        path.relative_to(ROOT)
        for folder in ("src", "include", "bindings", "dataflow")
        for path in (ROOT / "sim" / folder).rglob("*")
        if path.is_file()
    ]
    assert len(compiled) > 40
    for path in compiled:
        assert any(path.is_relative_to(folder) for folder in grafted), path


def test_the_build_asks_for_what_it_needs(settings: Any) -> None:
    """An SPDX expression as licence is refused by setuptools before 77."""
    assert settings["project"]["license"] == "Apache-2.0"
    (setuptools,) = map(Requirement, settings["build-system"]["requires"])
    assert not setuptools.specifier.contains("76.1.0")
    assert setuptools.specifier.contains("77.0.1")


ENGINE_RUN = """
import sys
from pathlib import Path

import numpy as np

import hwflow
from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input
from hwflow.plan.dataflow_core import core
from hwflow.simulate.fast import FastEngine

assert Path(hwflow.__file__).is_relative_to(sys.prefix), hwflow.__file__
core()
graph = IntegerGraph.build(
    "g",
    [
        Input("x", (), (1, 1, 2), FixedPoint(8, 4)),
        Conv2D("y", ("x",), np.array([[[[3], [-5]]]]), np.array([7]), FixedPoint(4, 4)),
    ],
    ["y"],
)
print(FastEngine(graph).predict({"x": np.array([[[[10, 2]]]])})["y"].ravel().tolist())
"""


@pytest.mark.slow
def test_a_wheel_of_the_source_distribution_runs_the_engine(tmp_path: Path) -> None:
    def run(*words: str | Path, folder: Path = tmp_path) -> str:
        done = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    source = tmp_path / "source"
    source.mkdir()
    make = "from setuptools import build_meta; print(build_meta.build_sdist({!r}))"
    run(sys.executable, "-c", make.format(str(tmp_path)), folder=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(source, filter="data")
    (unpacked,) = source.iterdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", tmp_path, unpacked)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"hwflow/{file}" for file in data_files()} <= names
    assert sum(name.endswith(".so") for name in names) == 2

    venv.create(tmp_path / "empty", symlinks=True)
    python = tmp_path / "empty" / "bin" / "python"
    target = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
    run(*pip, "install", "-q", "--no-index", "--no-deps", "--target", target, wheel)
    # What it depends on comes from here; hwflow itself from the wheel, which stands before.
    here = site.getsitepackages()
    (Path(target) / "dependencies.pth").write_text(f"import site; site.addsitedir({here[0]!r})\n")
    assert run(python, "-W", "error", "-c", ENGINE_RUN) == "[27]\n"
    assert "squeezenet" in run(python, "-m", "hwflow.cli", "networks")
