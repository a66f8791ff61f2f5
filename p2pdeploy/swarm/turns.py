"""Whose turn it is to be dealt to: first come, first served, and few at once (pure).

The origin has one uplink.  With all hosts of a cell drawing at the same time each piece would be
on its way for minutes, and all would arrive at the very end; with a few at a time the mesh has
them one after the other.  How few follows from how long the bytes of a deal need to leave: about
``deal_s``, which keeps any link full whose round trip is shorter than that.

A host *waits* while its request is held.  When that was answered, or its connection ended, the
host is *away*: it keeps its place for a while and keeps nobody waiting.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort

from p2pdeploy.ids import HostName

__all__ = ["Turns"]

AT_ONCE_FIRST = 8  # until it is known how long deals take
AT_ONCE_MIN = 4  # one that is stuck with a slow host must not matter; one host has half of them
STEP = 0.5  # on each deal that has left: on the way down every second one frees a place
AT_ONCE_MAX = 256  # of 16 MiB at most: 4 GiB, half a second of 64 Gbit/s


class Turns:
    """Hosts that wait, and how many deals may leave at once.

    Args:
        deal_s: How long the bytes of a deal should need to leave.
        away_s: How long the place of a host that is away is kept.
    """

    def __init__(self, *, deal_s: float, away_s: float) -> None:
        self._deal_s = deal_s
        self._away_s = away_s
        self._came = 0
        self._places: dict[HostName, int] = {}  # of who waits or is away, in order of coming
        self._waiting: list[tuple[int, HostName]] = []  # sorted by place
        self._away: dict[HostName, float] = {}  # since when; the longest away first
        self._target = float(AT_ONCE_FIRST)

    def __repr__(self) -> str:
        return f"<Turns {self.at_once} at once, {len(self._waiting)} hosts wait>"

    @property
    def at_once(self) -> int:
        """How many deals may be leaving."""
        return math.ceil(self._target)

    def note_left(self, took_s: float, turns_held: int) -> None:
        """The bytes of a deal took this long to leave, while *turns_held* did, it included."""
        if took_s > self._deal_s:
            self._target = max(self._target - STEP, AT_ONCE_MIN)
        elif turns_held >= self.at_once:  # else more would not have been used
            self._target = min(self._target + STEP, AT_ONCE_MAX)

    def take(self, host: HostName, turns_held: int, now: float) -> bool:
        """Whether it is the turn of *host*, which waits no more then; else it waits."""
        self._forget_away(now)
        place = self._place_of(host)
        ahead = bisect_left(self._waiting, (place, host))
        if ahead < self.at_once - turns_held:
            self.leave(host)
            return True
        self._away.pop(host, None)
        if not self._waits_at(ahead, host):
            insort(self._waiting, (place, host))
        return False

    def step_aside(self, host: HostName, now: float) -> None:
        """*host* waits no more, but may come back to its place soon."""
        if host in self._places and host not in self._away:
            del self._waiting[bisect_left(self._waiting, (self._places[host], host))]
            self._away[host] = now

    def leave(self, host: HostName) -> None:
        """*host* gives its place up."""
        place = self._places.pop(host, None)
        if place is not None and self._away.pop(host, None) is None:
            at = bisect_left(self._waiting, (place, host))
            if self._waits_at(at, host):  # else it has only just come
                del self._waiting[at]

    def due(self, turns_held: int) -> list[HostName]:
        """Those whose turn it is now: they are to ask again."""
        return [host for _, host in self._waiting[: max(0, self.at_once - turns_held)]]

    def _place_of(self, host: HostName) -> int:
        if host not in self._places:
            self._came += 1
            self._places[host] = self._came
        return self._places[host]

    def _waits_at(self, at: int, host: HostName) -> bool:
        return at < len(self._waiting) and self._waiting[at][1] == host

    def _forget_away(self, now: float) -> None:
        while self._away and now - next(iter(self._away.values())) > self._away_s:
            self.leave(next(iter(self._away)))
