"""A worker for `benchmarks.measure`: `PIPE DESIGN OUTPUT` builds a design."""

import sys
from pathlib import Path

from benchmarks.measure import Marks
from hwflow import flow


def main(pipe: int, design: Path, output: Path) -> None:
    marks = Marks(pipe)
    for last in ("compile", "verify"):
        with marks.stage(last):
            result = flow.build(design, output, stop=last)
    marks.fact("verification", result.metrics["verification"])
    marks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:4]))
