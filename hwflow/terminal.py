"""What a command does to its process while it works."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came: everything ends as it does at Ctrl-C."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes SIGTERM raise `Terminated` in the main thread; another thread is left as it is.

    Raises:
        KeyboardInterrupt: at SIGINT and SIGTERM, and instead of any error that follows on them:
            C code on the way turns what a handler raises into errors of its own, and tools that
            were interrupted too have failed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[type[KeyboardInterrupt]] = []
    kinds: dict[signal.Signals, type[KeyboardInterrupt]] = {signal.SIGTERM: Terminated}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        kinds[signal.SIGINT] = KeyboardInterrupt

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(kinds[signal.Signals(number)])
        raise came[0]

    before = {number: signal.signal(number, stop) for number in kinds}
    try:
        yield
    except Exception as error:
        if came:
            raise came[0] from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Keeps stdout for the result: what libraries print goes to stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
