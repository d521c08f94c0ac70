"""Runs many jobs at once: in threads here, on a Dask cluster, or through Slurm."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwflow.errors import DesignError, ToolError
from hwflow.toolchain.process import StoppedError, end_orphan, is_running
from hwflow.toolchain.synthesis import STOP_FILE, Job, Outcome, attempt, run_job

EXECUTORS = ("local", "dask", "slurm")

_ATTEMPTS = 3
"""How often a job is begun whose worker dies."""

Done = Callable[[Outcome], None]


def run_jobs(
    jobs: Sequence[Job],
    executor: str = "local",
    *,
    workers: int | None = None,
    address: str = "",
    log_folder: Path | None = None,
    done: Done = lambda outcome: None,
) -> list[Outcome]:
    """Runs jobs side by side; a job that fails does not end the others.

    Args:
        jobs: to be run.
        executor: `local` (threads of this process), `dask` (a scheduler at `address`, or a cluster
            of local processes), or `slurm` (through submitit).
        workers: at once; default one a processor here, else as many as there are jobs.
        address: of a Dask scheduler, or a partition of Slurm.
        log_folder: for submitit's files.
        done: called with each outcome as it comes.

    Returns:
        One outcome a job, in the order of the jobs; failures have `error` set.

    Raises:
        ToolError: if the executor's library is not installed or its cluster cannot be reached.
    """
    if executor not in EXECUTORS:
        raise DesignError(f"--executor: must be one of {', '.join(EXECUTORS)}, not {executor!r}")
    if workers is not None and workers < 1:
        raise DesignError(f"--workers: must be at least 1, not {workers}")
    if not jobs:
        return []
    for job in jobs:
        (Path(job.folder) / STOP_FILE).unlink(missing_ok=True)
    if executor == "local":
        count = min(len(jobs), workers or os.cpu_count() or 1)
        outcomes = _run_local(jobs, count, done)
    elif executor == "dask":
        count = min(len(jobs), workers or os.cpu_count() or 1)
        outcomes = _run_dask(jobs, count, address, done)
    else:
        count = min(len(jobs), workers or len(jobs))
        outcomes = run_submitit(jobs, count, log_folder, "slurm", address, done)
    return [outcomes[job.name] for job in jobs]


def _run_local(jobs: Sequence[Job], workers: int, done: Done) -> dict[str, Outcome]:
    stop = threading.Event()

    def one(job: Job) -> Outcome:
        try:
            return run_job(job, stop=stop)
        except StoppedError:
            raise
        except (ToolError, DesignError) as error:
            return Outcome(job.name, job.folder, {}, (), error=str(error))

    outcomes: dict[str, Outcome] = {}
    pool = ThreadPoolExecutor(workers, thread_name_prefix="synth")
    try:
        waiting: set[Future[Outcome]] = {pool.submit(one, job) for job in jobs}
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                outcome = future.result()
                outcomes[outcome.name] = outcome
                done(outcome)
    finally:
        stop.set()  # on Ctrl-C: the tools are ended before this call is left
        pool.shutdown(wait=True, cancel_futures=True)
    return outcomes


@contextmanager
def dask_client(
    address: str, *, workers: int = 1, option: str = "--cluster", daemon: bool = True
) -> Iterator[Any]:
    """A client of a Dask scheduler, for as long as the context lasts.

    Args:
        address: of the scheduler; empty starts a cluster of local processes.
        workers: of a local cluster.
        option: of the command line, which errors name.
        daemon: whether local workers may have no children of their own.

    Raises:
        ToolError: if the library is not installed or there is no scheduler at the address.
    """
    try:
        dask: Any = importlib.import_module("dask")
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise ToolError(
            f"{option}: needs the package distributed; pip install 'hwflow[cluster]'"
        ) from error
    settings = {
        "distributed.scheduler.allowed-failures": _ATTEMPTS - 1,
        "distributed.worker.daemon": daemon,
    }
    with dask.config.set(settings):
        if address:
            try:
                client = distributed.Client(address, timeout="10s")
            except (OSError, TimeoutError, ValueError) as error:
                raise ToolError(f"{option}: no Dask scheduler at {address!r}: {error}") from error
            with client:
                yield client
            return
        with (
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=50,
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client


def _run_dask(jobs: Sequence[Job], workers: int, address: str, done: Done) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    option = "--address" if address else "--executor dask"
    # the tasks have children: the tools
    with dask_client(address, workers=workers, option=option, daemon=False) as client:
        distributed: Any = importlib.import_module("distributed")
        futures = {
            client.submit(attempt, job, key=f"synth-{job.name}-{job.digest[:12]}", pure=False): job
            for job in jobs
        }
        try:
            for future in distributed.as_completed(list(futures)):
                job = futures[future]
                try:
                    outcome: Outcome = future.result()
                except distributed.KilledWorker:
                    outcome = _lost(job)
                outcomes[job.name] = outcome
                done(outcome)
        except BaseException:
            _give_up(jobs)
            client.cancel(list(futures))
            raise
    return outcomes


def _give_up(jobs: Sequence[Job]) -> None:
    """Ends the tools of all jobs, wherever they run: their runs see the file in their folder."""
    for job in jobs:
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP_FILE).touch()
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and any(is_running(Path(job.folder)) for job in jobs):
        time.sleep(0.1)
    for job in jobs:
        end_orphan(Path(job.folder))


def _lost(job: Job) -> Outcome:
    message = (
        f"{job.name}: {_ATTEMPTS} workers died while they ran it, which mostly means too little "
        "memory; fewer --workers, or a machine with more"
    )
    return Outcome(job.name, job.folder, {}, (), error=message)


def run_submitit(
    jobs: Sequence[Job],
    workers: int,
    log_folder: Path | None,
    cluster: str,
    partition: str,
    done: Done,
) -> dict[str, Outcome]:
    """Runs jobs through submitit.

    Args:
        jobs: to be run.
        workers: at once.
        log_folder: for its files, on a file system that all nodes share.
        cluster: `slurm`, or `local` for processes of this machine.
        partition: of Slurm, or empty.
        done: called with each outcome as it comes.

    Raises:
        ToolError: if submitit is not installed, or Slurm not on PATH.
    """
    try:
        submitit: Any = importlib.import_module("submitit")
    except ImportError as error:
        raise ToolError(
            "--executor slurm: needs the package submitit; pip install 'hwflow[cluster]'"
        ) from error
    folder = log_folder or Path(jobs[0].folder).parent / "submitit"
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    except RuntimeError as error:
        raise ToolError(f"--executor slurm: {error}; is sbatch on PATH?") from error
    seconds = [job.timeout_seconds for job in jobs]
    limit = sum(value for value in seconds if value) if all(seconds) else 7 * 24 * 3600
    executor.update_parameters(name="hwflow", timeout_min=max(1, round(limit / 60) + 5))
    if cluster == "slurm":
        executor.update_parameters(slurm_array_parallelism=workers)
        if partition:
            executor.update_parameters(slurm_partition=partition)
    outcomes: dict[str, Outcome] = {}
    running: dict[str, tuple[Job, Any, int]] = {}
    queue = [(job, 1) for job in jobs]
    try:
        while queue or running:
            while queue and len(running) < workers:
                job, number = queue.pop(0)
                running[job.name] = (job, executor.submit(attempt, job), number)
            for name, (job, task, number) in list(running.items()):
                if not task.done(force_check=cluster != "slurm"):  # Slurm is asked now and then
                    continue
                del running[name]
                try:
                    outcome = task.result()
                except Exception:  # killed, lost, or preempted: submitit has many names for it
                    if number < _ATTEMPTS:
                        queue.append((job, number + 1))
                        continue
                    outcome = _lost(job)
                outcomes[name] = outcome
                done(outcome)
            threading.Event().wait(0.2)
    except BaseException:
        _give_up(jobs)
        for _, task, _ in running.values():
            task.cancel()
        raise
    return outcomes
