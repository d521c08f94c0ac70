"""Which depths of a stream to try next, between one that is too few and one that is enough."""

from __future__ import annotations


class Bounds:
    """Numbers of beats, or of steps of them, of which one is too few and one enough.

    Attributes:
        too_few: the greatest number that is known to be.
        enough: the least that is known to be.
    """

    def __init__(self, too_few: int, enough: int) -> None:
        self.too_few, self.enough = too_few, enough
        self._excess: dict[int, int] = {}
        self._turn = 0
        self._jumped = False

    @property
    def between(self) -> int:
        """How many of which nothing is known."""
        return self.enough - self.too_few - 1

    def add(self, number: int, excess: int, too_few: int = 0) -> None:
        """Learns of a number.

        Args:
            number: that was tried.
            excess: the cycles by which a frame is longer then; negative if that is not known.
            too_few: one that was found to be too few with it, if it is.
        """
        if excess == 0:
            self.enough = min(self.enough, number)
            return
        if excess > 0:
            self._excess[number] = excess
        self._jumped |= too_few > max(self.too_few, number)
        self.too_few = max(self.too_few, number, too_few)

    def next(self, count: int) -> list[int]:
        """Numbers to try at once.

        By turns: the next number where more than the one tried was found to be too few, and one
        less than what is enough at first, which often is; where a line through the last two
        excesses reaches zero, and one less; and numbers spread evenly.
        """
        chosen: list[int] = []
        if self._jumped and self._turn % 2 == 0:
            chosen.append(self.too_few + 1)
        if self._turn == 0:
            chosen.append(self.enough - 1)
        elif self._turn % 3:
            chosen += self._on_a_line()
        self._turn += 1
        self._jumped = False
        chosen = [n for n in dict.fromkeys(chosen) if self.too_few < n < self.enough][:count]
        left = min(self.between, count) - len(chosen)
        for place in range(1, left + 1):
            number = self.too_few + place * (self.between + 1) // (left + 1)
            while number in chosen:
                number = number - 1 if number - 1 > self.too_few else self.enough - 1
            chosen.append(number)
        return chosen

    def _on_a_line(self) -> list[int]:
        if len(self._excess) < 2:
            return []
        (before, more), (last, excess) = sorted(self._excess.items())[-2:]
        if more <= excess:
            return []
        guess = last + -(-excess * (last - before) // (more - excess))
        return [guess, guess - 1]
