"""Runs benchmarks one after the other, and keeps and prints their figures."""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks import table
from benchmarks.measure import ROOT, Options, machine
from hwflow.errors import DesignError, HwflowError

RESULTS = ROOT / "benchmarks" / "results.json"
DOCUMENT = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"

UNTIMED = frozenset({"streams"})
"""Benchmarks whose figures are the same on every machine, and so stand beside another's."""

Benchmark = Callable[[Options], Mapping[str, Any]]


def discover() -> dict[str, Benchmark]:
    """The benchmarks of this folder by name: modules that define `run`."""
    found: dict[str, Benchmark] = {}
    for module in sorted(pkgutil.iter_modules(benchmarks.__path__), key=lambda each: each.name):
        if module.name == "__main__":
            continue
        run = getattr(importlib.import_module(f"benchmarks.{module.name}"), "run", None)
        if callable(run):
            found[module.name] = _with_options(run)
    return found


def _with_options(run: Callable[..., Mapping[str, Any]]) -> Benchmark:
    """A `run` that may or may not take options, as one that does."""
    if "options" in inspect.signature(run).parameters:
        return run
    return lambda options: run()


def chosen(names: Sequence[str], found: Mapping[str, Benchmark]) -> dict[str, Benchmark]:
    """The benchmarks that are named, or all.

    Raises:
        DesignError: naming every name that is none.
    """
    unknown = [name for name in names if name not in found]
    if unknown:
        raise DesignError(_unknown(name, found) for name in unknown)
    return {name: run for name, run in found.items() if not names or name in names}


def _unknown(name: str, found: Mapping[str, Benchmark]) -> str:
    near = difflib.get_close_matches(name, found, 1)
    hint = f"Did you mean {near[0]}?" if near else "They are: " + ", ".join(found)
    return f"there is no benchmark {name!r}. {hint}"


def merged(kept: Mapping[str, Any], new: Mapping[str, Any], facts: Any) -> dict[str, Any]:
    """New figures put among those that are kept; those of another machine are dropped.

    Args:
        kept: what the results held.
        new: figures by key.
        facts: of this machine.
    """
    same = kept.get("machine") == facts
    old = {key: value for key, value in kept.items() if key != "machine"} if same else {}
    return {**old, **new, "machine": facts}


def read_results(path: Path) -> dict[str, Any]:
    """What a results file holds; nothing if there is none.

    Raises:
        DesignError: if it is not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DesignError(f"{path.name} must hold JSON: {error}. Delete it and run again") from None
    if not isinstance(content, dict):
        raise DesignError(f"{path.name} must hold a JSON object. Delete it and run again")
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is kept")
    parser.add_argument(
        "--repeats", type=int, default=2, help="of the first network's builds (default: 2)"
    )
    parser.add_argument("--output", type=Path, help="the results file (default: the project's own)")
    given = parser.parse_args(arguments)
    if given.repeats < 1:
        parser.error(f"--repeats must be at least 1, not {given.repeats}")
    target: Path | None = given.output or (None if given.quick else RESULTS)
    try:
        kept = read_results(target) if target else {}
        facts = machine()
        options = Options(given.quick, given.repeats, IMAGES if target == RESULTS else None)
        found: dict[str, Any] = {}
        for name, run in chosen(given.names, discover()).items():
            print(f"{name} ...", file=sys.stderr, flush=True)
            found |= run(options)
            known = kept.get("machine", facts) if name in UNTIMED else facts
            kept = merged(kept, found, known)
            if target:  # after each, so that a later failure loses nothing
                target.write_text(json.dumps(kept, indent=1) + "\n")
        if not given.names:  # what no benchmark measures any more is dropped
            kept = merged({}, found, facts)
            if target:
                target.write_text(json.dumps(kept, indent=1) + "\n")
    except HwflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if target == RESULTS:
        DOCUMENT.write_text(table.in_document(DOCUMENT.read_text(), kept))
    print(table.render(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
