"""What a command does to its process while it works."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_TERMINATED = 143


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Keeps stdout for the result: what libraries print goes to stderr. SIGTERM ends cleanly."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if is_main else None
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        if is_main:
            signal.signal(signal.SIGTERM, before)
