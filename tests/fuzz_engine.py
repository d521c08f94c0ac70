"""Compares the engine with NumPy on random single operations, on every path of this machine.

`python -m tests.fuzz_engine --cases 1000000` is what `make fuzz` runs; the tests run a sample.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwflow.errors import DesignError
from hwflow.integer_graph import IntegerGraph
from hwflow.simulate.fast import FastEngine
from tests.support.operation_cases import (
    Case,
    described,
    kinds,
    overflow_counts,
    program,
    random_case,
    random_inputs,
)

PER_PROGRAM = 100
"""Cases in a program."""


@dataclass
class Tally:
    """What was compared.

    Attributes:
        cases: by kind.
        values: compared with NumPy, all paths together.
        fields: values that each attribute of each kind took, as digests.
        failures: in words; empty if all is equal.
    """

    cases: Counter[str] = field(default_factory=Counter)
    values: int = 0
    fields: dict[str, set[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.cases += other.cases
        self.values += other.values
        for name, seen in other.fields.items():
            self.fields.setdefault(name, set()).update(seen)
        self.failures += other.failures


class _Written:
    """A graph whose files are written once for all engines."""

    def __init__(self, graph: IntegerGraph) -> None:
        self._graph = graph
        self._files = graph.to_files()

    def to_files(self) -> dict[str, bytes]:
        return self._files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)


def run_program(seed: int, index: int, cases: int = PER_PROGRAM) -> Tally:
    """Draws a program and compares it on every path; the same for the same seed and index."""
    random = np.random.default_rng([seed, index])
    names = kinds()
    drawn = [random_case(random, names[i % len(names)], f"c{i}") for i in range(cases)]
    graph = program(drawn)
    inputs = random_inputs(random, graph, int(random.integers(1, 4)))
    tally = Tally()
    for case in drawn:
        tally.cases[case.operation.kind] += 1
        for operation in case.operations:
            for key, value in vars(operation).items():
                if key not in ("name", "inputs"):
                    content = value.tobytes() if isinstance(value, np.ndarray) else value
                    tally.fields.setdefault(f"{operation.kind}.{key}", set()).add(hash(content))
    expected = graph.evaluate(inputs)
    written: Any = _Written(graph)
    for path in FastEngine.paths():
        where = f"seed {seed}, program {index}, {path}"
        try:
            engine = FastEngine(written, 1 + index % 2, path, statistics=index % 8 == 0)
            found = engine.predict(inputs)
        except DesignError as error:
            tally.failures.append(f"{where}: refused: {error}")
            continue
        for case in drawn:
            for name in case.kept:
                tally.values += expected[name].size
                if not np.array_equal(found[name], expected[name]):
                    tally.failures.append(f"{where}: {name} differs:\n  {described(case)}")
        if index % 8 == 0:
            tally.failures += [
                f"{where}: {failure}" for failure in _statistics(engine, graph, expected, drawn)
            ]
    return tally


def _statistics(
    engine: FastEngine, graph: IntegerGraph, expected: dict[str, Any], drawn: list[Case]
) -> Iterator[str]:
    """Statistics that are not NumPy's."""
    statistics = engine.statistics
    for operation in graph.operations:
        values, seen = expected[operation.name], statistics[operation.name]
        given = expected[operation.inputs[0]] if operation.inputs else values
        counts = overflow_counts(operation, given)
        wanted = (values.size, int(values.min()), int(values.max()), *counts)
        have = (seen.count, seen.minimum, seen.maximum, seen.saturated, seen.below, seen.wrapped)
        if have != wanted:
            yield f"statistics of {operation} are {have}, not {wanted}"


def _task(arguments: tuple[int, int, int]) -> Tally:
    return run_program(*arguments)


def fuzz(cases: int, seed: int, processes: int) -> Iterator[Tally]:
    """Tallies of programs as they come, until there were so many cases."""
    sizes = [PER_PROGRAM] * (cases // PER_PROGRAM)
    if cases % PER_PROGRAM:
        sizes.append(cases % PER_PROGRAM)
    tasks = [(seed, index, size) for index, size in enumerate(sizes)]
    context = multiprocessing.get_context("spawn")  # an engine's threads do not survive a fork
    with context.Pool(processes) as pool:
        yield from pool.imap_unordered(_task, tasks, chunksize=8)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_engine", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    given = parser.parse_args(arguments)
    kinds()
    start = told = time.monotonic()
    total = Tally()
    for part in fuzz(given.cases, given.seed, given.processes):
        total.add(part)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{total.cases.total():,} cases", file=sys.stderr, flush=True)
        if total.failures:
            break
    print(
        f"{total.cases.total():,} cases, {total.values:,} values on "
        f"{', '.join(FastEngine.paths())} in {time.monotonic() - start:.0f} s: "
        f"{len(total.failures)} differ"
    )
    print(", ".join(f"{kind} {count:,}" for kind, count in sorted(total.cases.items())))
    for failure in total.failures[:10]:
        print(failure, file=sys.stderr)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
