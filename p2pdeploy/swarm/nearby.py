"""Which pieces are missing: neither here nor with a connected neighbour, for some time (pure core).

Sets of pieces are integers, bit k for piece k; times are seconds of one clock that only rises.
"""

from __future__ import annotations

import math
from collections import deque

from p2pdeploy.messages.deal import MISSING_MAX
from p2pdeploy.swarm.holdings import rising

__all__ = ["Nearby"]


class Nearby:
    """Remembers since when pieces have been *absent*: neither here nor near.

    Memory: a set for each look within ``missing_s``.

    Args:
        missing_s: An absent piece is missing after so long.
        now: When the fetch begins.
    """

    def __init__(self, missing_s: float, now: float) -> None:
        self._missing_s = missing_s
        self._absent = -1  # of the last look; before the first, everything
        self._long = 0  # absent for missing_s or longer
        self._lately: deque[tuple[float, int]] = deque()  # since when which others have been
        self._came_at = now  # when a piece came here or to a neighbour last
        self._exhausted_at = math.inf  # since when the dealer has had nothing new

    def __repr__(self) -> str:
        return f"<Nearby {self._long.bit_count()} pieces absent for long>"

    def note_exhausted(self, now: float, *, exhausted: bool) -> None:
        """Whether the dealer has nothing new; before that a piece that is with nobody is not lost,
        just undealt.
        """
        self._exhausted_at = min(self._exhausted_at, now) if exhausted else math.inf

    def note(self, absent: int, now: float) -> None:
        """Take in one look at what is absent."""
        if self._absent & ~absent:
            self._came_at = now
        new = absent & ~self._absent if self._absent >= 0 else absent
        self._absent = absent
        self._long &= absent
        self._lately = deque((since, pieces & absent) for since, pieces in self._lately)
        self._lately.append((now, new))
        while self._lately and now - self._lately[0][0] >= self._missing_s:
            self._long |= self._lately.popleft()[1]

    def is_long_absent(self, piece: int) -> bool:
        """Whether *piece* may have been asked for by number."""
        return bool(self._long >> piece & 1)

    def missing(self, now: float, taken: int) -> tuple[int, ...]:
        """The first pieces to be asked for by number, at most ``MISSING_MAX``.

        Of *taken*, pieces whose carrier brings none, those that are absent for long.  Of the others
        none while pieces still come near: these are on their way as well.
        """
        patience_at = now - self._missing_s
        lost = self._exhausted_at <= patience_at and self._came_at <= patience_at
        among = self._long if lost else self._long & taken
        return tuple(piece for piece, _ in zip(rising(among), range(MISSING_MAX), strict=False))
