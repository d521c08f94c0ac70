"""Evaluates a project: batches of pictures, here or on a cluster, and the figures of all."""

from __future__ import annotations

import csv
import importlib
import io
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault, ToolError
from hwflow.evaluate import figures
from hwflow.evaluate.batch import WITNESSES, BatchJob, BatchResult, Predictor, run_batch
from hwflow.evaluate.samples import Sample, limited, read_samples
from hwflow.evaluate.store import Store, picture_digests
from hwflow.progress import Progress, SilentProgress
from hwflow.schema_faults import did_you_mean
from hwflow.simulate.fast import unused_bits
from hwflow.simulate.keras_reference import float32_exact
from hwflow.toolchain.executors import dask_client
from hwflow.workspace import disk_errors, json_bytes, package_digest, write_atomically

BATCH = 32
"""Pictures in memory at a time, and in a record."""


@dataclass(frozen=True)
class Batch:
    """Pictures that are predicted, and kept, together.

    Attributes:
        samples: the pictures.
        digests: of their content.
    """

    samples: Sequence[Sample]
    digests: Sequence[str]


@dataclass(frozen=True)
class _Work:
    """A batch with the witnesses that still have to predict it."""

    batch: Batch
    job: BatchJob


Finished = Callable[[_Work, BatchResult], None]


