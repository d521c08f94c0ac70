"""One run of a vendor's tool: its folder, its options, its stages, and whether they are done.

A run has a folder of its own that holds its inputs' digest, options, log and HLS project, so that
it can be resumed, repeated alone, and carried out on another machine of a cluster.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, ToolError
from hwflow.toolchain.diagnose import Advice, explain
from hwflow.toolchain.process import StoppedError, end_orphan, run_tool
from hwflow.toolchain.vendor import LogWatch, VendorTool, tail
from hwflow.workspace import disk_errors, file_digest, write_atomically

STOP_FILE = "stop"
"""Laid into a run's folder, it ends the run, on whichever machine that is."""

_MADE = {".o", ".so", ".log", ".jou", ".pyc"}
_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
_SOURCES = re.compile(r"^set sources \[list.*?^\]", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Job:
    """A function to be synthesized as top, in plain values that travel to other machines.

    Attributes:
        name: of the design or the function.
        top: function.
        source: its file below `hls`, empty for the whole design.
        hls: folder of the HLS project's sources.
        folder: of the run.
        digest: of everything that the result depends on.
        stages: in order, of `csim csynth cosim vivado`.
        hls_tool: for the first three.
        vivado: for the last, None if it is not asked for.
        design: name of the whole design.
        layers: names of its layers, for explanations.
        implement: whether Vivado places and routes too.
        timeout_seconds: for each stage; None for no limit.
    """

    name: str
    top: str
    source: str
    hls: str
    folder: str
    digest: str
    stages: tuple[str, ...]
    hls_tool: VendorTool | None
    vivado: VendorTool | None
    design: str
    layers: tuple[str, ...] = ()
    implement: bool = False
    timeout_seconds: float | None = None

    @property
    def project(self) -> Path:
        """The HLS project that the tool makes."""
        return Path(self.folder) / f"{self.top}_prj"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        name: of the job.
        folder: of the run; the reports are in it.
        seconds: by stage; as first measured where a stage was resumed.
        resumed: stages that were done already.
        warnings: of the tool.
        modules: RTL modules written.
        error: the failure, or empty.
    """

    name: str
    folder: str
    seconds: dict[str, float]
    resumed: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    error: str = ""


def source_files(hls: Path) -> list[Path]:
    """The files of an HLS project, sorted, without what tools make when run among them."""
    files = []
    for path in sorted(hls.rglob("*")):
        made = path.relative_to(hls).parts[0].endswith("_prj") or path.suffix in _MADE
        if path.is_file() and not made:
            files.append(path)
    return files


def design_digest(hls: Path, extra: Sequence[str] = ()) -> str:
    """Digest of all sources of a project and whatever else the result depends on."""
    return _digest(source_files(hls), hls, "", extra)


def layer_digest(hls: Path, source: Path, extra: Sequence[str] = ()) -> str:
    """Digest of one layer: its file, what that includes, and the scripts' settings."""
    firmware = hls / "firmware"
    reached: set[Path] = set()
    waiting = [source.resolve()]
    while waiting:
        path = waiting.pop()
        if path in reached or not path.is_file():
            continue
        reached.add(path)
        for name in _INCLUDE.findall(path.read_text(errors="replace")):
            waiting += [(base / name).resolve() for base in (path.parent, firmware)]
    script = (hls / "build_prj.tcl").read_text(errors="replace")
    return _digest(sorted(reached), hls.resolve(), _SOURCES.sub("", script), extra)


def _digest(files: Sequence[Path], root: Path, text: str, extra: Sequence[str]) -> str:
    entries = [[path.relative_to(root).as_posix(), file_digest(path)] for path in files]
    plain = json.dumps([entries, text, list(extra)])
    return hashlib.sha256(plain.encode()).hexdigest()


def run_job(
    job: Job,
    on_line: Callable[[str], None] = lambda line: None,
    on_phase: Callable[[str], None] = lambda phase: None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Runs the stages of a job that are not done yet.

    A run whose sources have changed starts anew; one that was interrupted goes on after its last
    finished stage.

    Raises:
        ToolError: if a tool fails, exceeds its time, or leaves no report; with its first errors,
            what they mean and what to change.
    """
    with _locked(Path(job.folder)):
        return _run_stages(job, on_line, on_phase, stop)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a run to one process; the system lifts the lock when that process ends, however."""
    with disk_errors(f"preparing {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = (folder.parent / f".{folder.name}.lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ToolError(
                f"{folder}: another hwflow synth is at work there; wait for it or end it"
            ) from error
        yield


def _run_stages(
    job: Job,
    on_line: Callable[[str], None],
    on_phase: Callable[[str], None],
    stop: threading.Event | None,
) -> Outcome:
    folder = Path(job.folder)
    end_orphan(folder)
    with disk_errors(f"preparing {folder}"):
        known = _read(folder / "inputs.sha256")
        if known != job.digest:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "inputs.sha256", f"{job.digest}\n".encode())
    seconds: dict[str, float] = {}
    resumed: list[str] = []
    warnings: list[str] = []
    modules: list[str] = []
    for stage in job.stages:
        done = _done(folder, stage)
        if done is not None and report_of(job, stage) is not None:
            seconds[stage] = done
            resumed.append(stage)
            continue
        on_phase(stage)
        watch = LogWatch()
        started = time.monotonic()
        _run_stage(job, stage, watch, on_line, on_phase, stop)
        seconds[stage] = round(time.monotonic() - started, 1)
        warnings += watch.warnings
        modules += watch.modules
        with disk_errors(f"finishing {folder}"):
            record = json.dumps({"seconds": seconds[stage]}) + "\n"
            write_atomically(folder / f"{stage}.done.json", record.encode())
    return Outcome(
        job.name, job.folder, seconds, tuple(resumed), tuple(warnings), tuple(modules), ""
    )


def _run_stage(
    job: Job,
    stage: str,
    watch: LogWatch,
    on_line: Callable[[str], None],
    on_phase: Callable[[str], None],
    stop: threading.Event | None,
) -> None:
    folder = Path(job.folder)
    tool = job.vivado if stage == "vivado" else job.hls_tool
    if tool is None:
        raise ToolError(f"{stage}: no tool was given for this stage")
    with disk_errors(f"preparing {folder}"):
        (folder / f"{stage}.done.json").unlink(missing_ok=True)
        for leftover in folder.glob("vivado_*.rpt") if stage == "vivado" else ():
            leftover.unlink()
        write_atomically(folder / "build_opt.tcl", _options(job, stage).encode())
    script = "vivado_synth.tcl" if stage == "vivado" else "build_prj.tcl"
    log = folder / f"{stage}.log"
    log.unlink(missing_ok=True)

    def take(line: str) -> None:
        if watch.line(line):
            on_phase(f"{stage}: {watch.phase}")
        on_line(line)

    run = run_tool(
        tool.command(str(Path(job.hls).resolve() / script)),
        folder,
        log,
        timeout_seconds=job.timeout_seconds,
        on_line=take,
        stop=lambda: (stop is not None and stop.is_set()) or (folder / STOP_FILE).exists(),
    )
    finished = {"vsynth"} if stage == "vivado" else {stage}
    if stage == "vivado" and job.implement:
        finished.add("implement")
    if run.exit_status or watch.errors or not finished <= watch.done:
        raise ToolError(_failure(job, stage, tool, watch, run.exit_status, log))
    if report_of(job, stage) is None:
        raise ToolError(
            f"{tool.name}: {stage} of {job.name} ended without an error but left no report in "
            f"{folder}; log: {log}"
        )


def _options(job: Job, stage: str) -> str:
    fresh = not any(Path(job.folder).glob("*.done.json"))
    flags = {
        "reset": fresh,
        "csim": stage == "csim",
        "csynth": stage == "csynth",
        "cosim": stage == "cosim",
        "export": False,
        "vsynth": False,
        "implement": job.implement,
    }
    lines = [f"    {name:9} {int(value)}" for name, value in flags.items()]
    top = "" if job.top == job.design else job.top
    settings = {"opt_top": top, "opt_source": job.source, "opt_project": ""}
    ending = [f'set {name} "{value}"' for name, value in settings.items()]
    return "\n".join(["array set opt {", *lines, "}", *ending, ""])


def _failure(
    job: Job, stage: str, tool: VendorTool, watch: LogWatch, status: int, log: Path
) -> str:
    ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    if not status:
        ended = "exit status 0, " + (
            "but errors in its log" if watch.errors else "but its log ends before the stage does"
        )
    lines = [f"{tool.name}: {stage} of {job.name} failed ({ended}); log: {log}"]
    lines += [f"  {line}" for line in tail(watch.errors)]
    advice: tuple[Advice, ...] = explain(watch.errors, job.layers, status)
    lines += [f"  meaning: {item}" for item in advice]
    if not watch.errors and not advice:
        last = [line for line in _read(log).splitlines() if line.strip()][-3:]
        lines += [f"  {line[:300]}" for line in last]
    return "\n".join(lines)


def report_of(job: Job, stage: str) -> Path | None:
    """Where a stage left its report; None if there is none (for C simulation: the log)."""
    solution = job.project / "solution1"
    places = {
        "csim": [Path(job.folder) / "csim.log"],
        "csynth": [
            solution / "syn" / "report" / name
            for name in ("csynth.xml", f"{job.top}_csynth.xml", f"{job.top}_csynth.rpt")
        ],
        "cosim": [solution / "sim" / "report" / f"{job.top}_cosim.rpt"],
        "vivado": [Path(job.folder) / ("vivado_impl.rpt" if job.implement else "vivado_synth.rpt")],
    }
    return next((path for path in places[stage] if path.is_file()), None)


def reports_of(job: Job) -> list[Path]:
    """The reports of all stages of a job that are there."""
    folder = Path(job.folder)
    found = [report_of(job, stage) for stage in job.stages if stage not in ("csim", "vivado")]
    return [path for path in found if path] + sorted(folder.glob("vivado_*.rpt"))


def _done(folder: Path, stage: str) -> float | None:
    try:
        return float(json.loads(_read(folder / f"{stage}.done.json"))["seconds"])
    except (ValueError, KeyError, TypeError):
        return None


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""


def attempt(job: Job) -> Outcome:
    """Runs a job on a worker: a failure comes back as text, so that the others go on."""
    try:
        return run_job(job)
    except StoppedError:
        raise
    except (ToolError, DesignError) as error:
        return Outcome(job.name, job.folder, {}, (), error=str(error))
