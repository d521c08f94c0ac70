"""Times and memory of stages of a process of its own, children included.

The worker marks its stages on a pipe (`Marks`) and counts their wall and processor seconds; the
parent (`run_worker`) samples the memory of the worker and all its descendants meanwhile.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwflow.errors import ToolError
from hwflow.toolchain.gcc import find_compiler

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_INTERVAL_S = 0.25
_PAGE_BYTES = resource.getpagesize()
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
_TAIL_CHARACTERS = 3000


@dataclass(frozen=True)
class Options:
    """How thorough a run is.

    Attributes:
        quick: small sizes, to try the harness; the figures mean nothing.
        repeats: times that the first network's whole build is done; of the others, it is once.
        images: folder for plots; None draws none.
    """

    quick: bool = False
    repeats: int = 2
    images: Path | None = None


@dataclass
class Stage:
    """What a stage took.

    Attributes:
        seconds: wall time.
        cpu_seconds: processor time, children that ended within it included.
        end_seconds: wall time from the start of the worker's process to the end of the stage.
        peak_bytes: most resident memory seen at one time, all descendants added up; 0 where the
            stage was too short to be seen.
    """

    seconds: float
    cpu_seconds: float
    end_seconds: float
    peak_bytes: int = 0


@dataclass
class WorkerRun:
    """What a worker reported.

    Attributes:
        stages: by name; all passes through a stage, in their order.
        facts: whatever else it told.
    """

    stages: dict[str, list[Stage]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Marks:
    """The worker's end of the pipe.

    Args:
        descriptor: of the pipe, as `run_worker` gives it.
    """

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", buffering=1)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what happens within."""
        self._tell(begin=name)
        before = _largest_process_bytes()
        begin, cpu = time.monotonic(), _cpu_seconds()
        yield
        end = time.monotonic()
        cpu = _cpu_seconds() - cpu
        largest = _largest_process_bytes()
        grown = largest if largest > before else 0
        self._tell(end=name, seconds=end - begin, cpu=cpu, at=end, largest=grown)

    def fact(self, name: str, value: Any) -> None:
        """Tells something that is no time."""
        self._tell(fact=name, value=value)

    def close(self) -> None:
        """Nothing more will be told."""
        self._pipe.close()

    def _tell(self, **words: Any) -> None:
        self._pipe.write(json.dumps(words) + "\n")


def _cpu_seconds() -> float:
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _largest_process_bytes() -> int:
    """Most memory that any one process had so far: sampling may miss a short peak."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return max(own.ru_maxrss, children.ru_maxrss) * _MAXRSS_UNIT_BYTES


def run_worker(module: str, arguments: Sequence[str | Path], log: Path) -> WorkerRun:
    """Runs a module as a worker and measures it.

    Args:
        module: such as `benchmarks.stock`; its first argument is the pipe's descriptor.
        arguments: the others.
        log: takes what it prints.

    Returns:
        Its stages and facts.

    Raises:
        ToolError: if it fails, with the end of its log.
    """
    reading, writing = os.pipe()
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", module, str(writing), *map(str, arguments)]
    with log.open("wb") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        os.close(writing)
        listener = _Listener(reading, start)
        listener.start()
        try:
            while process.poll() is None:
                listener.sample(tree_bytes(process.pid))
                time.sleep(SAMPLE_INTERVAL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            listener.join()
    if process.returncode:
        tail = log.read_text(errors="replace")[-_TAIL_CHARACTERS:]
        raise ToolError(f"{module} failed with exit status {process.returncode}:\n{tail}")
    return listener.result


class _Listener(threading.Thread):
    """Reads the pipe, and gives each sample of memory to the stage that is running."""

    def __init__(self, descriptor: int, start: float) -> None:
        super().__init__(daemon=True)
        self.result = WorkerRun()
        self._descriptor = descriptor
        self._start = start
        self._peak = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        with os.fdopen(self._descriptor) as pipe:
            for line in pipe:
                with self._lock:
                    self._take(json.loads(line))

    def _take(self, words: dict[str, Any]) -> None:
        if "begin" in words:
            self._peak = 0
        elif "end" in words:
            peak = max(self._peak, words["largest"])
            stage = Stage(words["seconds"], words["cpu"], words["at"] - self._start, peak)
            self.result.stages.setdefault(words["end"], []).append(stage)
        elif "fact" in words:
            self.result.facts[words["fact"]] = words["value"]

    def sample(self, size: int) -> None:
        with self._lock:
            self._peak = max(self._peak, size)


def tree_bytes(root: int) -> int:
    """Resident bytes of a process and all its descendants; 0 where there is no `/proc`."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it ended just now
            continue
        fields = text.rpartition(")")[2].split()  # the name before may hold anything
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        resident[pid] = int(fields[21]) * _PAGE_BYTES
    total, wanted = 0, [root]
    while wanted:
        pid = wanted.pop()
        total += resident.get(pid, 0)
        wanted += [child for child, parent in parents.items() if parent == pid]
    return total


def machine() -> dict[str, Any]:
    """What figures depend on and anybody may know: processor, cores, compiler, Python.

    Raises:
        ToolError: if there is no C++ compiler.
    """
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count() or 1,
        "compiler": str(find_compiler()),
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
