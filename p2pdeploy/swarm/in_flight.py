"""Deals on their way: to whom, until when they are waited for, and how long each holds a turn.

Pure.  A deal *holds a turn* until its bytes have left the origin; one that takes far longer for
that than others do is still waited for, but keeps nobody waiting any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from p2pdeploy.ids import HostName

__all__ = ["InFlight", "Underway"]


class Underway:
    """One deal: the pieces of it that are not confirmed yet."""

    __slots__ = ("begun_at", "count", "expires_at", "filled", "holds_turn", "host", "pieces")

    def __init__(
        self, host: HostName, pieces: Sequence[int], begun_at: float, expires_at: float
    ) -> None:
        self.host = host
        self.pieces = set(pieces)
        self.count = len(pieces)  # at first
        self.begun_at = begun_at
        self.expires_at = expires_at
        self.filled: set[int] = set()  # pieces whose gaps were sent
        self.holds_turn = True


# Heaps of (when, a number so that no two entries compare equal, deal); entries of deals that are
# over are skipped.
_Heap = list[tuple[float, int, Underway]]


class InFlight:
    """Each piece is in one deal at most.

    ``bits``: the pieces on their way, as a bitset.  ``turns_held``: how many deals hold a turn.
    """

    def __init__(self) -> None:
        self._deals: dict[int, Underway] = {}
        self._of_host: dict[HostName, dict[Underway, None]] = {}
        self._expiries: _Heap = []
        self._turn_ends: _Heap = []
        self._begun = 0
        self.bits = 0
        self.turns_held = 0

    def __len__(self) -> int:
        """How many pieces are on their way."""
        return len(self._deals)

    def __contains__(self, piece: int) -> bool:
        return piece in self._deals

    def open_of(self, host: HostName) -> int:
        """How many deals are on their way to *host*."""
        return len(self._of_host.get(host, ()))

    def pieces_of(self, host: HostName) -> list[int]:
        """What is on its way to *host*, in number order."""
        return sorted(piece for deal in self._of_host.get(host, ()) for piece in deal.pieces)

    def host_of(self, piece: int) -> HostName:
        """Whom *piece*, one of ``bits``, is on its way to."""
        return self._deals[piece].host

    def is_with(self, piece: int, host: HostName) -> bool:
        """Whether *piece* is on its way to *host*."""
        return piece in self._deals and self._deals[piece].host == host

    def take_gaps(self, piece: int, host: HostName) -> bool:
        """Whether the gaps of *piece* may be sent to *host*; not a second time in one deal."""
        if not self.is_with(piece, host) or piece in self._deals[piece].filled:
            return False
        self._deals[piece].filled.add(piece)
        return True

    def begin(
        self, pieces: Sequence[int], host: HostName, now: float, expires_at: float, turn_s: float
    ) -> None:
        """*pieces* go to *host*, which has until *expires_at* to report them.

        The deal holds a turn for *turn_s* at most.
        """
        deal = Underway(host, pieces, now, expires_at)
        for piece in pieces:
            self.end(piece)
            self._deals[piece] = deal
            self.bits |= 1 << piece
        self._of_host.setdefault(host, {})[deal] = None
        self.turns_held += 1
        self._begun += 1
        heapq.heappush(self._expiries, (expires_at, self._begun, deal))
        heapq.heappush(self._turn_ends, (now + turn_s, self._begun, deal))

    def end(self, piece: int) -> Underway | None:
        """Wait for *piece* no more; returns its deal, over when it has no more pieces."""
        deal = self._deals.pop(piece, None)
        if deal is None:
            return None
        self.bits ^= 1 << piece
        deal.pieces.discard(piece)
        if not deal.pieces:
            self.turns_held -= deal.holds_turn
            deals = self._of_host[deal.host]
            del deals[deal]
            if not deals:
                del self._of_host[deal.host]
        return deal

    def note_left(self, piece: int, host: HostName) -> Underway | None:
        """The bytes of *piece*'s deal to *host* have left; None if it holds no turn any more."""
        deal = self._deals.get(piece)
        if deal is None or deal.host != host or not deal.holds_turn:
            return None
        deal.holds_turn = False
        self.turns_held -= 1
        return deal

    def end_turns(self, now: float) -> None:
        """Deals that have held a turn for as long as they may hold it no more."""
        while self._turn_ends and self._turn_ends[0][0] <= now:
            _, _, deal = heapq.heappop(self._turn_ends)
            if deal.pieces and deal.holds_turn:
                deal.holds_turn = False
                self.turns_held -= 1

    def next_expired(self, now: float) -> Underway | None:
        """A deal whose time is over, the oldest first; its pieces are to be ended."""
        while self._expiries and self._expiries[0][0] <= now:
            _, _, deal = heapq.heappop(self._expiries)
            if deal.pieces:
                return deal
        return None

    def first_expiry(self) -> float | None:
        """When the next deal expires; None when none is on its way."""
        while self._expiries and not self._expiries[0][2].pieces:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None
