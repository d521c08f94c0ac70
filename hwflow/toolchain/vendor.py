"""The vendor's tools on PATH: which there are, how each is started, what its log says."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwflow.errors import ToolError

_HLS_TOOLS = {"vitis": ("vitis-run", "vitis_hls"), "vivado": ("vivado_hls",)}
_STAGE = re.compile(r"^HWFLOW: (\w+) (begins|done)")
_MODULE = re.compile(r"-- Implementing module '([^']+)'")
_PHASE = re.compile(
    r"^(?:INFO: \[\w+ 200-10\]|INFO: \[HLS 200-\d+\])\s+(Analyzing design file '.*?'|"
    r"Starting [\w ]+?|-- Generating RTL .*?)\s*\.{0,3}\s*$"
    r"|^(Starting .*?(?:Task|Elaboration|Optimization|Mapping))\b"
)
# The scripts catch a setting that this version does not know; the tool prints it all the same.
_HARMLESS = re.compile(r"^ERROR: \[HLS 200-101\] '?config_")
_ERROR = re.compile(r"^\s*(ERROR\b|@E\b|FATAL\b|Error in TCL|.*\bNo space left on device\b)")
_WARNING = re.compile(r"^\s*(CRITICAL WARNING|WARNING|@W)\b")
_KEPT_LINES = 400


@dataclass(frozen=True)
class VendorTool:
    """A tool of the vendor.

    Attributes:
        name: of the program.
        path: where it is.
        version: `2023.2`, or empty if its place does not tell.
    """

    name: str
    path: str
    version: str = ""

    def command(self, script: str) -> list[str]:
        """The command that runs a Tcl script."""
        if self.name == "vitis-run":
            return [self.path, "--mode", "hls", "--tcl", script]
        if self.name == "vivado":
            return [self.path, "-mode", "batch", "-nojournal", "-nolog", "-source", script]
        return [self.path, "-f", script]


def find_tool(name: str) -> VendorTool | None:
    """A tool on PATH, or None."""
    path = shutil.which(name)
    if path is None:
        return None
    found = re.search(r"(?:^|/)(20\d\d\.\d)(?:/|$)", os.path.realpath(path))
    return VendorTool(name, path, found.group(1) if found else "")


def find_hls(backend: str) -> VendorTool:
    """The HLS tool for a backend: `vitis-run` or `vitis_hls`, else `vivado_hls`.

    Raises:
        ToolError: if there is none on PATH.
    """
    wanted = _HLS_TOOLS.get(backend, _HLS_TOOLS["vitis"])
    for name in wanted:
        tool = find_tool(name)
        if tool:
            return tool
    others = [name for names in _HLS_TOOLS.values() for name in names if name not in wanted]
    there = [name for name in others if find_tool(name)]
    advice = (
        f"{there[0]} is there: build the design with hardware.backend: "
        f"{'vivado' if there[0] == 'vivado_hls' else 'vitis'}"
        if there
        else "source the vendor's settings64.sh, or run `hwflow pack` and synthesize elsewhere"
    )
    raise ToolError(f"{' or '.join(wanted)}: not on PATH; {advice}")


def find_vivado() -> VendorTool:
    """Vivado.

    Raises:
        ToolError: if it is not on PATH.
    """
    tool = find_tool("vivado")
    if tool is None:
        raise ToolError(
            "vivado: not on PATH; source the vendor's settings64.sh, or run `hwflow pack` and "
            "synthesize elsewhere"
        )
    return tool


@dataclass
class LogWatch:
    """What the log has said so far.

    Attributes:
        errors: lines that the tool marks as errors, in order, the first 400.
        warnings: lines that it marks as warnings, without repetition, the first 400.
        done: stages that ended well.
        modules: RTL modules written so far.
        phase: what the tool is at, for people.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    modules: list[str] = field(default_factory=list)
    phase: str = ""

    def line(self, text: str) -> bool:
        """Takes in a line; whether it changed the phase."""
        stage = _STAGE.match(text)
        if stage:
            if stage.group(2) == "done":
                self.done.add(stage.group(1))
            self.phase = f"{stage.group(1)} {stage.group(2)}"
            return True
        if _ERROR.match(text):
            if not _HARMLESS.match(text) and len(self.errors) < _KEPT_LINES:
                self.errors.append(text.strip())
            return False
        if _WARNING.match(text):
            if len(self.warnings) < _KEPT_LINES and text not in self.warnings:
                self.warnings.append(text.strip())
            return False
        module = _MODULE.search(text)
        if module:
            self.modules.append(module.group(1))
            self.phase = f"module {len(self.modules)}: {module.group(1)}"
            return True
        phase = _PHASE.match(text)
        if phase:
            self.phase = next(part for part in phase.groups() if part)
            return True
        return False


def check_folder(folder: Path) -> None:
    """Refuses a folder whose path the vendor's tools cannot handle.

    Raises:
        ToolError: if its path holds a blank or another character that breaks their scripts.
    """
    found = re.search(r"[\s\"'$;\[\]{}()&]", str(folder.resolve()))
    if found:
        raise ToolError(
            f"{folder}: the vendor's tools cannot work in a path with {found.group(0)!r}; move the "
            "project"
        )


def tail(lines: Sequence[str], count: int = 3) -> list[str]:
    """The first and most telling lines, each cut to what a screen shows."""
    return [line[:300] for line in lines[:count]]
