"""Where the pieces of a release are: free to leave, on their way, held, planted (pure core).

A piece is *free* while nobody has it and it is on its way to nobody; a planted one is never free
again.  Each method keeps that true; which piece goes to whom is decided elsewhere
(:mod:`.deal`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p2pdeploy.ids import HostName
from p2pdeploy.swarm.holdings import Holdings, bits_of, without
from p2pdeploy.swarm.in_flight import InFlight, Underway
from p2pdeploy.swarm.piece_queue import PieceQueue

__all__ = ["PieceBook"]


class PieceBook:
    """The pieces of one release, 0 to *piece_count* - 1, at first all free.

    ``free``, ``in_flight`` and ``holdings`` are to be read; what changes them stands here.
    """

    def __init__(self, piece_count: int) -> None:
        self.piece_count = piece_count
        self.free = PieceQueue(piece_count)
        self.in_flight = InFlight()
        self.holdings = Holdings()

    def report(
        self, name: HostName, have: int, is_near: Callable[[HostName], bool]
    ) -> tuple[int, list[Underway]]:
        """*name* has the pieces of a bitset, besides those it reported before.

        Args:
            name: The host.
            have: The bitset.
            is_near: Says of a host whether it is in the same cell: only then its deals are over by
                what *name* has.

        Returns:
            Those it had not reported, and the deals that are over by them, whoever's they were.
        """
        gained = self.holdings.add(name, have).gained
        if not gained:
            return 0, []
        self.free.withdraw(gained)
        under_way = bits_of(gained & self.in_flight.bits)
        near = [piece for piece in under_way if is_near(self.in_flight.host_of(piece))]
        ended = (self.in_flight.end(piece) for piece in near)
        return gained, [deal for deal in ended if deal is not None and not deal.pieces]

    def takes_back(self, name: HostName, have: int) -> bool:
        """Whether *name* would lose something by :meth:`begin_afresh`."""
        return bool(self.in_flight.open_of(name)) or self.holdings.takes_back(name, have)

    def begin_afresh(self, name: HostName, have: int) -> None:
        """Only the pieces of a bitset still count of *name*; nothing is on its way to it."""
        self._end(self.in_flight.pieces_of(name))
        kept = have & self.holdings.of(name)
        self._put_back(self.holdings.replace(name, kept).orphaned)

    def lose(self, name: HostName) -> None:
        """What only *name* has is nobody's."""
        self.begin_afresh(name, 0)

    def drop(self, name: HostName, pieces: Sequence[int]) -> None:
        """*name* cannot use what it was dealt of *pieces*."""
        self._end([piece for piece in pieces if self.in_flight.is_with(piece, name)])

    def expire(self, now: float) -> list[HostName]:
        """End the deals whose time is over; returns whose they were."""
        names: list[HostName] = []
        while deal := self.in_flight.next_expired(now):
            names.append(deal.host)
            self._end(sorted(deal.pieces))
        return names

    def send(
        self, pieces: Sequence[int], name: HostName, now: float, expires_at: float, turn_s: float
    ) -> None:
        """*pieces* leave for *name*, in one deal (:meth:`.InFlight.begin`)."""
        self.in_flight.begin(pieces, name, now, expires_at, turn_s)
        self.free.count_sent(sum(1 << piece for piece in pieces))

    def is_everywhere(self, *, alone: bool) -> bool:
        """Whether every piece is planted, or held by a host that is *alone*; none is on its way."""
        placed = self.holdings.planted.bit_count() == self.piece_count or (
            alone and self.holdings.held.bit_count() == self.piece_count
        )
        return placed and not self.in_flight

    def _end(self, pieces: Sequence[int]) -> None:
        for piece in pieces:
            self.in_flight.end(piece)
        self._put_back(sum(1 << piece for piece in pieces))

    def _put_back(self, pieces: int) -> None:
        if pieces:
            self.free.push(without(pieces, self.holdings.held | self.holdings.planted))
