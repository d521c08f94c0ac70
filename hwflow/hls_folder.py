"""What a written project is, read back from its scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, Fault
from hwflow.plan.loading import WEIGHTS_FILE

_SETTING = re.compile(r'^set (\w+) "?([^"\n]*?)"?\s*$', re.MULTILINE)
_FUNCTION = re.compile(r"^void (\w+)\s*\(", re.MULTILINE)


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
        functions: by function that can be a top of its own: the layer that it is a part of.
        sources: by function: its file below `hls`.
        is_loaded: whether calls may begin with a load of weights.
    """

    folder: Path
    hls: Path
    name: str
    backend: str
    part: str
    clock_period_ns: float
    functions: Mapping[str, str]
    sources: Mapping[str, str]
    is_loaded: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order of the data if the plan is there, else sorted."""
        return tuple(dict.fromkeys(self.functions.values()))

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
    folder = folder if hls != folder else folder.parent
    functions, sources = _functions(hls, folder)
    return HlsFolder(
        folder,
        hls,
        name,
        settings.get("backend", "vitis"),
        settings.get("part", ""),
        period,
        functions,
        sources,
        (hls / WEIGHTS_FILE).is_file(),
    )


def _functions(hls: Path, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The functions of the layers' files; `plan.json` has their order and the layers' names."""
    functions: dict[str, str] = {}
    sources: dict[str, str] = {}
    for path in sorted((hls / "firmware" / "layers").glob("*.cpp")):
        for name in _FUNCTION.findall(path.read_text(errors="replace")):
            functions[name] = path.stem
            sources[name] = path.relative_to(hls).as_posix()
    try:
        processes = json.loads((folder / "plan.json").read_bytes())["processes"]
        planned = {str(entry["name"]): str(entry["layer"]) for entry in processes}
    except (OSError, ValueError, KeyError, TypeError):
        return functions, sources
    ordered = {name: layer for name, layer in planned.items() if name in functions}
    return {**ordered, **{k: v for k, v in functions.items() if k not in ordered}}, sources
