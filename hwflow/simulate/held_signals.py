"""Signals while a C library runs: their handlers wait until an exception can get through."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_HELD = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Holds SIGINT and SIGTERM within a `with`; `deliver`, and its end, call their handlers.

    What a handler raises at the first line of a function that C has called is lost: no `try` of
    that function is there yet, and C cannot carry it. So such a function delivers within its own.
    Only the main thread runs handlers; in another one, nothing is held.
    """

    def __init__(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        handlers = {number: signal.getsignal(number) for number in _HELD if is_main}
        self._handlers = {n: handler for n, handler in handlers.items() if callable(handler)}
        self._came: list[tuple[signal.Signals, FrameType | None]] = []

    def __enter__(self) -> HeldSignals:
        for number in self._handlers:
            signal.signal(number, self._hold)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.deliver()

    def deliver(self) -> None:
        """Calls the handlers of what came since the last time.

        Raises:
            BaseException: what a handler raises, KeyboardInterrupt as a rule.
        """
        while self._came:
            number, frame = self._came.pop(0)
            self._handlers[number](number, frame)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._came.append((signal.Signals(number), frame))
