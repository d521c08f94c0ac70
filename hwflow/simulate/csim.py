"""C-simulation: compiles the emitted project layer by layer and runs it on images.

Every layer is a compilation unit of its own. Objects are kept by the digest of everything that goes
into them, so a change of one layer compiles one. Images are spread over processes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, Fault, ToolError
from hwflow.fixed_point import IntArray
from hwflow.plan.loading import READER_FILE, WEIGHTS_FILE, load_words
from hwflow.plan.mapping import identifier
from hwflow.plan.streams import Stream, StreamGraph
from hwflow.toolchain.gcc import Compiler, find_compiler, run, summarise
from hwflow.workspace import disk_errors

FLAGS = ("-std=c++14", "-O3", "-march=native", "-Wno-unknown-pragmas", "-Wno-attributes")
GCC_FLAGS = ("--param", "max-completely-peel-times=8")
"""Flags that g++ alone has: it keeps the products of wide folds in a loop, and vectorises it."""

INCLUDES = (".", "firmware", "simulation")
AP_TYPES: Mapping[str, str] = {
    "reference": "simulation/ap_types",
    "fast": "simulation/fast_types",
}
"""Folders of the headers of ap_int and ap_fixed, by what `--ap-types` calls them."""

COMPILE_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Simulator:
    """A compiled project.

    Attributes:
        program: the executable.
        graph: the plan it was emitted from.
        compiled: number of units that were compiled now, the others came from the cache.
        units: number of all units.
        weights: the words that the first call loads; None where nothing is loaded.
    """

    program: Path
    graph: StreamGraph
    compiled: int
    units: int
    weights: Path | None = None


def compile_project(
    project: Path,
    graph: StreamGraph,
    cache: Path,
    log: Path,
    *,
    ap_types: str = "fast",
    workers: int | None = None,
    together: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Simulator:
    """Compiles the simulation program of an emitted project.

    Args:
        project: the folder with `firmware/` and `simulation/`.
        graph: the plan.
        cache: folder of objects and programs, shared by builds.
        log: what the compiler says: a line for each unit that it warned of, and all of its words.
        ap_types: which headers of ap_int and ap_fixed, `fast` or `reference`.
        workers: compilers at a time; by default one a processor.
        together: all layers are one unit: quicker for a small network, but nothing of it is reused.
        progress: told how many units are done.

    Raises:
        DesignError: if the project has no such headers.
        ToolError: if there is no compiler, it fails, or the disk is full.
    """
    types = AP_TYPES[ap_types]
    if not (project / types / "ap_int.h").exists():
        raise DesignError(
            Fault(
                str(project),
                "",
                f"must have the {ap_types} headers in {types}, but an older hwflow built it. Build "
                f"it again, or choose others with --ap-types.",
            )
        )
    compiler = find_compiler()
    project, cache, log = project.resolve(), cache.resolve(), log.resolve()
    with disk_errors(f"making {cache}"):
        cache.mkdir(parents=True, exist_ok=True)
    shared = _shared_digest(project, compiler, types)
    sources = sorted((project / "firmware" / "layers").glob("*.cpp"))
    top = project / "firmware" / f"{graph.name}.cpp"
    driver = project / "simulation" / "simulate.cpp"
    own_headers = {
        f"{identifier(process.layer)}.cpp": [project / "firmware" / "weights" / f"{process.name}.h"]
        for process in graph.processes
        if process.weight_format is not None
    }
    declarations = [project / "firmware" / "layers.h", project / "firmware" / f"{graph.name}.h"]
    declarations += [project / READER_FILE] if load_words(graph) else []
    units: dict[Path, Path] = {}
    if together:
        headers = itertools.chain.from_iterable(own_headers.values())
        whole = cache / f"{_digest(shared, [*sources, *headers])}.cpp"
        with disk_errors(f"writing {whole}"):
            whole.write_text("".join(f'#include "firmware/layers/{s.name}"\n' for s in sources))
        units[whole] = whole.with_suffix(".o")
        sources = []
    for source in sources:
        units[source] = cache / f"{_digest(shared, [source, *own_headers.get(source.name, [])])}.o"
    for source in (top, driver):
        units[source] = cache / f"{_digest(shared, [source, *declarations])}.o"
    wanted = [(source, target) for source, target in units.items() if not target.exists()]
    # the largest first, so that no processor waits at the end for a late large one
    wanted.sort(key=lambda pair: -pair[0].stat().st_size)
    count = workers or os.cpu_count() or 1
    log.parent.mkdir(parents=True, exist_ok=True)
    if wanted:
        progress(0, len(wanted))
    flags = (*_flags(compiler), *(f"-I{folder}" for folder in (*INCLUDES, types)))
    with disk_errors(f"writing {log.name}"):
        log.write_text(f"{compiler}, {ap_types} ap_types: {len(wanted)} of {len(units)} units\n")
    kit = _Kit(compiler, project, flags, log)
    prelude = _precompiled(kit, cache / shared.hex()[:32]) if wanted else ()
    with ThreadPoolExecutor(count) as pool:
        jobs = [pool.submit(_compile, kit, s, t, prelude) for s, t in wanted]
        try:
            for done, job in enumerate(as_completed(jobs)):
                job.result()
                progress(done + 1, len(wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            summarise([_own_log(log, source) for source, _ in wanted], log)
    objects = sorted(units.values())
    names = hashlib.sha256("".join(path.name for path in objects).encode()).hexdigest()[:32]
    program = cache / f"{graph.name}-{names}"
    if not program.exists():
        partial = program.with_suffix(".partial")
        run(
            [compiler.path, "-o", partial, *objects],
            folder=project,
            log=log,
            timeout_s=COMPILE_TIMEOUT_S,
            purpose="linking the C-simulation",
        )
        partial.replace(program)
    weights = project / WEIGHTS_FILE if load_words(graph) else None
    return Simulator(program, graph, len(wanted), len(units), weights)


@dataclass(frozen=True)
class _Kit:
    """What a unit is compiled with.

    Attributes:
        compiler: of C++.
        project: the folder it runs in.
        flags: of the compiler, folders of headers included.
        log: beside which each unit has one of its own.
    """

    compiler: Compiler
    project: Path
    flags: tuple[str, ...]
    log: Path


def _shared_digest(project: Path, compiler: Compiler, types: str) -> bytes:
    """What every unit depends on: compiler, flags, processor, kernels, types."""
    digest = hashlib.sha256(f"{compiler} {_flags(compiler)} {types} {_processor()}".encode())
    headers = [*(project / "firmware/kernels").rglob("*.h"), *(project / types).rglob("*.h")]
    for path in sorted([*headers, *(project / "simulation").glob("*.h")]):
        if path.is_file():
            digest.update(path.relative_to(project).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.digest()


def _flags(compiler: Compiler) -> tuple[str, ...]:
    return (*FLAGS, *GCC_FLAGS) if compiler.kind == "g++" else FLAGS


def _processor() -> str:
    """The processor's features: objects for one are not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _digest(shared: bytes, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(shared)
    for path in files:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _precompiled(kit: _Kit, folder: Path) -> tuple[str, ...]:
    """Flags that include the types' headers precompiled: they are most of a unit's text.

    Args:
        kit: of which g++ keeps a precompiled header beside the header of its name.
        folder: of the cache, named by the digest of what goes into it.
    """
    if kit.compiler.kind != "g++":
        return ()
    header = folder / "prelude.h"
    compiled = folder / "prelude.h.gch"
    if not compiled.exists():
        with disk_errors(f"writing {header}"):
            folder.mkdir(parents=True, exist_ok=True)
            header.write_text('#include "kernels/beat.h"\n#include "kernels/requantize.h"\n')
        partial = folder / "prelude.partial"
        _run(kit, ["-x", "c++-header", header], partial, kit.log, "the types' headers")
        partial.replace(compiled)
    return ("-include", str(header))


