"""Runs a long tool: streams its log, and ends it with all its children when it must."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from hwflow.errors import ToolError

_PID_FILE = "tool.pid"
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.2
_LONGEST_LINE = 65536


@dataclass(frozen=True)
class ToolRun:
    """How a tool ended.

    Attributes:
        exit_status: as the shell has it; negative for a signal.
        seconds: that it took.
    """

    exit_status: int
    seconds: float


class StoppedError(ToolError):
    """A run was ended because the others were given up."""


def run_tool(
    command: Sequence[str],
    cwd: Path,
    log: Path,
    *,
    timeout_seconds: float | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
    environment: Mapping[str, str] | None = None,
) -> ToolRun:
    """Runs a command in a process group of its own and copies its output to a log.

    Whatever ends this call (timeout, `stop`, Ctrl-C, a full disk), no process of the group is left.

    Args:
        command: program and arguments.
        cwd: where it runs.
        log: file that receives stdout and stderr, appended to.
        timeout_seconds: after which the group is ended; None for no limit.
        on_line: called with every line, without its end.
        stop: asked now and then whether to give up.
        environment: added to that of this process.

    Raises:
        ToolError: if the command cannot be started, exceeds its time, or the log cannot be written.
        StoppedError: if `stop` said so.
    """
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise ToolError(f"{command[0]}: cannot be started: {error.strerror}") from error
    try:
        with contextlib.suppress(OSError):
            (cwd / _PID_FILE).write_text(f"{process.pid}\n")
        assert process.stdout is not None
        with log.open("ab", buffering=0) as target:
            _pump(process, process.stdout, target, on_line, started, timeout_seconds, stop)
        return ToolRun(process.returncode, time.monotonic() - started)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ToolError(
                f"{log}: no space left on the device; {Path(command[0]).name} was ended. Free some "
                "and start again: finished stages are kept"
            ) from error
        raise ToolError(f"{log}: cannot be written: {error.strerror}") from error
    finally:
        _end_group(process)
        with contextlib.suppress(OSError):
            (cwd / _PID_FILE).unlink()


def _pump(
    process: subprocess.Popen[bytes],
    pipe: IO[bytes],
    target: BinaryIO,
    on_line: Callable[[str], None],
    started: float,
    timeout_seconds: float | None,
    stop: Callable[[], bool],
) -> None:
    name = Path(str(process.args[0])).name  # type: ignore[index]
    descriptor = pipe.fileno()
    os.set_blocking(descriptor, False)
    pending = b""
    ended_at: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if stop():
                raise StoppedError(f"{name}: ended, because the run was given up")
            now = time.monotonic()
            if timeout_seconds is not None and now - started > timeout_seconds:
                raise ToolError(
                    f"{name}: not done after {timeout_seconds:g} s and ended; log: {target.name}. "
                    "Give it more time with --timeout, or less to do: a greater "
                    "hardware.reuse_factor, or --per-layer"
                )
            if process.poll() is not None and ended_at is None:
                ended_at = now
            chunk: bytes | None = None
            if selector.select(_POLL_SECONDS if ended_at is None else 0.05):
                with contextlib.suppress(BlockingIOError):
                    chunk = os.read(descriptor, 1 << 16)
            if chunk:
                target.write(chunk)
                *lines, pending = (pending + chunk).split(b"\n")
                if len(pending) > _LONGEST_LINE:
                    lines, pending = [*lines, pending], b""
                for line in lines:
                    on_line(line.decode("utf-8", "replace").rstrip("\r"))
            elif chunk == b"" or (ended_at is not None and now - ended_at > 0.5):
                break  # closed, or held open by a child that outlived the tool
    if pending:
        on_line(pending.decode("utf-8", "replace"))
    while process.poll() is None:  # it closed its output before its end
        if stop():
            raise StoppedError(f"{name}: ended, because the run was given up")
        if timeout_seconds is not None and time.monotonic() - started > timeout_seconds:
            raise ToolError(f"{name}: not done after {timeout_seconds:g} s and ended")
        time.sleep(_POLL_SECONDS)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole group: asks, waits, then insists."""
    alive = process.poll() is None
    _signal_group(process.pid, signal.SIGTERM)
    if alive:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 1.0
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:  # until the last of them is gone
            os.killpg(process.pid, 0)
            time.sleep(0.01)
    if process.stdout is not None:
        process.stdout.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def is_running(cwd: Path) -> bool:
    """Whether the tool that is recorded in a folder still runs there, on this machine."""
    return _running(cwd) is not None


def _running(cwd: Path) -> int | None:
    try:
        pid = int((cwd / _PID_FILE).read_text())
        here = Path(f"/proc/{pid}/cwd").resolve(strict=True) == cwd.resolve()
    except (OSError, ValueError):
        return None
    return pid if here else None


def end_orphan(cwd: Path) -> bool:
    """Ends the tool that an earlier run, itself killed, left behind in a folder.

    A process is touched only if it is the one recorded there and still runs in that folder.

    Returns:
        Whether there was one.
    """
    pid = _running(cwd)
    if pid is None:
        return False
    _signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and _running(cwd) is not None:
        time.sleep(0.05)
    _signal_group(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        (cwd / _PID_FILE).unlink()
    return True
