"""A worker for the tests of `benchmarks.measure`: `PIPE hold|fail`."""

import subprocess
import sys
import time

from benchmarks.measure import SAMPLE_INTERVAL_S, Marks

HELD_BYTES = 96 << 20
BURNT_SECONDS = 0.2

CHILD = f"""
import time
held = b"x" * {HELD_BYTES}
while time.process_time() < {BURNT_SECONDS}:
    pass
time.sleep({4 * SAMPLE_INTERVAL_S})
"""


def main(pipe: int, mode: str) -> None:
    marks = Marks(pipe)
    with marks.stage("first"):
        held = b"y" * HELD_BYTES
        subprocess.run([sys.executable, "-c", CHILD], check=True)
    with marks.stage("second"):
        time.sleep(SAMPLE_INTERVAL_S)
    if mode == "fail":
        print("what went wrong")
        sys.exit(3)
    with marks.stage("second"):
        marks.fact("held", len(held))
    marks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
