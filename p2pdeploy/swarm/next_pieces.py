"""Which pieces a host is dealt when its turn comes (pure core).

First new ones of the stripes that it carries, then those of stripes that nobody has asked for
lately, then what other cells have and do not bring to its own (:mod:`.crossings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from p2pdeploy.ids import CellId
from p2pdeploy.messages.deal import DEAL_PIECES_MAX
from p2pdeploy.swarm.crossings import Crossings
from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.heard_hosts import HeardHost
from p2pdeploy.swarm.holdings import rising, without
from p2pdeploy.swarm.piece_book import PieceBook
from p2pdeploy.swarm.piece_queue import Claims
from p2pdeploy.swarm.stripes import key_of

__all__ = ["NextPieces", "Wanted"]


class Wanted(NamedTuple):
    """Pieces for a host, the next one first, and of how many there it is one; read few of them."""

    pieces: Iterator[int]
    left: int


class NextPieces:
    """Chooses; changes nothing but its memory of who asked for which stripe.

    Args:
        sizes: Bytes of each piece.
        config: How time is judged.
        book: Where the pieces are.
        crossings: What comes into each cell from others.
    """

    def __init__(
        self, sizes: Sequence[int], config: DealConfig, book: PieceBook, crossings: Crossings
    ) -> None:
        self._sizes = sizes
        self._config = config
        self._book = book
        self._crossings = crossings
        self._claims = Claims()

    def find(self, stripes: int, host: HeardHost, now: float, timeout_s: float) -> Wanted | None:
        """What there is for a host that carries *stripes*.

        Args:
            stripes: One bit each.
            host: It.
            now: Monotonic seconds.
            timeout_s: What it would have for a deal.
        """
        self._claims.note(stripes, now)
        free = self._book.free
        if not free.has_some(stripes):
            stripes = self._claims.unclaimed(now, self._config.unclaimed_s)
        if free.has_some(stripes):
            return Wanted(free.first(stripes), len(free))
        lacked = self._not_crossing(host.cell, now, max(self._config.cut_off_s, timeout_s))
        return Wanted(self._in_turn(host.cell, lacked), lacked.bit_count()) if lacked else None

    def fit(self, wanted: Wanted, host: HeardHost, at_once: int) -> list[int]:
        """One to who was dealt none yet, later several small ones, fewer when few are left.

        Args:
            wanted: At least one.
            host: Whose they are to be.
            at_once: How many deals may be on their way.
        """
        pieces: list[int] = []
        room_bytes = host.room_bytes
        count_max = min(DEAL_PIECES_MAX, max(1, wanted.left // at_once))
        for piece in wanted.pieces:
            if pieces and self._sizes[piece] > room_bytes:
                break
            pieces.append(piece)
            room_bytes -= self._sizes[piece]
            if len(pieces) == count_max or not host.last_deal_s:
                break
        return pieces

    def _not_crossing(self, cell: CellId, now: float, patience_s: float) -> int:
        lacked = self._crossings.cut_off(cell, self._book.holdings.held, now, patience_s)
        return without(lacked, self._book.in_flight.bits)

    def _in_turn(self, cell: CellId, pieces: int) -> Iterator[int]:
        """Each cell begins at another piece.

        If several are cut off, they soon have different ones, and exchange these.
        """
        first = key_of(cell) % len(self._sizes)
        below = pieces & ((1 << first) - 1)
        return chain(rising(pieces ^ below), rising(below))
