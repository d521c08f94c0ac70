"""Depths of a stream tried several at once, each in a thread with a state of its own."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hwflow.plan.steady import Steady, Verdict

MOST_STATES = 4
"""Each holds the times of all beats of a frame."""


class DepthTrials:
    """A network held to its interval, in as many equal states as can be worked on at once.

    What becomes of depths does not depend on how many are tried beside them.

    Args:
        steady: that keeps its interval.
        states: how many; by default one for each processor, up to `MOST_STATES`.
    """

    def __init__(self, steady: Steady, states: int | None = None) -> None:
        self.interval = steady.interval
        self.count = states or min(MOST_STATES, len(os.sched_getaffinity(0)))
        self._states = [steady]
        self._equal = 1  # of them: the first ones

    def change(self, depths: Mapping[str, int]) -> Verdict:
        """As `Steady.change`."""
        verdict = self._states[0].change(depths)
        if verdict.interval_cycles == self.interval:
            self._equal = 1
        return verdict

    def fill(self) -> dict[str, int]:
        """As `Steady.fill`."""
        return self._states[0].fill()

    def least(self, stream: str, depths: Sequence[int]) -> list[Verdict]:
        """Makes a stream as shallow as the least of some depths that keeps the interval.

        Args:
            stream: its name.
            depths: at most `count` of them.

        Returns:
            What became of each depth.
        """
        with ThreadPoolExecutor(len(depths)) as pool:
            verdicts = list(
                pool.map(
                    lambda state, depth: state.change({stream: depth}),
                    self._made_equal(len(depths)),
                    depths,
                )
            )
        keeping = [
            (depth, place)
            for place, (depth, verdict) in enumerate(zip(depths, verdicts, strict=True))
            if verdict.interval_cycles == self.interval
        ]
        if keeping:
            _, place = min(keeping)
            self._states[0], self._states[place] = self._states[place], self._states[0]
            self._equal = 1
        return verdicts

    def probes(self, changes: Iterable[Mapping[str, int]]) -> list[Verdict]:
        """As `Steady.probe`, of each change by itself."""
        free: queue.SimpleQueue[Steady] = queue.SimpleQueue()
        for state in self._made_equal(self.count):
            free.put(state)

        def probe(change: Mapping[str, int]) -> Verdict:
            state = free.get()
            try:
                return state.probe(change)
            finally:
                free.put(state)

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(probe, changes))

    def _made_equal(self, count: int) -> list[Steady]:
        """So many states that are as the first one is."""
        first = self._states[0]
        for state in self._states[self._equal : count]:
            state.follow(first)
        while len(self._states) < count:
            self._states.append(first.copy())
        self._equal = max(self._equal, count)
        return self._states[:count]
