"""How a flow tells what it is doing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PLAIN_INTERVAL_S = 10.0


class Progress(Protocol):
    """What a flow reports to."""

    def step(self, name: str, reused: bool = False) -> AbstractContextManager[None]:
        """A step that runs until the context ends; `reused` if nothing has to be done."""

    def advance(self, done: int, total: int, what: str) -> None:
        """How far the running step is: `done` of `total` of `what` (images, layers)."""

    def note(self, text: str) -> None:
        """Something worth knowing."""


class SilentProgress:
    """Says nothing."""

    @contextmanager
    def step(self, name: str, reused: bool = False) -> Iterator[None]:
        yield

    def advance(self, done: int, total: int, what: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class RichProgress:
    """On stderr: a live line for the running step, or plain lines where that is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self.console = console or Console(stderr=True, highlight=False)
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._told = 0.0

    @contextmanager
    def step(self, name: str, reused: bool = False) -> Iterator[None]:
        if reused:
            yield
            self._line(f"{name}: unchanged, reused")
            return
        start = time.monotonic()
        try:
            with self._running(name):
                yield
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self._line(f"{name}: {'interrupted' if stopped else 'failed'}")
            raise
        self._line(f"{name}: done in {time.monotonic() - start:.1f} s")

    @contextmanager
    def _running(self, name: str) -> Iterator[None]:
        if not self.console.is_terminal:
            self._told = time.monotonic()
            self._line(f"{name} ...")
            yield
            return
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24))
        detail = TextColumn("{task.fields[detail]}")
        with Bars(
            *columns, detail, TimeElapsedColumn(), console=self.console, transient=True
        ) as self._bars:
            self._task = self._bars.add_task(name, total=None, detail="")
            try:
                yield
            finally:
                self._task = None

    def advance(self, done: int, total: int, what: str) -> None:
        detail = f"{done} of {total} {what}"
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, total=total, detail=detail)
        elif not self.console.is_terminal:
            now = time.monotonic()
            if done >= total or now - self._told >= _PLAIN_INTERVAL_S:
                self._told = now
                self._line(f"  {detail}")

    def note(self, text: str) -> None:
        self._line(f"  {text}")

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)
