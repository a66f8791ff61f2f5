"""Deals on their way: to whom, and until when they are waited for (pure)."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from p2pdeploy.ids import HostName

__all__ = ["InFlight", "Underway"]


class Underway:
    """One deal: the pieces of it that are not confirmed yet."""

    __slots__ = ("begun_at", "expires_at", "filled", "host", "pieces")

    def __init__(
        self, host: HostName, pieces: Sequence[int], begun_at: float, expires_at: float
    ) -> None:
        self.host = host
        self.pieces = set(pieces)
        self.begun_at = begun_at
        self.expires_at = expires_at
        self.filled: set[int] = set()  # pieces whose gaps were sent


class InFlight:
    """Each piece is in one deal at most."""

    def __init__(self) -> None:
        self._deals: dict[int, Underway] = {}
        self._open: Counter[HostName] = Counter()
        # A heap; entries of deals that are over are skipped.
        self._expiries: list[tuple[float, int, Underway]] = []
        self._begun = 0  # so that no two entries compare equal
        self.open_deals = 0

    def __len__(self) -> int:
        """How many pieces are on their way."""
        return len(self._deals)

    def __contains__(self, piece: int) -> bool:
        return piece in self._deals

    def open_of(self, host: HostName) -> int:
        """How many deals are on their way to *host*."""
        return self._open[host]

    def pieces_of(self, host: HostName) -> list[int]:
        """What is on its way to *host*, in number order; costs O(pieces on their way)."""
        return sorted(piece for piece, deal in self._deals.items() if deal.host == host)

    def is_with(self, piece: int, host: HostName) -> bool:
        """Whether *piece* is on its way to *host*."""
        return piece in self._deals and self._deals[piece].host == host

    def take_gaps(self, piece: int, host: HostName) -> bool:
        """Whether the gaps of *piece* may be sent to *host*; not a second time in one deal."""
        if not self.is_with(piece, host) or piece in self._deals[piece].filled:
            return False
        self._deals[piece].filled.add(piece)
        return True

    def begin(self, pieces: Sequence[int], host: HostName, now: float, expires_at: float) -> None:
        """*pieces* go to *host*, which has until *expires_at* to report them."""
        deal = Underway(host, pieces, now, expires_at)
        for piece in pieces:
            self.end(piece)
            self._deals[piece] = deal
        self._open[host] += 1
        self.open_deals += 1
        self._begun += 1
        heapq.heappush(self._expiries, (expires_at, self._begun, deal))

    def end(self, piece: int) -> Underway | None:
        """Wait for *piece* no more; returns its deal, over when it has no more pieces."""
        deal = self._deals.pop(piece, None)
        if deal is None:
            return None
        deal.pieces.discard(piece)
        if not deal.pieces:
            self.open_deals -= 1
            self._open[deal.host] -= 1
            if not self._open[deal.host]:
                del self._open[deal.host]
        return deal

    def next_expired(self, now: float) -> list[int]:
        """The pieces of a deal whose time is over, the oldest first; they are to be ended."""
        while self._expiries and self._expiries[0][0] <= now:
            _, _, deal = heapq.heappop(self._expiries)
            if deal.pieces:
                return sorted(deal.pieces)
        return []

    def first_expiry(self) -> float | None:
        """When the next deal expires; None when none is on its way."""
        while self._expiries and not self._expiries[0][2].pieces:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None
