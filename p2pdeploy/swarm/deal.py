"""The dealer: which piece leaves the origin next, and to whom (pure core).

One :class:`Dealer` serves one (release, cell).

* Each piece leaves the origin once.  It is *dealt* to one host, *held* once that host reports it,
  *planted* once two hosts do (or the cell's only live host does).
* A deal that is not confirmed in time is dealt again: 4 x what the host's deals take, at least 2 s.
* A holder that falls silent before its piece is planted: the piece is dealt again.
* Where there are groups, a host draws the stripes that it carries; those that nobody has asked for
  lately go to whoever asks.
* A host that names a missing piece gets a holder's name first and the bytes when that did not help.
* The state is soft.  It is rebuilt from the hosts' bitmaps, which come with every request.
* Pieces go out in number order, those dealt least often first: a replay gives the same deals.
  Small ones go out several at a time.
* A few deals are on their way at once; who comes later waits for its turn (:mod:`.turns`).

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
    DEAL_PIECES_MAX,
    MISSING_MAX,
    PIECES_MAX,
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    DealtPiece,
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
from p2pdeploy.swarm.piece_queue import Claims, PieceQueue
from p2pdeploy.swarm.stripes import stripe_of
from p2pdeploy.swarm.turns import Turns

__all__ = ["Dealer"]


class _Host:
    """What one host told.  Silence ends ``live``; a completed host is believed without words."""

    __slots__ = ("completed", "heard_at", "hinted", "last_deal_s", "live")

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.last_deal_s = 0.0  # what its last deal took; 0 before one was confirmed
        self.live = True
        self.completed = False
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
        self._turns = Turns(deal_s=self._config.deal_s, stale_s=self._config.turn_s)
        self._claims = Claims()
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
            self._turns.leave(request.host)
            return AllDealt()
        if request.paused:
            self._turns.leave(request.host)
            return WaitDeal(retry_after_s=WAIT_MAX_S)
        if now - self._first_heard_at < self._config.settle_s:
            return WaitDeal(retry_after_s=max(WAIT_MIN_S, self._config.settle_s / 4))
        if self._in_flight.open_of(request.host) >= self._config.deals_in_flight:
            self._turns.leave(request.host)  # else it would be due, again and again, in vain
            return WaitDeal(retry_after_s=WAIT_MIN_S)
        return (
            self._answer_missing(request, host, now)
            or self._deal_next(request, host, now)
            or self._nothing_left(request.host, now)
        )

    def take_gaps(self, host: HostName, piece: int) -> bool:
        """Whether *host* may have the gaps of *piece*: it is on its way to it; once a deal."""
        return self._in_flight.take_gaps(piece, host)

    def due(self) -> list[HostName]:
        """The hosts that were told to wait and whose turn it is now, those waiting longest first.

        Whoever holds their requests asks again for them.
        """
        return self._turns.due(self._in_flight.open_deals)

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
        if request.fresh:
            self._end_deals(request.host)
            change = self._holdings.replace(request.host, have)
        else:
            change = self._holdings.add(request.host, have)
        for piece in change.gained:
            host.hinted.pop(piece, None)
            self._confirm(piece, now)
        self._queue.push(change.orphaned)
        for piece in request.dropped:
            if self._in_flight.is_with(piece, request.host):
                self._end_deal(piece)

    def _confirm(self, piece: int, now: float) -> None:
        """Somebody has *piece*, by whichever way it came."""
        open_deals = self._in_flight.open_deals
        deal = self._in_flight.end(piece)
        if deal is not None and not deal.pieces:
            took_s = now - deal.begun_at
            self._hosts[deal.host].last_deal_s = took_s
            self._turns.note_confirmed(took_s, open_deals)

    def _end_expired(self, now: float) -> None:
        while pieces := self._in_flight.next_expired(now):
            for piece in pieces:
                self._end_deal(piece)

    def _end_deal(self, piece: int) -> None:
        deal = self._in_flight.end(piece)
        assert deal is not None, "only deals in flight end"
        if not self._holdings.count(piece):
            self._queue.push((piece,))

    def _end_deals(self, name: HostName) -> None:
        for piece in self._in_flight.pieces_of(name):
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
        self._end_deals(name)
        self._turns.leave(name)
        self._queue.push(self._holdings.replace(name, 0).orphaned)

    def _answer_missing(self, request: DealRequest, host: _Host, now: float) -> DealReply | None:
        for piece in request.missing:
            if self._holdings.has(request.host, piece) or piece in self._in_flight:
                continue  # the latter is on its way to somebody; its deal ends or is confirmed
            if self._queue.is_new(piece) and not request.stripes >> stripe_of(piece) & 1:
                continue  # its carriers will draw it
            hinted_at = host.hinted.get(piece)
            if hinted_at is not None and now - hinted_at < self._config.hint_s:
                continue
            holder = None if hinted_at is not None else self._holder(piece)
            if holder is None:
                host.hinted.pop(piece, None)
                return self._deal(request.host, host, [piece], now)
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

    def _deal_next(self, request: DealRequest, host: _Host, now: float) -> Deal | WaitDeal | None:
        if not self._turns.take(request.host, self._in_flight.open_deals, now):
            return WaitDeal(retry_after_s=WAIT_MAX_S)
        self._claims.note(request.stripes, now)
        unclaimed = self._claims.unclaimed(now, self._config.unclaimed_s)
        pieces = self._next_pieces(host, request.stripes) or self._next_pieces(host, unclaimed)
        return self._deal(request.host, host, pieces, now) if pieces else None

    def _next_pieces(self, host: _Host, stripes: int) -> list[int]:
        """Of *stripes*: one to who was dealt none yet, later several, fewer when few are left."""
        pieces: list[int] = []
        room_bytes = self._config.room_bytes(host.last_deal_s)
        count_max = min(DEAL_PIECES_MAX, max(1, len(self._queue) // self._turns.at_once))
        if not host.last_deal_s:
            count_max = 1
        while len(pieces) < count_max and (piece := self._queue.pop(stripes)) is not None:
            if piece in self._in_flight or not self._holdings.is_dealable(piece):
                continue
            if pieces and self._sizes[piece] > room_bytes:
                self._queue.push((piece,))
                break
            pieces.append(piece)
            room_bytes -= self._sizes[piece]
        return pieces

    def _deal(self, name: HostName, host: _Host, pieces: list[int], now: float) -> Deal:
        expires_at = now + self._config.timeout_s(host.last_deal_s)
        self._in_flight.begin(pieces, name, now, expires_at)
        for piece in pieces:
            self._queue.count_deal(piece)
            self._dealt_bytes += self._sizes[piece]
        self._deals += len(pieces)
        return Deal(pieces=tuple(DealtPiece(piece, self._sizes[piece]) for piece in pieces))

    def _nothing_left(self, name: HostName, now: float) -> WaitDeal | AllDealt:
        alone = not any(host.live and other != name for other, host in self._hosts.items())
        placed = self._holdings.planted_count == len(self._sizes) or (
            alone and self._holdings.held_count == len(self._sizes)
        )
        if placed and not self._in_flight:
            return AllDealt()
        expires_at = self._in_flight.first_expiry()
        until_s = WAIT_MAX_S if expires_at is None else expires_at - now
        return WaitDeal(
            retry_after_s=min(max(until_s, WAIT_MIN_S), WAIT_MAX_S), exhausted=not len(self._queue)
        )