def evaluate(
    folder: Path,
    images: Path,
    labels: Path | None = None,
    *,
    count: int | None = None,
    witnesses: Sequence[str] = WITNESSES,
    statistics: bool = False,
    cluster: str = "",
    batch: int = BATCH,
    threads: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Accuracy, agreement and confusion of a project's witnesses on labelled pictures.

    Batches that are kept from an earlier run with the same pictures, design and hwflow are not
    computed again. No more than two batches of pictures are in memory. The figures are also put
    into the project's folder `evaluation`, with each picture's classes and a confusion matrix for
    each witness.

    Args:
        folder: of the project.
        images: a folder of pictures; see `read_samples`.
        labels: their classes; see `read_samples`.
        count: the most pictures to take; None for all.
        witnesses: of `float`, `qkeras` and `fast`.
        statistics: gather the engine's statistics of every tensor (slower).
        cluster: address of a Dask scheduler whose workers see the same files; empty computes here.
        batch: pictures in a batch.
        threads: of the engine; 0 for one a processor.
        progress: told how far it is.

    Returns:
        What `evaluation.json` holds.

    Raises:
        DesignError: for pictures, labels or options that do not fit, all at once.
        ToolError: if the cluster cannot be reached or loses a batch, or the disk refuses.
    """
    told = progress or SilentProgress()
    chosen = _checked(witnesses, statistics)
    predictor = Predictor(folder, statistics=statistics, threads=threads)
    with told.step("pictures"):
        samples = read_samples(
            images,
            labels,
            predictor.classes,
            count,
            lambda done, total: told.advance(done, total, "pictures looked at"),
        )
        digests = picture_digests(
            [sample.file for sample in samples],
            lambda done, total: told.advance(done, total, "pictures digested"),
        )
    batches = [
        Batch(samples[start : start + batch], digests[start : start + batch])
        for start in range(0, len(samples), batch)
    ]
    package = package_digest()
    store = Store(folder, package, predictor.classes, statistics)
    work = []
    for each in batches:
        missing = tuple(name for name in chosen if store.read(name, each.digests) is None)
        if missing:
            files = tuple(str(sample.file.resolve()) for sample in each.samples)
            job = BatchJob(
                str(folder.resolve()), files, missing, statistics, threads, package, store.content
            )
            work.append(_Work(each, job))
    kept = len(samples) - sum(len(item.batch.samples) for item in work)
    with told.step("evaluate", reused=not work):
        if kept and work:
            told.note(f"{kept} images are kept from an earlier run")
        _compute(work, store, predictor, cluster, told, kept, len(samples))
    result = _conclude(predictor, batches, store, chosen)
    _write(folder / "evaluation", result, batches, store, chosen, predictor.classes)
    return result


def _checked(witnesses: Sequence[str], statistics: bool) -> list[str]:
    faults = [
        f"--witnesses: must be of {', '.join(WITNESSES)}, not {name!r}."
        + did_you_mean(name, WITNESSES)
        for name in witnesses
        if name not in WITNESSES
    ]
    if not witnesses:
        faults.append(f"--witnesses: must name some of {', '.join(WITNESSES)}")
    if statistics and "fast" not in witnesses:
        faults.append("--statistics: are the engine's, so --witnesses must have fast among them")
    if faults:
        raise DesignError(faults)
    return [name for name in WITNESSES if name in witnesses]


# --- computing -------------------------------------------------------------------------------


def _compute(
    work: Sequence[_Work],
    store: Store,
    predictor: Predictor,
    cluster: str,
    progress: Progress,
    done: int,
    total: int,
) -> None:
    """Computes and keeps what is missing; faulty pictures are told when all else is done."""
    faults: list[Fault] = []
    right: dict[str, int] = {}
    seen = 0

    def finished(item: _Work, result: BatchResult) -> None:
        nonlocal done, seen
        faults.extend(result.faults)
        for witness, record in result.records.items():
            store.write(witness, item.batch.digests, record)
            ranks = zip(item.batch.samples, record["top"], strict=True)
            correct = sum(top[0] == sample.label for sample, top in ranks)
            right[witness] = right.get(witness, 0) + correct
        done += len(item.batch.samples)
        seen += len(item.batch.samples) if result.records else 0
        rates = ", ".join(f"{name} {count / max(seen, 1):.1%}" for name, count in right.items())
        progress.advance(done, total, f"images{f' (top-1: {rates})' if rates else ''}")

    if cluster:
        _on_cluster(work, cluster, finished)
    else:
        _here(work, predictor, finished)
    if faults:
        raise DesignError(limited(faults))


def _here(work: Sequence[_Work], predictor: Predictor, finished: Finished) -> None:
    """One batch after the other; the next one's pictures are read meanwhile."""
    if not work:
        return
    readers = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pictures")
    ahead = ThreadPoolExecutor(1, thread_name_prefix="batch")

    def begin(item: _Work) -> Future[npt.NDArray[np.uint8]]:
        return ahead.submit(predictor.pixels, item.job.files, readers)

    try:
        coming = begin(work[0])
        for item, following in zip(work, [*work[1:], None], strict=True):
            result = BatchResult()
            try:
                pixels = coming.result()
            except DesignError as error:
                result = BatchResult(faults=tuple(error.faults))
            if following is not None:
                coming = begin(following)
            if not result.faults:
                names = item.job.witnesses
                result = BatchResult({name: predictor.record(name, pixels) for name in names})
            finished(item, result)
    finally:
        ahead.shutdown(wait=False, cancel_futures=True)
        readers.shutdown(wait=False, cancel_futures=True)


def _on_cluster(work: Sequence[_Work], address: str, finished: Finished) -> None:
    """Each batch a task; one whose worker dies is begun again on another."""
    with dask_client(address) as client:
        distributed: Any = importlib.import_module("distributed")
        futures = {
            client.submit(run_batch, item.job, key=f"evaluate-{index}-{id(work)}", pure=False): item
            for index, item in enumerate(work)
        }
        try:
            for future in distributed.as_completed(list(futures)):
                try:
                    result: BatchResult = future.result()
                except distributed.KilledWorker as error:
                    raise ToolError(
                        "--cluster: several workers died over one batch, which mostly means too "
                        "little memory; a smaller --batch, or workers with more"
                    ) from error
                finished(futures[future], result)
        except BaseException:
            client.cancel(list(futures), force=True)
            raise


# --- figures ---------------------------------------------------------------------------------


def _records(
    batches: Sequence[Batch], store: Store, witness: str
) -> Iterator[tuple[Batch, dict[str, Any]]]:
    for batch in batches:
        record = store.read(witness, batch.digests)
        if record is None:
            raise ToolError(f"a record of the evaluation vanished from {store.folder}; run again")
        yield batch, record


def _conclude(
    predictor: Predictor, batches: Sequence[Batch], store: Store, witnesses: Sequence[str]
) -> dict[str, Any]:
    classes = predictor.classes
    labels = np.array([sample.label for batch in batches for sample in batch.samples], np.int64)
    top: dict[str, figures.IntMatrix] = {}
    logits: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    statistics: list[dict[str, dict[str, int]]] = []
    for witness in witnesses:
        records = [record for _, record in _records(batches, store, witness)]
        top[witness] = np.array([r for record in records for r in record["top"]], np.int64)
        logits[witness] = [digest for record in records for digest in record["logits"]]
        matrix = figures.confusion(top[witness], labels, classes)
        found[witness] = figures.accuracy(top[witness], labels, classes) | {
            "ties": sum(record["ties"] for record in records),
            "images_per_second": len(labels) / sum(record["seconds"] for record in records),
            "most_confused": [list(pair) for pair in figures.most_confused(matrix)],
        }
        statistics += [record["statistics"] for record in records if "statistics" in record]
    result: dict[str, Any] = {
        "project": predictor.project.folder.name,
        "images": len(labels),
        "classes": classes,
        "confidence": figures.CONFIDENCE,
        "witnesses": found,
        "agreement": {},
    }
    for first, second in itertools.combinations(witnesses, 2):
        pair = figures.agreement(top[first], top[second], labels)
        if "float" not in (first, second):
            equal = sum(a == b for a, b in zip(logits[first], logits[second], strict=True))
            graph = predictor.project.graph
            pair["equal_logits"] = figures.proportion(equal, len(labels))
            pair["equality_proved"] = set(graph.outputs) <= float32_exact(graph)
        result["agreement"][f"{first}-{second}"] = pair
    if statistics:
        result["statistics"] = _tensors(predictor, figures.merged_statistics(statistics))
    return result


def _tensors(predictor: Predictor, merged: dict[str, dict[str, int]]) -> dict[str, Any]:
    tensors = predictor.project.graph.tensors
    return {
        name: {
            "format": str(tensors[name].format),
            **seen,
            "unused_bits": unused_bits(tensors[name].format, seen["minimum"], seen["maximum"]),
        }
        for name, seen in merged.items()
    }


def _write(
    folder: Path,
    result: dict[str, Any],
    batches: Sequence[Batch],
    store: Store,
    witnesses: Sequence[str],
    classes: int,
) -> None:
    """`evaluation.json`, `predictions.csv` and `confusion_<witness>.csv`."""
    with disk_errors(f"writing {folder.name}"):
        folder.mkdir(exist_ok=True)
    write_atomically(folder / "evaluation.json", json_bytes(result))
    kept = {name: list(_records(batches, store, name)) for name in witnesses}
    rows: list[Sequence[Any]] = [("file", "label", *witnesses)]
    for index, batch in enumerate(batches):
        tops = [kept[name][index][1]["top"] for name in witnesses]
        rows += [
            (sample.name, sample.label, *(top[place][0] for top in tops))
            for place, sample in enumerate(batch.samples)
        ]
    write_atomically(folder / "predictions.csv", _csv(rows))
    for name in witnesses:
        matrix = np.zeros((classes, classes), np.int64)
        for batch, record in kept[name]:
            labels = np.array([sample.label for sample in batch.samples], np.int64)
            matrix += figures.confusion(np.array(record["top"], np.int64), labels, classes)
        header = ("class", *range(classes))
        table = [header, *((row, *counts) for row, counts in enumerate(matrix.tolist()))]
        write_atomically(folder / f"confusion_{name}.csv", _csv(table))


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
