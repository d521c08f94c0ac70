"""Takes the reports out of an archive that comes from elsewhere, and trusts nothing in it."""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from hwflow.errors import DesignError, Fault

MAX_FILES = 100_000
MAX_TOTAL_BYTES = 2 * 1024**3


def extract_reports(archive: Path, folder: Path) -> int:
    """Extracts the reports (.rpt, .xml) of an archive, and nothing else.

    Returns:
        How many files were written.

    Raises:
        DesignError: if it is no archive, is damaged, holds links or paths that lead out of the
            folder, or more than 100,000 files or 2 GiB; nothing outside the folder is touched.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return _extract(archive, _zip_members(archive, opened), folder)
        if archive.is_file() and tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed:
                return _extract(archive, _tar_members(archive, packed), folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DesignError(Fault(str(archive), "", f"is a damaged archive: {error}")) from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
        raise DesignError(Fault(str(archive), "", f"cannot be read: {error}")) from error
    except OSError as error:
        raise DesignError(Fault(str(archive), "", f"cannot be read: {error}")) from error
    raise DesignError(Fault(str(archive), "", "must be a folder, a .zip or a .tar.gz of reports"))


_Member = tuple[str, int, Callable[[], "IO[bytes] | None"]]


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Member]:
    entries = opened.infolist()
    if len(entries) > MAX_FILES:
        raise DesignError(Fault(str(archive), "", f"holds more than {MAX_FILES} files"))
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DesignError(Fault(str(archive), "", f"holds a link: {entry.filename!r}"))
        if not entry.is_dir():
            yield entry.filename, entry.file_size, lambda entry=entry: opened.open(entry)  # type: ignore[misc]


def _tar_members(archive: Path, packed: tarfile.TarFile) -> Iterator[_Member]:
    for number, entry in enumerate(packed):
        if number >= MAX_FILES:
            raise DesignError(Fault(str(archive), "", f"holds more than {MAX_FILES} files"))
        if entry.issym() or entry.islnk():
            raise DesignError(Fault(str(archive), "", f"holds a link: {entry.name!r}"))
        if entry.isfile():
            yield entry.name, entry.size, lambda entry=entry: packed.extractfile(entry)  # type: ignore[misc]


def _extract(archive: Path, members: Iterator[_Member], folder: Path) -> int:
    written = 0
    room = MAX_TOTAL_BYTES
    for name, size, open_member in members:
        path = _safe_path(archive, name)
        if path.suffix.lower() not in (".rpt", ".xml"):
            continue
        if size > room:
            raise _too_large(archive)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = open_member()
        if source is None:
            continue
        with source, target.open("wb") as sink:
            while chunk := source.read(1 << 20):
                room -= len(chunk)  # what is declared may be a lie
                if room < 0:
                    raise _too_large(archive)
                sink.write(chunk)
        written += 1
    return written


def _too_large(archive: Path) -> DesignError:
    return DesignError(
        Fault(
            str(archive),
            "",
            f"unpacks to more than {MAX_TOTAL_BYTES} bytes; give the reports alone",
        )
    )


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    climbs = path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name
    if climbs or re.match(r"[A-Za-z]:", name):
        raise DesignError(
            Fault(str(archive), "", f"holds a path that leads out of its folder: {name!r}")
        )
    return path