def _run(kit: _Kit, words: list[str | Path], target: Path, log: Path, what: str) -> None:
    run(
        [kit.compiler.path, *kit.flags, *words, "-o", target],
        folder=kit.project,
        log=log,
        timeout_s=COMPILE_TIMEOUT_S,
        purpose=f"compiling {what}",
    )


def _own_log(log: Path, source: Path) -> Path:
    """Where the compiler's words about one unit go."""
    return log.with_name(f"{log.stem}-{source.stem}.txt")


def _compile(kit: _Kit, source: Path, target: Path, prelude: tuple[str, ...]) -> None:
    partial = target.with_suffix(".partial.o")
    shown = source.relative_to(kit.project) if source.is_relative_to(kit.project) else source
    is_layer = source.parent.name == "layers"
    what = f"layer {source.stem} ({source.name})" if is_layer else source.name
    words: list[str | Path] = [*prelude, "-c", shown]
    _run(kit, words, partial, _own_log(kit.log, source), what)
    partial.replace(target)


def taps(graph: StreamGraph) -> dict[str, Stream]:
    """The stream in which each tensor leaves its producer, by the tensor's name."""
    found: dict[str, Stream] = {}
    outside = {*graph.inputs}
    for process in graph.processes:
        if process.kernel in ("repack", "duplicate"):
            continue
        for name in process.outputs:
            stream = graph.streams[name]
            if stream.tensor is not None and name not in outside:
                found.setdefault(stream.tensor, stream)
    return found


