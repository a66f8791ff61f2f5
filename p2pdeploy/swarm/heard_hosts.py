"""The hosts that a dealer has heard: who is live, who has everything, who fell silent (pure).

A host that has everything is believed without words; any other that says nothing for ``silent_s``
does not count until it speaks again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from itertools import chain, islice

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.deal import MISSING_MAX
from p2pdeploy.swarm.deal_terms import TAKE_BACKS_MAX

__all__ = ["DEALER_HOSTS_MAX", "HeardHost", "HeardHosts"]

DEALER_HOSTS_MAX = 8_000  # of all cells; 8 MiB of bitmaps at 8,000 pieces, 250 at the most

SWEEP_EVERY_S = 1.0


class HeardHost:
    """What one host told.

    ``late``: its last deal timed out, or the one before that and none was confirmed since.
    """

    __slots__ = (
        "_hinted",
        "_take_backs",
        "_take_backs_at",
        "cell",
        "completed",
        "heard_at",
        "last_deal_s",
        "late",
        "live",
        "room_bytes",
    )

    def __init__(self, cell: CellId) -> None:
        self.cell = cell
        self.heard_at = 0.0
        self.last_deal_s = 0.0  # what its last deal took; 0 before one was confirmed
        self.room_bytes = 0  # what its next deal may bring; 0: one piece
        self.live = True
        self.late = False
        self.completed = False
        self._hinted: dict[int, float] = {}  # piece -> when; at most MISSING_MAX entries
        self._take_backs = float(TAKE_BACKS_MAX)
        self._take_backs_at = 0.0

    def hinted_at(self, piece: int) -> float | None:
        """When it was told who has *piece*."""
        return self._hinted.get(piece)

    def note_hint(self, piece: int, now: float) -> None:
        if len(self._hinted) >= MISSING_MAX:
            del self._hinted[next(iter(self._hinted))]
        self._hinted[piece] = now

    def forget_hint(self, piece: int) -> None:
        self._hinted.pop(piece, None)

    def forget_hints_of(self, pieces: int) -> None:
        """It has those of a bitset now."""
        for piece in [piece for piece in self._hinted if pieces >> piece & 1]:
            del self._hinted[piece]

    def may_take_back(self, every_s: float, now: float) -> bool:
        """Whether it may take back what it reported; counts as done if so."""
        earned = (now - self._take_backs_at) / every_s
        self._take_backs = min(self._take_backs + earned, TAKE_BACKS_MAX)
        self._take_backs_at = now
        if self._take_backs < 1:
            return False
        self._take_backs -= 1
        return True


class HeardHosts:
    """All of them, at most ``DEALER_HOSTS_MAX``.

    Args:
        silent_s: After so long without a word a host does not count.
    """

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        self._hosts: dict[HostName, HeardHost] = {}
        self._first_heard_at = self._heard_at = self._swept_at = -1.0
        self._sweep_not_before = 0.0

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[HeardHost]:
        return iter(self._hosts.values())

    def get(self, name: HostName) -> HeardHost | None:
        return self._hosts.get(name)

    def admit(
        self, name: HostName, cell: CellId, now: float
    ) -> tuple[HeardHost, tuple[HostName, HeardHost] | None]:
        """The host of *cell* that speaks, and who was dropped to make room for it.

        Raises:
            UnavailableError: the table is full of hosts that were heard lately.
        """
        self._note_gap(now)
        host = self._hosts.get(name)
        if host is not None:
            return host, None
        dropped = self._make_room(now) if len(self._hosts) >= DEALER_HOSTS_MAX else None
        host = self._hosts[name] = HeardHost(cell)
        return host, dropped

    def heard_for_s(self, now: float) -> float:
        """How long ago the first request came."""
        return now - self._first_heard_at

    def fall_silent(self, now: float) -> list[HostName]:
        """Once a second: those that count no more from now on."""
        if now - self._swept_at < SWEEP_EVERY_S or now < self._sweep_not_before:
            return []
        self._swept_at = now
        silent = [
            (name, host)
            for name, host in self._hosts.items()
            if host.live and not host.completed and now - host.heard_at > self._silent_s
        ]
        for _, host in silent:
            host.live = False
        return [name for name, _ in silent]

    def others_live(self, name: HostName) -> bool:
        """Whether somebody besides *name* counts."""
        return any(host.live and other != name for other, host in self._hosts.items())

    def names_in(self, cells: Container[CellId]) -> Iterator[tuple[HostName, CellId]]:
        """The hosts of *cells*."""
        return ((name, host.cell) for name, host in self._hosts.items() if host.cell in cells)

    def find_live(
        self, cell: CellId, start: int, has_it: Callable[[HostName], bool]
    ) -> HostName | None:
        """A live host of *cell* for which *has_it* holds, another one for another *start*."""
        begin = start % max(len(self._hosts), 1)
        names = chain(islice(self._hosts, begin, None), islice(self._hosts, begin))
        return next((name for name in names if self._is_live(name, cell) and has_it(name)), None)

    def _is_live(self, name: HostName, cell: CellId) -> bool:
        host = self._hosts[name]
        return host.live and host.cell == cell

    def _note_gap(self, now: float) -> None:
        """When everybody was silent the dealer was cut off, not they: judge nobody for a while."""
        if self._first_heard_at < 0:
            self._first_heard_at = now
        elif now - self._heard_at > self._silent_s / 2:
            self._sweep_not_before = now + self._silent_s
        self._heard_at = now

    def _make_room(self, now: float) -> tuple[HostName, HeardHost]:
        oldest = min(self._hosts, key=lambda known: self._hosts[known].heard_at)
        if now - self._hosts[oldest].heard_at <= self._silent_s:
            raise UnavailableError(f"{DEALER_HOSTS_MAX} hosts draw already", code="dealer-full")
        return oldest, self._hosts.pop(oldest)
