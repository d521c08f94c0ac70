"""What a written project is, read back from its scripts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, Fault

_SETTING = re.compile(r'^set (\w+) "?([^"\n]*?)"?\s*$', re.MULTILINE)


@dataclass(frozen=True)
class HlsFolder:
    """A project that can be synthesized.

    Attributes:
        folder: of the project, with `metrics.json`.
        hls: its folder of sources and scripts.
        name: of the design, and of its top function.
        backend: `vitis` or `vivado`.
        part: device.
        clock_period_ns: asked for.
        layers: names of the layers that have a file of their own, sorted.
    """

    folder: Path
    hls: Path
    name: str
    backend: str
    part: str
    clock_period_ns: float
    layers: tuple[str, ...]

    @property
    def workspace(self) -> Path:
        """Where its runs are kept: beside the project, so that a new build does not remove them."""
        return self.folder.parent / f".{self.folder.name}" / "synth"


def read_project(folder: Path) -> HlsFolder:
    """Reads what a project is from its scripts.

    Raises:
        DesignError: if the folder is no project, or lacks files: all that are missing.
    """
    folder = folder.resolve()
    hls = folder / "hls" if (folder / "hls").is_dir() else folder
    script = hls / "build_prj.tcl"
    try:
        text = script.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DesignError(
            Fault(str(folder), "", "is no project: it holds no hls/build_prj.tcl; run hwflow build")
        ) from error
    settings = {name: value.strip() for name, value in _SETTING.findall(text)}
    name = settings.get("name", "")
    needed = ["build_opt.tcl", "vivado_synth.tcl", f"firmware/{name}.cpp", f"{name}_test.cpp"]
    faults = [
        Fault(str(hls / path), "", "is missing; run hwflow build --force")
        for path in needed
        if not (hls / path).is_file()
    ]
    try:
        period = float(settings.get("clock_period_ns", ""))
    except ValueError:
        faults.append(Fault(str(script), "", "sets no clock_period_ns; run hwflow build --force"))
    if faults:
        raise DesignError(faults)
    layers = sorted(path.stem for path in (hls / "firmware" / "layers").glob("*.cpp"))
    return HlsFolder(
        folder if hls != folder else folder.parent,
        hls,
        name,
        settings.get("backend", "vitis"),
        settings.get("part", ""),
        period,
        tuple(layers),
    )
