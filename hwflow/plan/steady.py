"""Whether depths keep an interval for ever, decided by one frame after another until they repeat.

The same rules as the simulation of `hwflow.plan.dataflow`, but of one frame only, whose times are
relative to its beginning, and with the beats of the inputs offered evenly over the interval. The
comments of `sim/dataflow/steady.hpp` say why what is found holds for all frames.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hwflow.errors import ToolError
from hwflow.plan.dataflow_core import Network, core, pointer

_KEEPS, _SLOWS, _BLOCKS, _UNSETTLED = range(4)


@dataclass(frozen=True)
class Verdict:
    """What becomes of depths.

    Attributes:
        interval_cycles: from frame to frame in the long run: the interval wanted if it is kept;
            else the least that a frame takes, which is more (it may also block in the end); 0 if
            neither is known.
        deadlock: if processes were found to wait for one another, the streams of the cycle, each
            `empty` or `full`.
        depth_needed: if the depth of one stream was changed and slows, one below which all of
            them do; 0 if none is known.
    """

    interval_cycles: int
    deadlock: tuple[tuple[str, str], ...] = ()
    depth_needed: int = field(default=0, compare=False)


class Steady:
    """A network held to an interval, whose depths are changed step by step.

    Args:
        network: of a graph, its inputs not spread.
        interval: cycles; no process may have a longer period.
        depths: of all streams, to begin with.

    Attributes:
        verdict: of the depths given. Unless its interval is the one wanted, nothing can be changed.

    Raises:
        ToolError: if the compiled core is missing, or for want of memory.
    """

    def __init__(self, network: Network, interval: int, depths: Mapping[str, int]) -> None:
        self._network = network
        self.interval = interval
        self._place = {name: index for index, name in enumerate(network.names)}
        self._begin()
        given = np.array([max(1, depths[name]) for name in network.names], np.int64)
        self.verdict = self._verdict("settle", pointer(given))

    def _begin(self) -> None:
        state = core().hwflow_steady_new(*self._network.arguments, len(self._place), self.interval)
        if not state:
            raise ToolError(_MEMORY)
        self._state = state
        self._finalizer = weakref.finalize(self, core().hwflow_steady_delete, state)

    def copy(self) -> Steady:
        """The same once more; both may be changed at once, in threads of their own."""
        made = copy.copy(self)
        made._begin()
        made.follow(self)
        return made

    def follow(self, other: Steady) -> None:
        """Becomes as a copy of this one has become."""
        if core().hwflow_steady_follow(self._state, other._state):
            raise ToolError(_MEMORY)

    def change(self, depths: Mapping[str, int]) -> Verdict:
        """Makes some streams shallower; if that does not keep the interval all stay as they were.

        Args:
            depths: of these streams, at least 1 and no more than they have now.
        """
        return self._change(depths, False)

    def probe(self, depths: Mapping[str, int]) -> Verdict:
        """What would become of shallower streams; all stay as they were."""
        return self._change(depths, True)

    def _change(self, depths: Mapping[str, int], only_tried: bool) -> Verdict:
        streams = np.array([self._place[name] for name in depths], np.int64)
        given = np.array([max(1, depth) for depth in depths.values()], np.int64)
        return self._verdict(
            "change", pointer(streams), pointer(given), len(depths), int(only_tried)
        )

    def fill(self) -> dict[str, int]:
        """Depths of all streams with which every beat could move when it does."""
        found = np.zeros(len(self._place), np.int64)
        if core().hwflow_steady_fill(self._state, pointer(found)):
            raise ToolError(_MEMORY)
        return {name: int(found[index]) for name, index in self._place.items()}

    def _verdict(self, function: str, *arguments: object) -> Verdict:
        found = np.zeros(2, np.int64)
        waits_for = np.full(len(self._network.nodes), -1, np.int64)
        status = getattr(core(), f"hwflow_steady_{function}")(
            self._state, *arguments, pointer(found), pointer(waits_for)
        )
        if status == _BLOCKS:
            return Verdict(0, self._network.deadlock(waits_for))
        if status in (_KEEPS, _SLOWS):
            return Verdict(int(found[0]), depth_needed=int(found[1]))
        if status == _UNSETTLED:
            return Verdict(0)
        raise ToolError(_MEMORY)


_MEMORY = "the dataflow simulation ran out of memory: free some, or fold the design less"
