"""Finding the compiler and running tools: what they leave behind when they fail."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwflow.errors import ToolError
from hwflow.toolchain.gcc import find_compiler, run


def fake_compiler(folder: Path, name: str, answer: str, status: int = 0) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("answer", "kind", "version"),
    [
        ("g++ (Debian 12.2.0-14) 12.2.0", "g++", (12, 2, 0)),
        ("g++ (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0", "g++", (9, 4, 0)),
        ("g++ (GCC) 11.4.1 20230605 (Red Hat 11.4.1-2)", "g++", (11, 4, 1)),
        ("Ubuntu clang version 14.0.0-1ubuntu1.1", "clang++", (14, 0, 0)),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)", "clang++", (15, 0, 0)),
    ],
)
def test_compilers_tell_their_version(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    kind: str,
    version: tuple[int, ...],
) -> None:
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, "compiler", answer)))
    compiler = find_compiler()
    assert (compiler.kind, compiler.version) == (kind, version)
    assert str(compiler) == f"{kind} {'.'.join(map(str, version))}"


def test_gpp_comes_before_clang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    fake_compiler(tmp_path, "clang++", "clang version 14.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler().kind == "clang++"
    fake_compiler(tmp_path, "g++", "g++ (X) 12.2.0")
    assert find_compiler().kind == "g++"


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match="must be installed: neither is on PATH"):
        find_compiler()
    monkeypatch.setenv("CXX", "nosuch")
    with pytest.raises(ToolError, match=r"\$CXX is 'nosuch', which is not on PATH"):
        find_compiler()


def test_compilers_that_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, status, expected in (
        ("g++ (GCC) 4.8.5", 0, "g\\+\\+ must be version 7 or later"),
        ("hello", 0, "does not tell its version"),
        ("g++ (GCC) 12.2.0", 1, "does not tell its version"),
    ):
        monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, "compiler", answer, status)))
        with pytest.raises(ToolError, match=expected):
            find_compiler()


def test_output_and_environment_arrive_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log.txt"
    for word in ("first", "second"):
        seconds = run(
            ["sh", "-c", "echo $WORD; echo err >&2; pwd"],
            folder=tmp_path,
            log=log,
            environment={"WORD": word},
        )
        assert seconds >= 0
    assert log.read_text() == f"first\nerr\n{tmp_path}\nsecond\nerr\n{tmp_path}\n"


def test_a_failure_shows_the_errors_of_this_run(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("error: of an earlier run\n")
    with pytest.raises(ToolError) as caught:
        run(
            ["sh", "-c", "echo fine; echo 'a.cpp:3: error: no'; echo more; exit 7"],
            folder=tmp_path,
            log=log,
            purpose="compiling a.cpp",
        )
    expected = f"compiling a.cpp: sh failed with exit status 7:\na.cpp:3: error: no\nLog: {log}"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'cc1plus: fatal: No space left on device'; exit 1", "no space left on the disk"),
        ("kill -9 $$", "was killed by SIGKILL, as happens when memory runs out"),
        ("kill -11 $$", "was killed by SIGSEGV"),
        ("echo 'Killed signal terminated program cc1plus'; exit 1", "when memory runs out"),
        ("exit 1", r"failed with exit status 1\. Log: "),
    ],
)
def test_causes_are_named(tmp_path: Path, script: str, expected: str) -> None:
    with pytest.raises(ToolError, match=expected):
        run(["sh", "-c", script], folder=tmp_path, log=tmp_path / "log.txt")


def test_what_cannot_be_run(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    (tmp_path / "script").write_text("not executable")
    with pytest.raises(ToolError, match="x: there is no nosuch-tool"):
        run(["nosuch-tool"], folder=tmp_path, log=log, purpose="x")
    with pytest.raises(ToolError, match=r"there is no .*nosuch-folder"):
        run(["true"], folder=tmp_path / "nosuch-folder", log=log)
    with pytest.raises(ToolError, match="cannot be run: Permission denied"):
        run([tmp_path / "script"], folder=tmp_path, log=log)


def is_gone(pid: int) -> bool:
    """Whether a process ends that has been killed: that takes a moment on a busy machine."""
    deadline = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_after_the_time_limit_nothing_runs_on(tmp_path: Path) -> None:
    script = "sleep 60 & echo $! > child; wait"
    with pytest.raises(ToolError, match=r"sh: stopped after 0\.5 s, the limit"):
        run(["sh", "-c", script], folder=tmp_path, log=tmp_path / "log.txt", timeout_s=0.5)
    assert is_gone(int((tmp_path / "child").read_text()))


def test_after_an_interrupt_nothing_runs_on(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hwflow.toolchain.gcc import run; "
        "folder = Path(sys.argv[1]); "
        "run(['sh', '-c', 'sleep 60 & echo $! > child; wait'], folder=folder, log=folder / 'log')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE
    )
    child = tmp_path / "child"
    while not (child.exists() and child.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in error
    assert is_gone(int(child.read_text()))