class Recordings(Mapping[str, npt.NDArray[Any]]):
    """What a C-simulation wrote, tensor by tensor: each is read from its files when asked for.

    Args:
        streams: in which each tensor was recorded, by the tensor's name.
        files: that hold a stream's elements, in the images' order, by the stream's name.
        images: how many there are.
    """

    def __init__(
        self, streams: Mapping[str, Stream], files: Mapping[str, list[Path]], images: int
    ) -> None:
        self._streams = streams
        self._files = files
        self._images = images

    def __getitem__(self, tensor: str) -> npt.NDArray[Any]:
        """Raw integers `(N, pixels, channels)`, in native integers of the stream's width.

        Raises:
            KeyError: if the tensor was not recorded.
            ToolError: if the files hold another number of values.
        """
        stream = self._streams[tensor]
        parts = [np.fromfile(path, stream.format.native) for path in self._files[stream.name]]
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        expected = self._images * stream.pixels * stream.channels
        if whole.size != expected:
            raise ToolError(
                f"the C-simulation wrote {whole.size} values of {tensor!r}, not {expected}"
            )
        return whole.reshape(self._images, stream.pixels, stream.channels)

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)


def simulate(
    simulator: Simulator,
    inputs: Mapping[str, npt.NDArray[np.integer[Any]]],
    folder: Path,
    log: Path,
    *,
    tensors: Iterable[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, IntArray]:
    """Runs images through the compiled project; see `recorded`, which takes the same.

    Returns:
        Raw integers by tensor name, shape `(N, pixels, channels)`.

    Raises:
        ToolError: if the program fails, or a stream was read while empty or left full.
    """
    with recorded(
        simulator, inputs, folder, log, tensors=tensors, workers=workers, progress=progress
    ) as recordings:
        return {name: array.astype(np.int64) for name, array in recordings.items()}


@contextmanager
def recorded(
    simulator: Simulator,
    inputs: Mapping[str, npt.NDArray[np.integer[Any]]],
    folder: Path,
    log: Path,
    *,
    tensors: Iterable[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Recordings]:
    """Runs images through the compiled project, whose files stand as long as this is entered.

    Args:
        simulator: the compiled project.
        inputs: raw integers of each input tensor, shape `(N, H, W, C)`.
        folder: for the files that the program reads and writes; emptied first, removed at the end.
        log: what the program says.
        tensors: which to record; by default all that pass through a stream.
        workers: processes at a time; by default one a processor.
        progress: told how many images are done.

    Raises:
        ToolError: if the program fails, or a stream was read while empty or left full.
    """
    graph = simulator.graph
    folder, log = folder.resolve(), log.resolve()
    streams = taps(graph)
    chosen = list(streams) if tensors is None else list(tensors)
    names = [graph.streams[name].tensor or name for name in graph.inputs]
    values = np.concatenate(
        [inputs[name].reshape(len(inputs[name]), -1) for name in names], axis=1
    ).astype(np.int32)
    images = len(values)
    count = max(1, min(workers or os.cpu_count() or 1, images))
    bounds = [images * index // count for index in range(count + 1)]
    port_of = _ports(graph)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        with disk_errors(f"writing {folder}"):
            folder.mkdir(parents=True)
            values.tofile(folder / "input.bin")
        progress(0, images)
        with ThreadPoolExecutor(count) as pool:
            jobs = []
            for index, (first, last) in enumerate(itertools.pairwise(bounds)):
                part = folder / f"part{index}"
                part.mkdir()
                wanted = [streams[t].name for t in chosen if streams[t].name not in port_of]
                command: list[str | Path] = [
                    simulator.program,
                    folder / "input.bin",
                    str(first),
                    str(last - first),
                    part,
                    *([simulator.weights] if simulator.weights else []),
                    *wanted,
                ]
                own_log = log.with_name(f"{log.stem}-part{index}.txt")
                jobs.append(
                    pool.submit(
                        run, command, folder=folder, log=own_log, purpose="the C-simulation"
                    )
                )
            done = 0
            for job, (first, last) in zip(jobs, itertools.pairwise(bounds), strict=True):
                job.result()
                done += last - first
                progress(done, images)
        files = {
            streams[tensor].name: [
                folder / f"part{index}" / f"{port_of.get(name, name)}.bin" for index in range(count)
            ]
            for tensor in chosen
            for name in (streams[tensor].name,)
        }
        yield Recordings({tensor: streams[tensor] for tensor in chosen}, files, images)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ports(graph: StreamGraph) -> dict[str, str]:
    """Names of the top function's parameters by the names of their streams."""
    found = {}
    for base, names in (("input", graph.inputs), ("output", graph.outputs)):
        for index, name in enumerate(names):
            found[name] = base if len(names) == 1 else f"{base}{index}"
    return found
