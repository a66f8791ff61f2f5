"""Deals on their way: to whom, and until when they are waited for (pure)."""

from __future__ import annotations

import heapq

import msgspec

from p2pdeploy.ids import HostName

__all__ = ["InFlight"]


class _Deal(msgspec.Struct, frozen=True):
    host: HostName
    expires_at: float


class InFlight:
    """At most one deal of each piece."""

    def __init__(self) -> None:
        self._deals: dict[int, _Deal] = {}
        self._expiries: list[tuple[float, int]] = []  # heap; entries of ended deals are skipped

    def __len__(self) -> int:
        return len(self._deals)

    def __contains__(self, piece: int) -> bool:
        return piece in self._deals

    def begin(self, piece: int, host: HostName, expires_at: float) -> None:
        """*piece* goes to *host*, which has until *expires_at* to report it."""
        self._deals[piece] = _Deal(host, expires_at)
        heapq.heappush(self._expiries, (expires_at, piece))

    def end(self, piece: int) -> HostName | None:
        """Wait for *piece* no more; returns to whom it was dealt, None if to nobody."""
        deal = self._deals.pop(piece, None)
        return None if deal is None else deal.host

    def next_expired(self, now: float) -> int | None:
        """A piece whose time is over, the oldest first; each is told once, and to be ended."""
        while self._expiries and self._expiries[0][0] <= now:
            expires_at, piece = heapq.heappop(self._expiries)
            deal = self._deals.get(piece)
            if deal is not None and deal.expires_at == expires_at:
                return piece
        return None

    def first_expiry(self) -> float | None:
        """When the next deal expires; None when none is in flight.

        A piece that was dealt again may make this too early, never too late.
        """
        while self._expiries and self._expiries[0][1] not in self._deals:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None
