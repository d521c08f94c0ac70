"""`hwflow pack`: a zip that another machine synthesizes with one command."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from hwflow.hls_folder import HlsFolder, read_project
from hwflow.toolchain.synthesis import source_files
from hwflow.workspace import disk_errors, write_atomically

_TEMPLATES = Path(__file__).parent / "hls" / "templates"
_README = """\
{name}: an HLS project for {part} at {clock_period_ns:g} ns, backend {backend}.

Synthesize it where the vendor's tools are on PATH:

    sh run_synthesis.sh              (C synthesis, then Vivado's logic synthesis)
    sh run_synthesis.sh csim csynth cosim vivado implement

and bring reports.tar.gz back:

    hwflow ingest PROJECT reports.tar.gz
"""


def pack(project: Path, target: Path | None = None) -> Path:
    """Writes the archive; the same project gives the same bytes.

    Args:
        project: folder of the project.
        target: the zip; default `<name>.zip` beside the project.

    Returns:
        The zip.

    Raises:
        DesignError: if the folder is no project.
        ToolError: if the disk refuses; no half of an archive is left.
    """
    source = read_project(project)
    target = target or source.folder.parent / f"{source.name}.zip"
    with disk_errors(f"packing {source.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        content = _archive(source)
    write_atomically(target, content)
    return target


def _archive(source: HlsFolder) -> bytes:
    files: dict[str, bytes] = {
        "README.txt": _README.format(
            name=source.name,
            part=source.part,
            clock_period_ns=source.clock_period_ns,
            backend=source.backend,
        ).encode(),
        "run_synthesis.sh": (_TEMPLATES / "run_synthesis.sh").read_bytes(),
    }
    for path in source_files(source.hls):
        files[f"hls/{path.relative_to(source.hls).as_posix()}"] = path.read_bytes()
    for name in ("metrics.json", "manifest.json"):
        if (source.folder / name).is_file():
            files[name] = (source.folder / name).read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{source.name}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on whatever system this is packed
            entry.external_attr = (0o100755 if name.endswith(".sh") else 0o100644) << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()
