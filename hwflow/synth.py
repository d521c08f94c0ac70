"""`hwflow synth`: C simulation, synthesis, co-simulation and Vivado on a built project."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, Fault, ToolError
from hwflow.hls_folder import HlsFolder, read_project
from hwflow.ingest import Comparison, merge
from hwflow.progress import Progress
from hwflow.report.vendor_files import VendorResult, join_reports, read_report
from hwflow.report.vendor_report import VendorReport
from hwflow.terminal import interruptible
from hwflow.toolchain.diagnose import Advice, remarks
from hwflow.toolchain.executors import run_jobs
from hwflow.toolchain.synthesis import (
    Job,
    Outcome,
    design_digest,
    layer_digest,
    reports_of,
    run_job,
)
from hwflow.toolchain.vendor import check_folder, find_hls, find_vivado

STAGES = ("csim", "csynth", "cosim", "vivado")

_NOTE_SECONDS = 5.0
_NEEDS = {
    "csim": ("csim",),
    "csynth": ("csynth",),
    "cosim": ("csynth", "cosim"),
    "vivado": ("csynth", "vivado"),
}


@dataclass(frozen=True)
class SynthResult:
    """What `synthesize` brought.

    Attributes:
        project: that was synthesized.
        outcomes: of its jobs: the design, or each layer.
        result: figures of all reports; None after C simulation alone.
        comparison: estimates beside results, as written to `metrics.json`; None without reports.
        remarks: what to know although the run succeeded.
    """

    project: HlsFolder
    outcomes: tuple[Outcome, ...]
    result: VendorResult | None
    comparison: Comparison | None
    remarks: tuple[Advice, ...]


def plan_jobs(
    project: HlsFolder,
    stage: str = "csynth",
    *,
    per_layer: bool = False,
    implement: bool = False,
    timeout_seconds: float | None = None,
) -> list[Job]:
    """The jobs of a synthesis: the design, or each function of its layers alone.

    Raises:
        DesignError: for an unknown stage, or `per_layer` where it does not apply.
        ToolError: if a tool is not on PATH, or the folder's path breaks the tools' scripts.
    """
    if stage not in STAGES:
        raise DesignError(f"--stage: must be one of {', '.join(STAGES)}, not {stage!r}")
    if timeout_seconds is not None and timeout_seconds <= 0:
        raise DesignError(f"--timeout: must be more than 0 seconds, not {timeout_seconds:g}")
    if per_layer and stage != "csynth":
        raise DesignError(
            f"--per-layer: goes with --stage csynth alone, not {stage}: a layer has no testbench"
        )
    stages = _NEEDS[stage]
    hls_tool = find_hls(project.backend)
    vivado = find_vivado() if stage == "vivado" else None
    check_folder(project.hls)
    check_folder(project.workspace)
    settings = [hls_tool.name, hls_tool.version]

    def job(name: str, source: str, folder: Path, digest: str) -> Job:
        return Job(
            name=name,
            top=name,
            source=source,
            hls=str(project.hls),
            folder=str(folder),
            digest=digest,
            stages=stages,
            hls_tool=hls_tool,
            vivado=vivado,
            design=project.name,
            layers=project.layers,
            implement=implement,
            timeout_seconds=timeout_seconds,
        )

    if not per_layer:
        # Placing and routing is another run of Vivado, so it has a folder of its own.
        folder = project.workspace / ("implemented" if implement else "design")
        return [job(project.name, "", folder, design_digest(project.hls, settings))]
    if not project.functions:
        where = project.hls / "firmware" / "layers"
        raise DesignError(Fault(str(where), "", "holds no file that defines a layer's function"))
    jobs = []
    for function, source in project.sources.items():
        digest = layer_digest(project.hls, project.hls / source, [*settings, function])
        jobs.append(job(function, source, project.workspace / "layers" / function, digest))
    return jobs


def synthesize_all(
    folders: Sequence[Path],
    progress: Progress,
    *,
    stage: str = "csynth",
    per_layer: bool = False,
    implement: bool = False,
    executor: str = "local",
    workers: int | None = None,
    address: str = "",
    timeout_seconds: float | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> list[SynthResult]:
    """Synthesizes projects, side by side, and puts the results into their `metrics.json`.

    Stages that are done for the same sources and tool are not run again.

    Args:
        folders: of the projects.
        progress: told what is running.
        stage: the last one: `csim`, `csynth`, `cosim` or `vivado`.
        per_layer: each layer's function alone, side by side, added up.
        implement: with `vivado`: place and route too.
        executor: `local`, `dask` or `slurm`.
        workers: jobs at once.
        address: of a Dask scheduler, or a partition of Slurm.
        timeout_seconds: for each stage.
        on_line: receives every line of the log (of one job, run here).

    Raises:
        DesignError: for a folder that is no project, two jobs of one name, or options that do not
            go together.
        ToolError: if a tool is missing or fails: what it said, what that means, what to change.
    """
    projects = [read_project(folder) for folder in folders]
    plans = [
        plan_jobs(
            project,
            stage,
            per_layer=per_layer,
            implement=implement,
            timeout_seconds=timeout_seconds,
        )
        for project in projects
    ]
    jobs = [job for plan in plans for job in plan]
    names = [job.name for job in jobs]
    if len(projects) > 1 and len(set(names)) < len(names):
        raise DesignError(
            "two of the projects, or two of their layers, have one name: run them apart"
        )
    with interruptible():
        if len(jobs) == 1 and executor == "local":
            outcomes = [_one(jobs[0], progress, on_line)]
        else:
            outcomes = _many(jobs, progress, executor, workers, address, projects[0].workspace)
    failed = [outcome for outcome in outcomes if outcome.error]
    summary = f"{len(failed)} of {len(outcomes)} jobs failed:\n" if len(outcomes) > 1 else ""
    results = []
    for project, plan in zip(projects, plans, strict=True):
        mine = tuple(outcomes[: len(plan)])
        del outcomes[: len(plan)]
        if not any(outcome.error for outcome in mine):  # what is whole is taken in all the same
            results.append(_conclude(project, plan, mine, stage))
    if failed:
        raise ToolError(summary + "\n".join(outcome.error for outcome in failed))
    return results


def _one(job: Job, progress: Progress, on_line: Callable[[str], None]) -> Outcome:
    told = [0.0]

    def on_phase(phase: str) -> None:
        now = time.monotonic()
        if ": module " not in phase or now - told[0] > _NOTE_SECONDS:  # there may be hundreds
            told[0] = now
            progress.note(phase)

    with progress.step(f"{job.stages[-1]} of {job.name}"):
        outcome = run_job(job, on_line=on_line, on_phase=on_phase)
    for stage in outcome.resumed:
        progress.note(f"{stage}: unchanged, reused")
    return outcome


def _many(
    jobs: Sequence[Job],
    progress: Progress,
    executor: str,
    workers: int | None,
    address: str,
    workspace: Path,
) -> list[Outcome]:
    count = 0

    def done(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        progress.advance(count, len(jobs), "jobs")
        if outcome.error:
            progress.note(f"{outcome.name}: failed")

    with progress.step(f"{jobs[0].stages[-1]} of {len(jobs)} jobs ({executor})"):
        return run_jobs(
            jobs,
            executor,
            workers=workers,
            address=address,
            log_folder=workspace / "submitit",
            done=done,
        )


def _conclude(
    project: HlsFolder, jobs: Sequence[Job], outcomes: tuple[Outcome, ...], stage: str
) -> SynthResult:
    reports: list[VendorReport] = []
    for job in jobs:
        for path in reports_of(job):
            try:
                reports.append(read_report(path))
            except DesignError as error:
                raise ToolError(f"{stage} of {job.name} left a damaged report: {error}") from error
    said = [line for outcome in outcomes for line in (*outcome.warnings, *outcome.modules)]
    said += [row.name for report in reports for row in report.modules]
    notes = [*remarks(said, project.layers), *_timing(reports, project)]
    if not reports:
        return SynthResult(project, outcomes, None, None, tuple(notes))
    try:
        result = join_reports(reports, project.name, project.functions, is_loaded=project.is_loaded)
    except DesignError as error:
        raise ToolError(f"{stage} of {project.name}: {error}") from error
    comparison = merge(project.folder, project.name, result)
    return SynthResult(project, outcomes, result, comparison, tuple(_unique(notes)))


def _timing(reports: Sequence[VendorReport], project: HlsFolder) -> Iterator[Advice]:
    for report in reports:
        slack = report.worst_slack_ns
        late = slack is not None and slack < 0
        if slack is None and report.clock_estimate_ns and report.clock_period_ns:
            late = report.clock_estimate_ns > report.clock_period_ns
        if late:
            yield Advice(
                "timing",
                report.path,
                f"{report.top} needs {report.clock_estimate_ns:g} ns where "
                f"{report.clock_period_ns:g} ns are asked for ({report.stage})",
                f"hardware.clock_period_ns: {_rounded_up(report.clock_estimate_ns or 0):g} "
                "or more, or a greater hardware.reuse_factor",
            )


def _rounded_up(period_ns: float) -> float:
    return -(-period_ns * 10 // 1) / 10


def _unique(notes: Sequence[Advice]) -> list[Advice]:
    chosen: dict[tuple[str, str], Advice] = {}
    for note in notes:
        chosen.setdefault((note.key, note.meaning), note)
    return list(chosen.values())
