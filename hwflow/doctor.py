"""What this machine has of what hwflow needs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hwflow.errors import HwflowError
from hwflow.toolchain.gcc import find_compiler, run

VENDOR_TOOLS = ("vitis-run", "vitis_hls", "vivado_hls", "vivado")
MEMORY_GB, DISK_GB = 4.0, 2.0
_PROBE = "#include <cstdint>\nint main() { auto f = [](auto x) { return x; }; return f(0); }\n"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what.
        found: version, amount or place; empty if it is missing.
        ok: whether it will do.
        required: whether nothing can be built without it.
        hint: what to do, or what it would be needed for.
    """

    name: str
    found: str
    ok: bool
    required: bool
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)


def examine(folder: Path, *, run_tools: bool = False) -> list[Finding]:
    """Looks at Python, packages, compiled libraries, compiler, machine and vendor tools.

    Args:
        folder: whose disk is to be measured.
        run_tools: ask the vendor's tools for their version, which takes them seconds.
    """
    return [
        _python(),
        *_packages(),
        _library("engine", _engine),
        _library("dataflow core", _dataflow),
        _compiler(),
        _make(),
        _memory(),
        _cores(),
        _disk(folder),
        *(_vendor_tool(name, run_tools) for name in VENDOR_TOOLS),
    ]


def _python() -> Finding:
    from packaging.specifiers import SpecifierSet

    wanted = metadata.metadata("hwflow")["Requires-Python"] or ""
    version = platform.python_version()
    return Finding("Python", version, version in SpecifierSet(wanted), True, f"needs {wanted}")


def _packages() -> list[Finding]:
    from packaging.requirements import Requirement

    findings = []
    for text in metadata.requires("hwflow") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = ""
        ok = bool(version) and requirement.specifier.contains(version, prereleases=True)
        wanted = f"{requirement.name}{requirement.specifier}"
        hint = f"needs {wanted}" if ok else f"needs {wanted}: pip install '{wanted}'"
        findings.append(Finding(requirement.name, version, ok, True, hint))
    return sorted(findings, key=lambda finding: finding.name.lower())


def _library(name: str, load: Callable[[], str]) -> Finding:
    """One of the two libraries that installing hwflow compiles."""
    try:
        return Finding(name, load(), True, True)
    except (HwflowError, ImportError, OSError) as error:
        return Finding(name, "", False, True, str(error))


def _engine() -> str:
    from hwflow.simulate.fast import FastEngine

    return f"runs on {', '.join(FastEngine.paths())}"


def _dataflow() -> str:
    from hwflow.plan.dataflow_core import core

    core()
    return "compiled"


def _compiler() -> Finding:
    try:
        compiler = find_compiler()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "probe.cpp").write_text(_PROBE, encoding="ascii")
            command = [compiler.path, "-std=c++14", "probe.cpp", "-o", "probe"]
            log = folder / "log.txt"
            run(command, folder=folder, log=log, timeout_s=120, purpose="compiling a test")
            run([folder / "probe"], folder=folder, log=log, timeout_s=60, purpose="running a test")
    except HwflowError as error:
        return Finding("C++ compiler", "", False, True, str(error).partition("\nLog: ")[0])
    return Finding("C++ compiler", str(compiler), True, True)


def _make() -> Finding:
    path = shutil.which("make") or ""
    return Finding("make", path, bool(path), False, "for the targets of the Makefile only")


def _memory() -> Finding:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        available = int(re.findall(r"MemAvailable:\s+(\d+) kB", text)[0]) / 1e6
    except (OSError, IndexError):
        return Finding("memory", "unknown", True, False)
    hint = f"full-size networks take up to {MEMORY_GB:g} GB"
    return Finding("memory", f"{available:.1f} GB free", available >= MEMORY_GB, False, hint)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("cores", str(count or 1), True, False)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    hint = f"a full-size project with its steps takes up to {DISK_GB:g} GB"
    return Finding("disk", f"{free:.1f} GB free", free >= DISK_GB, False, hint)


def _vendor_tool(name: str, run_tools: bool) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, "", False, False, "not on PATH; for synthesis only")
    found = _version_in_path(path)
    if run_tools:
        option = "--version" if name == "vitis-run" else "-version"
        try:
            answer = subprocess.run(
                [path, option],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=120,
                check=True,
            )
            found = (answer.stdout.strip() or answer.stderr.strip()).partition("\n")[0]
        except (OSError, subprocess.SubprocessError) as error:
            return Finding(name, path, False, False, f"does not run: {error}")
    return Finding(name, f"{found or 'version unknown'} ({path})", True, False)


def _version_in_path(path: str) -> str:
    """The release that stands in the tool's folder, such as 2023.1."""
    found = re.findall(r"(?<![\d.])(20\d\d\.\d)(?![\d])", str(Path(path).resolve()))
    return found[-1] if found else ""
