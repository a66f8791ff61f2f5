"""The dealer: which piece leaves the origin next, and to whom (pure core).

One :class:`Dealer` serves one (release, cell).

* Each piece leaves the origin once.  It is *dealt* to one host, *held* once that host reports it,
  *planted* once two hosts do (or the cell's only live host does).
* A deal that is not confirmed in time is dealt again: 4 x what the host's deals take, at least 2 s.
* A holder that falls silent before its piece is planted: the piece is dealt again.
* A host that names a missing piece gets a holder's name first and the bytes when that did not help.
* The state is soft.  It is rebuilt from the hosts' bitmaps, which come with every request.
* Pieces go out in number order, those dealt least often first: a replay gives the same deals.

One request costs O(changed pieces) apart from two operations on bitmaps.
Deliberately elsewhere: reading the bytes (the origin), verifying them (the host), and which piece
a host asks a neighbour for (libtorrent's rarest-first).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.deal import (
    MISSING_MAX,
    PIECES_MAX,
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    HolderHint,
    WaitDeal,
)
from p2pdeploy.swarm.deal_terms import (
    WAIT_MAX_S,
    WAIT_MIN_S,
    DealConfig,
    DealStatistics,
    check_request,
)
from p2pdeploy.swarm.holdings import Holdings
from p2pdeploy.swarm.in_flight import InFlight
from p2pdeploy.swarm.piece_queue import PieceQueue

__all__ = ["Dealer"]


class _Host:
    """What one host told.  Silence ends ``live``; a completed host is believed without words."""

    __slots__ = ("completed", "heard_at", "hinted", "in_flight", "last_deal_s", "live")

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.last_deal_s = 0.0
        self.live = True
        self.completed = False
        self.in_flight: set[int] = set()
        self.hinted: dict[int, float] = {}  # piece -> when; at most MISSING_MAX entries


class Dealer:
    """Deal the pieces of one release to the hosts of one cell.

    Args:
        piece_sizes: Bytes of each piece; its length is the piece count, 1 to ``PIECES_MAX``.
        config: Limits on time and on deals in flight.
    """

    def __init__(self, piece_sizes: Sequence[int], config: DealConfig | None = None) -> None:
        assert 0 < len(piece_sizes) <= PIECES_MAX
        self._sizes = array("I", piece_sizes)
        self._config = config or DealConfig()
        self._holdings = Holdings(len(piece_sizes))
        self._hosts: dict[HostName, _Host] = {}
        self._in_flight = InFlight()
        self._queue = PieceQueue(len(piece_sizes))
        self._first_heard_at = self._heard_at = self._swept_at = -1.0
        self._sweep_not_before = 0.0
        self._deals = self._dealt_bytes = self._hints = 0

    def __repr__(self) -> str:
        seen = self.statistics()
        return (
            f"<Dealer planted {seen.planted}/{seen.pieces} deals {seen.deals} hosts {seen.hosts}>"
        )

    def handle(self, request: DealRequest, now: float) -> DealReply:
        """Take in what the host has and decide what it gets.

        Args:
            request: Already authenticated; its names are trusted, its bitmap is checked here.
            now: Monotonic seconds.

        Returns:
            ``Deal`` (send the bytes), ``HolderHint``, ``WaitDeal`` or ``AllDealt``.

        Raises:
            ProtocolError: bitmap or numbers do not fit this release; nothing was changed.
            UnavailableError: the table of hosts is full of live ones; answer 503.
        """
        have = check_request(request, len(self._sizes))
        self._note_gap(now)
        host = self._admit(request.host, now)
        self._take_in(request, host, have, now)
        self._end_expired(now)
        self._end_silent(now)
        if host.completed:
            return AllDealt()
        if now - self._first_heard_at < self._config.settle_s:
            return WaitDeal(retry_after_s=max(WAIT_MIN_S, self._config.settle_s / 4))
        if len(host.in_flight) >= self._config.deals_in_flight:
            return WaitDeal(retry_after_s=WAIT_MIN_S)
        return (
            self._answer_missing(request, host, now)
            or self._deal_next(request.host, host, now)
            or self._nothing_left(request.host, now)
        )

    def statistics(self) -> DealStatistics:
        """A snapshot for the reporter; costs O(hosts)."""
        return DealStatistics(
            pieces=len(self._sizes),
            planted=self._holdings.planted_count,
            held=self._holdings.held_count,
            in_flight=len(self._in_flight),
            deals=self._deals,
            redeals=self._deals - self._queue.dealt_once(),
            dealt_bytes=self._dealt_bytes,
            hints=self._hints,
            hosts=len(self._hosts),
            hosts_completed=sum(1 for host in self._hosts.values() if host.completed),
        )

    def _note_gap(self, now: float) -> None:
        """When everybody was silent the dealer was cut off, not they: judge nobody for a while."""
        if self._first_heard_at < 0:
            self._first_heard_at = now
        elif now - self._heard_at > self._config.silent_s / 2:
            self._sweep_not_before = now + self._config.silent_s
        self._heard_at = now

    def _admit(self, name: HostName, now: float) -> _Host:
        host = self._hosts.get(name)
        if host is not None:
            return host
        if len(self._hosts) >= CELL_HOSTS_MAX:
            oldest = min(self._hosts, key=lambda known: self._hosts[known].heard_at)
            if now - self._hosts[oldest].heard_at <= self._config.silent_s:
                raise UnavailableError(f"{CELL_HOSTS_MAX} hosts draw already", code="cell-full")
            self._lose(oldest)
            del self._hosts[oldest]
        host = self._hosts[name] = _Host()
        return host

    def _take_in(self, request: DealRequest, host: _Host, have: int, now: float) -> None:
        host.heard_at, host.live = now, True
        host.completed = request.completed
        host.last_deal_s = request.last_deal_s
        if request.fresh:
            self._end_deals(host)
            change = self._holdings.replace(request.host, have)
        else:
            change = self._holdings.add(request.host, have)
        for piece in change.gained:
            host.hinted.pop(piece, None)
            dealt_to = self._in_flight.end(piece)  # confirmed, by whichever way it came
            if dealt_to is not None:
                self._hosts[dealt_to].in_flight.discard(piece)
        self._queue.push(change.orphaned)
        for piece in request.dropped:
            if piece in host.in_flight:
                self._end_deal(piece)

    def _end_expired(self, now: float) -> None:
        while (piece := self._in_flight.next_expired(now)) is not None:
            self._end_deal(piece)

    def _end_deal(self, piece: int) -> None:
        dealt_to = self._in_flight.end(piece)
        assert dealt_to is not None, "only deals in flight end"
        self._hosts[dealt_to].in_flight.discard(piece)
        if not self._holdings.count(piece):
            self._queue.push((piece,))

    def _end_deals(self, host: _Host) -> None:
        for piece in sorted(host.in_flight):
            self._end_deal(piece)

    def _end_silent(self, now: float) -> None:
        """Once a second: what only silent hosts hold is nobody's."""
        if now - self._swept_at < 1.0 or now < self._sweep_not_before:
            return
        self._swept_at = now
        for name, host in self._hosts.items():
            if host.live and not host.completed and now - host.heard_at > self._config.silent_s:
                host.live = False
                self._lose(name)

    def _lose(self, name: HostName) -> None:
        self._end_deals(self._hosts[name])
        self._queue.push(self._holdings.replace(name, 0).orphaned)

    def _answer_missing(self, request: DealRequest, host: _Host, now: float) -> DealReply | None:
        for piece in request.missing:
            if self._holdings.has(request.host, piece) or piece in self._in_flight:
                continue  # the latter is on its way to somebody; its deal ends or is confirmed
            hinted_at = host.hinted.get(piece)
            if hinted_at is not None and now - hinted_at < self._config.hint_s:
                continue
            holder = None if hinted_at is not None else self._holder(piece)
            if holder is None:
                host.hinted.pop(piece, None)
                return self._deal(request.host, host, piece, now)
            if len(host.hinted) >= MISSING_MAX:
                del host.hinted[next(iter(host.hinted))]
            host.hinted[piece] = now
            self._hints += 1
            return HolderHint(piece=piece, host=holder)
        return None

    def _holder(self, piece: int) -> HostName | None:
        """A host that has *piece*; hints rotate, so that no single holder gets the whole cell."""
        holders = sorted(
            name
            for name, host in self._hosts.items()
            if host.live and self._holdings.has(name, piece)
        )
        return holders[self._hints % len(holders)] if holders else None

    def _deal_next(self, name: HostName, host: _Host, now: float) -> Deal | None:
        while (piece := self._queue.pop()) is not None:
            if piece not in self._in_flight and self._holdings.is_dealable(piece):
                return self._deal(name, host, piece, now)
        return None

    def _deal(self, name: HostName, host: _Host, piece: int, now: float) -> Deal:
        self._in_flight.begin(piece, name, now + self._config.timeout_s(host.last_deal_s))
        host.in_flight.add(piece)
        self._queue.count_deal(piece)
        self._deals += 1
        self._dealt_bytes += self._sizes[piece]
        return Deal(piece=piece, size_bytes=self._sizes[piece])

    def _nothing_left(self, name: HostName, now: float) -> WaitDeal | AllDealt:
        alone = not any(host.live and other != name for other, host in self._hosts.items())
        placed = self._holdings.planted_count == len(self._sizes) or (
            alone and self._holdings.held_count == len(self._sizes)
        )
        if placed and not self._in_flight:
            return AllDealt()
        expires_at = self._in_flight.first_expiry()
        until_s = WAIT_MAX_S if expires_at is None else expires_at - now
        return WaitDeal(retry_after_s=min(max(until_s, WAIT_MIN_S), WAIT_MAX_S))
