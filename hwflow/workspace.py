"""Where a build writes: steps that can be resumed, and a project that appears whole or not at all.

Beside the project `<root>/<name>` a hidden folder `<root>/.<name>` holds one folder a step, the
lock, and what is about to be published. Files are planned in memory, written beside their place,
and renamed into it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from hwflow import __version__
from hwflow.errors import DesignError, ToolError

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turns a failure of the disk into a `ToolError` that says what was being done."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"no space left on the disk while {doing}{place}. Free some and run again."
        else:
            message = f"{doing} failed{place}: {error.strerror or error}"
        raise ToolError(message) from error


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def package_digest() -> str:
    """SHA-256 (hex) of hwflow's own sources and templates: a step depends on them too."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix not in (".pyc", ".so", ".o"):
            digest.update(f"{path.relative_to(root).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def json_bytes(value: Any) -> bytes:
    """JSON as all files of hwflow have it: indented, keys in their order, a newline at the end."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content; whoever reads sees the old or the new, never a part.

    Raises:
        ToolError: if the disk is full or refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(f"writing {path.name}"):
            temporary.write_bytes(content)
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class PlannedFiles(dict[str, bytes]):
    """Files that are not written yet: relative POSIX path to content.

    A file that begins with `#!` is written executable.
    """

    def add(self, path: str, content: bytes | str) -> None:
        """Plans one file.

        Raises:
            ValueError: if the path leaves the folder, or is planned already.
        """
        _check_relative(path)
        if path in self:
            raise ValueError(f"{path} is planned twice")
        self[path] = content.encode() if isinstance(content, str) else content

    def digest(self) -> str:
        """SHA-256 (hex) of all paths and contents."""
        digest = hashlib.sha256()
        for path in sorted(self):
            digest.update(f"{path}\0{hashlib.sha256(self[path]).hexdigest()}\n".encode())
        return digest.hexdigest()

    def write_into(self, folder: Path, doing: str = "") -> None:
        """Writes every file below a folder, which may exist; errors say what was being done.

        Raises:
            ToolError: if the disk is full or refuses.
        """
        with disk_errors(doing or f"writing {folder.name}"):
            for path in sorted(self):
                _check_relative(path)
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self[path])
                if self[path].startswith(b"#!"):
                    target.chmod(0o755)

    def write(self, folder: Path) -> None:
        """Makes the folder hold these files and no others, at once.

        Raises:
            ToolError: if the disk is full or refuses; the folder is then as it was.
        """
        fresh = folder.with_name(f".{folder.name}.{os.getpid()}.new")
        previous = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        try:
            with disk_errors(f"writing {folder.name}"):
                fresh.mkdir(parents=True)
            self.write_into(fresh, f"writing {folder.name}")
            _swap_in(fresh, folder, previous)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            if folder.exists():
                shutil.rmtree(previous, ignore_errors=True)


class Step:
    """One step's folder: `inputs.json`, `outputs/`, `log.txt`, and `done.json`, written last.

    Attributes:
        name: of the step.
        folder: holds everything.
        outputs: where the step writes.
        log: where it and its tools report.
        inputs: name to digest of all that the outputs depend on.
    """

    def __init__(self, folder: Path, name: str, inputs: Mapping[str, str]) -> None:
        self.name = name
        self.folder = folder
        self.outputs = folder / "outputs"
        self.log = folder / "log.txt"
        self.inputs = dict(sorted(inputs.items()))

    @property
    def is_done(self) -> bool:
        """Whether it was finished with equal inputs, and its outputs are as it left them."""
        done = _read_json(self.folder / "done.json")
        if done is None or _read_json(self.folder / "inputs.json") != self.inputs:
            return False
        try:
            return bool(_digests(self.outputs) == done["outputs"])
        except (OSError, KeyError, TypeError):
            return False

    @property
    def changed_inputs(self) -> list[str]:
        """Names of the inputs that differ from those of the last run; all if there was none."""
        before = _read_json(self.folder / "inputs.json")
        if not isinstance(before, dict):
            return list(self.inputs)
        names = sorted({*before, *self.inputs})
        return [name for name in names if before.get(name) != self.inputs.get(name)]

    @property
    def seconds(self) -> float:
        """How long it took when it was run; only once it is done."""
        return float(self._done["seconds"])

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its outputs, an input of later steps; only once it is done."""
        return hashlib.sha256(json.dumps(self._done["outputs"]).encode()).hexdigest()

    @property
    def _done(self) -> dict[str, Any]:
        done = _read_json(self.folder / "done.json")
        if not isinstance(done, dict):
            raise RuntimeError(f"the step {self.name} is not done")
        return done

    def begin(self) -> None:
        """Clears the folder for a run.

        Raises:
            ToolError: if the disk is full or refuses.
        """
        with disk_errors(f"preparing the step {self.name}"):
            (self.folder / "done.json").unlink(missing_ok=True)  # first: half cleared is not done
            _remove(self.folder)
            self.outputs.mkdir(parents=True)
            self.log.touch()
            (self.folder / "inputs.json").write_bytes(json_bytes(self.inputs))

    def finish(self, seconds: float) -> None:
        """Declares the outputs complete.

        Raises:
            ToolError: if the disk is full or refuses.
        """
        with disk_errors(f"finishing the step {self.name}"):
            done = {"outputs": _digests(self.outputs), "seconds": round(seconds, 3)}
        write_atomically(self.folder / "done.json", json_bytes(done))


class Workspace:
    """The working area of one design, locked while it is entered.

    Attributes:
        project: what is published, `<root>/<name>`.
        folder: the working area, `<root>/.<name>`.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.project = root / name
        self.folder = root / f".{name}"
        self._lock: int | None = None

    @cached_property
    def _previous(self) -> Path:
        return self.folder / "previous"

    @cached_property
    def _fresh(self) -> Path:
        return self.folder / "publish.tmp"

    def __enter__(self) -> Workspace:
        """Takes the lock and mends what an interrupted build may have left.

        Raises:
            ToolError: if another build has the lock, or the disk refuses.
        """
        with disk_errors(f"opening {self.folder.name}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                # The kernel frees the lock when its owner ends, however it ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
                os.close(lock)
                raise ToolError(
                    f"{self.name} is being built by another process (pid {owner}). Wait for it, "
                    f"or give this build another --output."
                ) from None
            try:
                os.truncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                self._recover()
            except BaseException:
                os.close(lock)
                raise
            self._lock = lock
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _recover(self) -> None:
        if self._previous.exists():
            if self.project.exists():  # it was replaced, only the cleaning is left
                _remove(self._previous)
            else:
                self._previous.rename(self.project)
        _remove(self._fresh)

    def step(self, index: int, name: str, inputs: Mapping[str, str]) -> Step:
        """The step of a number and name, with the digests of what goes into it."""
        return Step(self.folder / f"{index:02d}-{name}", name, inputs)

    def publish(self, files: Mapping[str, Path], extra: PlannedFiles) -> Path:
        """Replaces the project by the given files, at once, with a manifest.

        Args:
            files: relative target to the file or folder that goes there; steps' outputs are
                linked, not copied, where the file system can.
            extra: further files with their content.

        Returns:
            The project's folder.

        Raises:
            ToolError: if the disk is full or refuses; the project is then as it was.
            RuntimeError: if the workspace is not locked.
        """
        if self._lock is None:
            raise RuntimeError("publish only inside of `with workspace:`")
        try:
            with disk_errors(f"assembling {self.name}"):
                _remove(self._fresh)
                self._fresh.mkdir(parents=True)
                for target in sorted(files):
                    _check_relative(target)
                    _link(files[target], self._fresh / target)
            extra.write_into(self._fresh, f"assembling {self.name}")
            with disk_errors(f"assembling {self.name}"):
                manifest = {"hwflow": __version__, "files": _manifest(self._fresh)}
                (self._fresh / MANIFEST).write_bytes(json_bytes(manifest))
            _swap_in(self._fresh, self.project, self._previous)
        finally:
            shutil.rmtree(self._fresh, ignore_errors=True)
            if self.project.exists():
                shutil.rmtree(self._previous, ignore_errors=True)
        return self.project


def check_project(project: Path) -> list[str]:
    """The files of a published project that are missing or not as they were written.

    Raises:
        DesignError: if the folder is no project: it has no manifest that can be read.
    """
    manifest = _read_json(project / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DesignError(
            f"{project} must be a project that `hwflow build` made, but it has no whole {MANIFEST}"
        )
    wrong = []
    for path, entry in manifest["files"].items():
        try:
            if file_digest(project / path) != entry["sha256"]:
                wrong.append(path)
        except (OSError, KeyError, TypeError):
            wrong.append(path)
    return wrong


# --- below: files and folders --------------------------------------------------------------------


def _check_relative(path: str) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or pure.as_posix() != path:
        raise ValueError(f"{path!r} must be a plain relative path")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder)}


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": file_digest(path),
            "size": path.stat().st_size,
        }
        for path in _files(folder)
    }


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _link(source: Path, target: Path) -> None:
    """Puts a file or a folder's files at a target, by hard links where possible."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            _link(entry, target / entry.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EEXIST, errno.ENOENT):
            raise
        shutil.copy2(source, target)  # another file system, or one without hard links


def _swap_in(fresh: Path, target: Path, previous: Path) -> None:
    """Renames `fresh` to `target`; what was there stands until then, and returns on failure."""
    with disk_errors(f"replacing {target.name}"):
        try:
            if target.exists():
                _remove(previous)
                target.rename(previous)
            fresh.rename(target)
        except BaseException:
            if previous.exists() and not target.exists():
                previous.rename(target)
            raise
