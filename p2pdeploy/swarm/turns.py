"""Whose turn it is to be dealt to: first come, first served, and few at once (pure).

The origin has one uplink.  With all hosts of a cell drawing at the same time each piece would be
on its way for minutes, and all would arrive at the very end; with a few at a time the mesh has
them one after the other.  How few follows from how long deals take: about ``deal_s`` each, which
keeps any link full whose round trip is shorter than that.
"""

from __future__ import annotations

import math
from itertools import islice

from p2pdeploy.ids import HostName

__all__ = ["Turns"]

AT_ONCE_FIRST = 8  # until it is known how long deals take
AT_ONCE_MIN = 4  # one that is stuck with a slow host must not matter
STEP = 0.5  # on each confirmed deal: on the way down every second one frees a place
AT_ONCE_MAX = 256  # of 16 MiB at most: 4 GiB, half a second of 64 Gbit/s


class Turns:
    """Hosts that wait, and how many deals may be on their way at once.

    Args:
        deal_s: How long a deal should take.
        stale_s: Who has not asked for this long does not wait any more.
    """

    def __init__(self, *, deal_s: float, stale_s: float) -> None:
        self._deal_s = deal_s
        self._stale_s = stale_s
        self._waiting: dict[HostName, float] = {}  # who asked last when, the longest waiting first
        self._target = float(AT_ONCE_FIRST)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def at_once(self) -> int:
        """How many deals may be on their way."""
        return math.ceil(self._target)

    def note_confirmed(self, took_s: float, open_deals: int) -> None:
        """A deal took this long, while *open_deals* were on their way, it included."""
        if took_s > self._deal_s:
            self._target = max(self._target - STEP, AT_ONCE_MIN)
        elif open_deals >= self.at_once:  # else more would not have been used
            self._target = min(self._target + STEP, AT_ONCE_MAX)

    def take(self, host: HostName, open_deals: int, now: float) -> bool:
        """Whether it is the turn of *host*, which waits no more then; else it waits."""
        self._forget_stale(now)
        if self._is_among_first(host, self.at_once - open_deals):
            self._waiting.pop(host, None)
            return True
        self._waiting[host] = now
        return False

    def leave(self, host: HostName) -> None:
        """*host* needs nothing that is dealt."""
        self._waiting.pop(host, None)

    def due(self, open_deals: int) -> list[HostName]:
        """Those whose turn it is now: they are to ask again."""
        return list(islice(self._waiting, max(0, self.at_once - open_deals)))

    def _is_among_first(self, host: HostName, free: int) -> bool:
        return len(self._waiting) < free or host in islice(self._waiting, max(0, free))

    def _forget_stale(self, now: float) -> None:
        stale = [host for host, asked in self._waiting.items() if now - asked > self._stale_s]
        for host in stale:
            del self._waiting[host]
