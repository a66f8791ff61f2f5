"""The dealer: which piece leaves the origin next, and to whom (pure core).

One :class:`Dealer` serves one release and all cells that exchange its pieces with each other.

* Each piece leaves the origin once.  It is *dealt* to one host, *held* once that host reports it,
  *planted* once two hosts do (or the only live host does).
* A deal that is not confirmed in time is dealt again: 4 x what the host's deals take, at least 2 s.
* A holder that falls silent before its piece is planted: the piece is dealt again.
* Where there are groups, a host draws the stripes that it carries; those that nobody has asked for
  lately go to whoever asks.
* A host that names a missing piece gets a holder's name first and the bytes when that did not help.
* What only other cells hold comes over the trunk, and when it does not, from the origin after a
  while (:mod:`.crossings`).
* The state is soft.  It is rebuilt from the hosts' bitmaps, which come with every request.
* Pieces go out in number order, those dealt least often first: a replay gives the same deals.
  Small ones go out several at a time.
* A few deals leave at once; who comes later waits for its turn (:mod:`.turns`).

One request costs some operations on whole bitsets, of 2 to 5 microseconds each for a release with
the most pieces there may be, and Python's time for the pieces of its own deals alone.
Deliberately elsewhere: reading the bytes (the origin), verifying them (the host), and which piece
a host asks a neighbour for (libtorrent's rarest-first).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.deal import (
    PIECES_MAX,
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    DealtPiece,
    HolderHint,
    WaitDeal,
)
from p2pdeploy.swarm.crossings import Crossings
from p2pdeploy.swarm.deal_terms import (
    WAIT_MAX_S,
    WAIT_MIN_S,
    DealConfig,
    DealStatistics,
    check_request,
)
from p2pdeploy.swarm.deal_times import DealTimes
from p2pdeploy.swarm.heard_hosts import HeardHost, HeardHosts
from p2pdeploy.swarm.in_flight import Underway
from p2pdeploy.swarm.next_pieces import NextPieces
from p2pdeploy.swarm.piece_book import PieceBook
from p2pdeploy.swarm.stripes import stripe_of
from p2pdeploy.swarm.turns import Turns

__all__ = ["Dealer"]


class Dealer:
    """Deal the pieces of one release to the hosts of one or more cells.

    Args:
        piece_sizes: Bytes of each piece; its length is the piece count, 1 to ``PIECES_MAX``.
        config: Limits on time and on deals in flight.
    """

    def __init__(self, piece_sizes: Sequence[int], config: DealConfig | None = None) -> None:
        assert 0 < len(piece_sizes) <= PIECES_MAX
        self._sizes = array("I", piece_sizes)
        self._largest_bytes = max(piece_sizes)
        self._piece_bytes = sum(piece_sizes) // len(piece_sizes)  # on average
        self._config = config or DealConfig()
        self._hosts = HeardHosts(self._config.silent_s)
        self._pieces = PieceBook(len(piece_sizes))
        self._in_flight = self._pieces.in_flight
        self._holdings = self._pieces.holdings
        self._crossings = Crossings(len(piece_sizes), self._config.cut_off_s / 2)
        self._next = NextPieces(self._sizes, self._config, self._pieces, self._crossings)
        self._times = DealTimes()
        self._left_times = DealTimes()
        self._turns = Turns(deal_s=self._config.deal_s, away_s=self._config.turn_s)
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
            UnavailableError: the table of hosts is full of live ones, or this host takes back what
                it said too often; answer 503.
        """
        have = check_request(request, len(self._sizes))
        host = self._take_in(request, have, now)
        self._look_at_time(now)
        if host.completed:
            self._turns.leave(request.host)
            return AllDealt()
        if request.paused:
            self._turns.leave(request.host)
            return WaitDeal(retry_after_s=WAIT_MAX_S)
        return self._answer(request, host, now)

    def ask_again(self, request: DealRequest, now: float) -> DealReply:
        """As :meth:`handle`, for the host of a *request* that was told to wait and is still there.

        What it has was said then, and is not said again: it may have begun afresh since, with less.
        """
        host = self._hosts.get(request.host)
        if host is None or host.completed:
            return WaitDeal(retry_after_s=WAIT_MIN_S)
        host.heard_at, host.live = now, True
        self._look_at_time(now)
        return self._answer(request, host, now, said_before=True)

    def step_aside(self, name: HostName, now: float) -> None:
        """*name* waits no more: it was answered or has gone, and may come back to its place."""
        self._turns.step_aside(name, now)

    def take_gaps(self, host: HostName, piece: int) -> bool:
        """Whether *host* may have the gaps of *piece*: it is on its way to it; once a deal."""
        return self._in_flight.take_gaps(piece, host)

    def note_left(self, name: HostName, piece: int, now: float) -> None:
        """The bytes of the deal of *piece* to *name* have left: others are to go on."""
        turns_held = self._in_flight.turns_held
        deal = self._in_flight.note_left(piece, name)
        if deal is not None:
            self._note_left(deal, turns_held, now)

    def due(self) -> list[HostName]:
        """The hosts that wait and whose turn it is now, those waiting longest first.

        Whoever holds their requests asks again for them.
        """
        return self._turns.due(self._in_flight.turns_held)

    @property
    def turns_at_once(self) -> int:
        """How many deals may be leaving."""
        return self._turns.at_once

    def statistics(self) -> DealStatistics:
        """A snapshot for the reporter; costs O(hosts)."""
        return DealStatistics(
            pieces=len(self._sizes),
            planted=self._holdings.planted.bit_count(),
            held=self._holdings.held.bit_count(),
            in_flight=len(self._in_flight),
            deals=self._deals,
            redeals=self._deals - self._pieces.free.sent_count,
            dealt_bytes=self._dealt_bytes,
            hints=self._hints,
            hosts=len(self._hosts),
            hosts_completed=sum(1 for host in self._hosts if host.completed),
        )

    # -- what hosts say ----------------------------------------------------------------------

    def _take_in(self, request: DealRequest, have: int, now: float) -> HeardHost:
        name = request.host
        host, dropped = self._hosts.admit(name, request.cell, now)
        if dropped is not None:
            self._lose(*dropped)
        if request.fresh and self._pieces.takes_back(name, have):
            if not host.may_take_back(self._config.take_back_s, now):
                raise UnavailableError(f"{name} begins afresh too often", code="fresh-too-often")
            self._pieces.begin_afresh(name, have)
            self._crossings.note_loss(host.cell)
        host.heard_at, host.live = now, True
        host.completed = request.completed
        turns_held, held = self._in_flight.turns_held, self._holdings.held
        near = partial(self._is_in, host.cell)
        gained, confirmed = self._pieces.report(name, have, near)
        self._crossings.note(host.cell, have, held, now)
        host.forget_hints_of(gained)
        for deal in confirmed:
            self._note_confirmed(deal, turns_held, now)
        self._pieces.drop(name, request.dropped)
        return host

    def _is_in(self, cell: CellId, name: HostName) -> bool:
        return self._heard(name).cell == cell

    def _heard(self, name: HostName) -> HeardHost:
        host = self._hosts.get(name)
        assert host is not None, "who is forgotten has no deals"
        return host

    def _note_confirmed(self, deal: Underway, turns_held: int, now: float) -> None:
        took_s = now - deal.begun_at
        drawer = self._heard(deal.host)
        drawer.last_deal_s, drawer.late = took_s, False
        drawer.room_bytes = self._config.room_bytes(deal.count * self._largest_bytes, took_s)
        self._times.note(deal.host, took_s)
        if deal.holds_turn:  # heard of sooner than that its bytes have left
            self._note_left(deal, turns_held, now)

    def _note_left(self, deal: Underway, turns_held: int, now: float) -> None:
        took_s = now - deal.begun_at
        if not self._left_times.is_outlier(took_s, self._config.turn_hold_factor):
            self._turns.note_left(took_s, turns_held)
        self._left_times.note(deal.host, took_s)

    def _look_at_time(self, now: float) -> None:
        self._in_flight.end_turns(now)
        for name in self._pieces.expire(now):
            self._heard(name).late = True
        for name in self._hosts.fall_silent(now):
            self._lose(name, self._heard(name))
        self._crossings.recount(self._hosts.names_in, self._holdings.of)

    def _lose(self, name: HostName, host: HeardHost) -> None:
        self._turns.leave(name)
        self._pieces.lose(name)
        self._crossings.note_loss(host.cell)

    # -- what they get -----------------------------------------------------------------------

    def _answer(
        self, request: DealRequest, host: HeardHost, now: float, *, said_before: bool = False
    ) -> DealReply:
        if self._hosts.heard_for_s(now) < self._config.settle_s:
            return WaitDeal(retry_after_s=max(WAIT_MIN_S, self._config.settle_s / 4))
        if self._in_flight.open_of(request.host) >= self._open_max(host):
            self._turns.leave(request.host)  # else it would be due, again and again, in vain
            return WaitDeal(retry_after_s=WAIT_MIN_S)
        return (
            (None if said_before else self._answer_missing(request, host, now))
            or self._deal_next(request, host, now)
            or self._nothing_left(request.host, host, now)
        )

    def _open_max(self, host: HeardHost) -> int:
        """How many deals may be on their way to *host*; half of the turns are always others'."""
        if host.late:
            return 1  # until it confirms one: each of them keeps its pieces from all others
        return min(self._config.deals_in_flight, self._turns.at_once // 2)

    def _answer_missing(
        self, request: DealRequest, host: HeardHost, now: float
    ) -> DealReply | None:
        elsewhere = self._elsewhere(host) if request.missing else 0
        for piece in request.missing:
            if self._holdings.has(request.host, piece) or piece in self._in_flight:
                continue  # the latter is on its way to somebody; its deal ends or is confirmed
            if not request.stripes >> stripe_of(piece) & 1 and self._pieces.free.is_new(piece):
                continue  # its carriers will draw it
            if elsewhere >> piece & 1:
                continue  # it crosses, or is dealt to a cell that is cut off
            hinted_at = host.hinted_at(piece)
            if hinted_at is not None and now - hinted_at < self._config.hint_s:
                continue
            holder = None if hinted_at is not None else self._holder(piece, host.cell)
            if holder is None:
                host.forget_hint(piece)
                return self._deal(request.host, host, [piece], now)
            host.note_hint(piece, now)
            self._hints += 1
            return HolderHint(piece=piece, host=holder)
        return None

    def _holder(self, piece: int, cell: CellId) -> HostName | None:
        """Who has *piece* in *cell*; hints rotate, so that no single holder gets all the rest."""
        if not self._holdings.held >> piece & 1:
            return None
        return self._hosts.find_live(
            cell, self._hints, lambda name: self._holdings.has(name, piece)
        )

    def _elsewhere(self, host: HeardHost) -> int:
        return self._crossings.elsewhere(host.cell, self._holdings.held)

    def _deal_next(
        self, request: DealRequest, host: HeardHost, now: float
    ) -> Deal | WaitDeal | None:
        timeout_s = self._config.timeout_s(host.last_deal_s, self._times.usual_s, 0)
        wanted = self._next.find(request.stripes, host, now, timeout_s)
        if wanted is None:
            self._turns.leave(request.host)
            return None
        if not self._turns.take(request.host, self._in_flight.turns_held, now):
            return WaitDeal(retry_after_s=WAIT_MAX_S)
        pieces = self._next.fit(wanted, host, self._turns.at_once)
        return self._deal(request.host, host, pieces, now)

    def _deal(self, name: HostName, host: HeardHost, pieces: list[int], now: float) -> Deal:
        usual_s = self._times.usual_s
        underway_bytes = (len(self._in_flight) + len(pieces)) * self._piece_bytes
        expires_at = now + self._config.timeout_s(host.last_deal_s, usual_s, underway_bytes)
        turn_s = self._config.turn_hold_s(usual_s)
        bitset = sum(1 << piece for piece in pieces)
        self._crossings.note_dealt(host.cell, bitset, self._holdings.held)
        self._pieces.send(pieces, name, now, expires_at, turn_s)
        self._dealt_bytes += sum(self._sizes[piece] for piece in pieces)
        self._deals += len(pieces)
        return Deal(pieces=tuple(DealtPiece(piece, self._sizes[piece]) for piece in pieces))

    def _nothing_left(self, name: HostName, host: HeardHost, now: float) -> WaitDeal | AllDealt:
        elsewhere = self._elsewhere(host)
        if not elsewhere and self._pieces.is_everywhere(alone=not self._hosts.others_live(name)):
            return AllDealt()
        expires_at = self._in_flight.first_expiry()
        until_s = WAIT_MAX_S if expires_at is None else expires_at - now
        return WaitDeal(
            retry_after_s=min(max(until_s, WAIT_MIN_S), WAIT_MAX_S),
            exhausted=not len(self._pieces.free),
        )
