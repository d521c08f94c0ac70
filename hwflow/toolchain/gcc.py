"""The C++ compiler, and how tools are run: a log, a time limit, no process left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import ToolError
from hwflow.workspace import disk_errors

OLDEST_GCC = (7,)
_TAIL_LINES = 15
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        path: of the executable.
        kind: `g++` or `clang++`.
        version: such as (12, 2, 0).
    """

    path: str
    kind: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"


def find_compiler() -> Compiler:
    """The compiler that `$CXX` names, else the g++ or clang++ on PATH.

    Raises:
        ToolError: if there is none, or it does not answer, or it is too old.
    """
    chosen = os.environ.get("CXX", "").strip()
    candidates = [chosen] if chosen else ["g++", "clang++"]
    for name in candidates:
        path = shutil.which(name)
        if path is not None:
            return _examine(path)
    looked = f"$CXX is {chosen!r}, which is not on PATH" if chosen else "neither is on PATH"
    raise ToolError(
        f"a C++ compiler, g++ or clang++, must be installed: {looked}. Install one (Debian and "
        f"Ubuntu: the package g++), or let CXX name it."
    )


def _examine(path: str) -> Compiler:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"the compiler {path} does not answer: {error}") from None
    first = answer.stdout.partition("\n")[0]
    # clang says "version 14.0.0"; g++ repeats its version last, after what the packager adds.
    found = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", first) or re.search(
        r"(\d+)\.(\d+)(?:\.(\d+))?(?!.*\d+\.\d+\.\d+)", first
    )
    if answer.returncode or found is None:
        reason = answer.stderr.strip()[-300:] or f"it says {first!r}"
        raise ToolError(f"the compiler {path} does not tell its version: {reason}")
    kind = "clang++" if "clang" in first.lower() else "g++"
    version = tuple(int(part) for part in found.groups() if part)
    if kind == "g++" and version < OLDEST_GCC:
        oldest = ".".join(map(str, OLDEST_GCC))
        raise ToolError(f"g++ must be version {oldest} or later, not {first!r} ({path})")
    return Compiler(path, kind, version)


def run(
    command: Sequence[str | Path],
    *,
    folder: Path,
    log: Path,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    purpose: str = "",
) -> float:
    """Runs a tool to its end, its output appended to the log.

    Args:
        command: program and arguments.
        folder: working directory.
        log: file that stdout and stderr are appended to.
        timeout_s: after so many seconds it is killed, with all that it started.
        environment: variables beside those of this process.
        purpose: what it is run for, as errors are to say it.

    Returns:
        How long it took, in seconds.

    Raises:
        ToolError: if it is missing, fails, is killed, takes too long or fills the disk; with
            the last lines it wrote.
    """
    words = [str(word) for word in command]
    task = purpose or Path(words[0]).name
    start = time.monotonic()
    with disk_errors(f"writing {log.name}"):
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("ab")
    with stream:
        begin = stream.tell()
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment} if environment else None,
                start_new_session=True,
            )
        except FileNotFoundError:
            what = words[0] if folder.is_dir() else str(folder)
            raise ToolError(f"{task}: there is no {what}") from None
        except OSError as error:
            raise ToolError(f"{task}: {words[0]} cannot be run: {error.strerror}") from None
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ToolError(
                f"{task}: stopped after {timeout_s:g} s, the limit. Log: {log}"
            ) from None
        except BaseException:  # Ctrl-C: nothing may run on
            _kill(process)
            raise
    if status:
        raise ToolError(_failure(task, words[0], status, _tail(log, begin), log))
    return time.monotonic() - start


def summarise(logs: Sequence[Path], whole: Path) -> None:
    """Counts what the compiler told of each unit, at the end of a log; removes empty logs.

    Args:
        logs: of one unit each; those that do not exist are left out.
        whole: gets a line for each unit with diagnostics: how many, the first, and its own log.
    """
    lines = []
    for log in logs:
        if not log.exists():
            continue
        text = log.read_text(errors="replace")
        if not text:
            log.unlink()
            continue
        counts = []
        for kind in ("error", "warning"):
            found = re.findall(rf"^.*\b{kind}: .*$", text, re.MULTILINE)
            if found:
                plural = "" if len(found) == 1 else "s"
                counts.append(f"{len(found)} {kind}{plural}, the first: {found[0]}")
        lines.append(f"{log.name}: {'; '.join(counts) or 'see there'}\n")
    if lines:
        with disk_errors(f"writing {whole.name}"), whole.open("a") as stream:
            stream.writelines(lines)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started (they share its group)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path, begin: int) -> str:
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(begin, size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    lines = text.splitlines()
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return "\n".join(errors[:_TAIL_LINES] or lines[-_TAIL_LINES:])


def _failure(task: str, program: str, status: int, tail: str, log: Path) -> str:
    if "No space left on device" in tail:
        return f"{task}: no space left on the disk. Free some and run again. Log: {log}"
    if status < 0:
        name = signal.Signals(-status).name
        why = f"was killed by {name}"
        if name == "SIGKILL" or "Killed signal" in tail:
            why += ", as happens when memory runs out"
    elif "Killed signal terminated program" in tail:
        why = "was killed, as happens when memory runs out"
    else:
        why = f"failed with exit status {status}"
    shown = f":\n{tail}\n" if tail else ". "
    return f"{task}: {Path(program).name} {why}{shown}Log: {log}"
