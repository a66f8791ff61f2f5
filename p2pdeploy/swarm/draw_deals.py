"""The loops of one fetch (shell).

* Two to four loops draw deals, each of one piece or of several small ones.  When there is nothing
  to draw, or the origin is down, one loop goes on asking for all, with jitter.
* The neighbours are pushed into libtorrent again and again; it connects to those it lacks.  When
  the group gets nothing for ten seconds, so are hosts of other groups.
* Once there are groups, the trunk brings this host's stripes from other groups meanwhile.  It ends
  after the release is whole here and what others still lack of it was handed over.
* Once the dealer has nothing new, pieces that no connected neighbour had for five seconds are
  asked for by number.  (Before that most pieces are with nobody: they are not lost, just undealt.)
* While the neighbours together have all that we lack, next to nothing is drawn: a dealer that was
  restarted has forgotten that they do.
* A host that keeps to a rate draws no faster.
* Who has asked for nothing for a while reports, or it would be taken for dead, and what it was
  dealt be dealt again.

Memory: one deal per loop, plus what libtorrent queues (``settings``).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from p2pdeploy.errors import IntegrityError, P2PDeployError, UnavailableError
from p2pdeploy.messages.deal import (
    MISSING_MAX,
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    HolderHint,
    WaitDeal,
)
from p2pdeploy.messages.swarm import FetchProgress, Members
from p2pdeploy.swarm.dealer_client import DealerClient, ReleaseKey
from p2pdeploy.swarm.fetch_terms import FetchConfig, Mesh
from p2pdeploy.swarm.nearby import Nearby
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere, bitmap_of_pieces
from p2pdeploy.swarm.report_due import ReportDue
from p2pdeploy.swarm.stripes import ALL_STRIPES
from p2pdeploy.swarm.take_deals import DealTaker, Taken
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.swarm.trunk import Trunk

if TYPE_CHECKING:
    from random import Random

__all__ = ["DealLoops", "OpenTrunk"]

OpenTrunk = Callable[[], Awaitable[Trunk]]
"""Begins to exchange a release between groups; raises P2PDeployError when that fails."""

REFUSALS_MAX = 8  # wrong pieces in a row before the origin's copy counts as corrupt
STORE_S = 30.0  # hashing and writing one piece; a disk slower than this is a fault of its own
PROGRESS_EVERY_S = 1.0  # libtorrent's statistics are as old; deals may be many a second
REPORT_S = 2.0  # the last word to the dealer is worth this much delay


class DealLoops:
    """The loops of one fetch and the state they share; used once.

    Args:
        torrent: What is fetched; added already.
        dealer: The way to the origin.
        key: Who fetches what.
        mesh: Whom to exchange pieces with.
        taker: Verifies what was dealt.
        partly: What is here in part.
        members: Where each address of the cell is, for the figures.
        jitter: Spreads retries.
        pace: Says when to draw; of all fetches of this host.
        config: Times and numbers.
        open_trunk: Gives the way between groups, once there are several; None: no trunk.
    """

    def __init__(
        self,
        torrent: Torrent,
        dealer: DealerClient,
        key: ReleaseKey,
        mesh: Mesh,
        taker: DealTaker,
        partly: PartlyHere,
        members: Callable[[], Members],
        jitter: Random,
        pace: DealPace,
        config: FetchConfig,
        open_trunk: OpenTrunk | None = None,
    ) -> None:
        self._torrent = torrent
        self._dealer = dealer
        self._key = key
        self._mesh = mesh
        self._open_trunk = open_trunk
        self._trunk: Trunk | None = None
        self._grouped = trio.Event()  # there are other groups
        self._taker = taker
        self._partly = partly
        self._members = members
        self._jitter = jitter
        self._pace = pace
        self._pacing = trio.Lock()  # one loop after the other pays off what it drew
        self._due = ReportDue(config.heard_s, config.confirm_s, trio.current_time())
        self._config = config
        self._exhausted = False  # the dealer had nothing new when it was last asked
        self._nearby = Nearby(torrent)
        self._scout = 0  # the loop that asks for all while there is nothing to draw; -1: all do
        self._told_at = -math.inf  # when the figures were told last
        self._fresh = True  # until the dealer has answered once
        self._dropped: list[int] = []  # dealt pieces that we could not use, to be told
        self._resume = trio.Event()
        self._refused_in_a_row = 0
        self.refused = 0
        self._fault: P2PDeployError | None = None

    @property
    def trunk_bytes(self) -> int:
        """Payload received from other groups."""
        return 0 if self._trunk is None else self._trunk.peer_bytes

    async def run(self) -> None:
        piece_bytes = self._torrent.size_bytes // max(self._torrent.piece_count, 1)
        self._pace.begin(piece_bytes, trio.current_time())
        async with trio.open_nursery() as nursery:
            if self._open_trunk is not None:
                nursery.start_soon(self._carry, self._open_trunk, nursery.cancel_scope)
            await self._fetch()
            if self._torrent.complete:
                await self._end()
            nursery.cancel_scope.cancel()
        if not self._torrent.complete:
            assert self._fault is not None, "a fetch ends when all is here or something failed"
            raise self._fault

    async def _fetch(self) -> None:
        """Return when all is here, or with a fault."""
        async with trio.open_nursery() as nursery:
            for number in range(self._config.deal_loops):
                nursery.start_soon(self._draw_deals, number, nursery.cancel_scope)
            nursery.start_soon(self._push_neighbours)
            nursery.start_soon(self._keep_reporting)
            try:
                await self._torrent.wait_complete()
            except UnavailableError as error:
                self._fault = error
            nursery.cancel_scope.cancel()

    async def _end(self) -> None:
        """All is here: tell the figures, and leave nothing undone that others wait for."""
        await self._torrent.refresh()
        await self._torrent.look_at_peers()
        async with trio.open_nursery() as nursery:
            if self._trunk is not None:
                await self._trunk.look_at_peers()
                nursery.start_soon(self._trunk.drain)
            await self._report_completed()

    async def _carry(self, open_trunk: OpenTrunk, cancel_scope: trio.CancelScope) -> None:
        """Once there are other groups, exchange this host's stripes with them."""
        try:
            await self._grouped.wait()
            self._trunk = await open_trunk()
            self._trunk.look_again()
            await self._trunk.carry()
        except* P2PDeployError as errors:
            if not self._torrent.complete:
                self._fault = UnavailableError(str(errors.exceptions[0]), code="trunk-failed")
                cancel_scope.cancel()

    async def _push_neighbours(self) -> None:
        while True:
            now = trio.current_time()
            self._nearby.note_absent(now, exhausted=self._exhausted)
            stalled = self._nearby.is_stalled(now - self._config.stalled_s)
            for neighbour in (*self._mesh.neighbours(), *(self._mesh.farther() if stalled else ())):
                if neighbour.name != self._key.host:
                    self._torrent.connect(neighbour.address, neighbour.port)
            await self._torrent.look_at_peers()
            if self._mesh.has_trunk():
                self._grouped.set()
            if self._trunk is not None:
                self._trunk.look_again()
                await self._trunk.look_at_peers()
            await trio.sleep(self._config.connect_s)

    def _request(
        self,
        *,
        in_part: frozenset[int] = frozenset(),
        completed: bool = False,
        paused: bool = False,
    ) -> DealRequest:
        long_ago = trio.current_time() - self._config.missing_s
        missing = self._nearby.absent_since(long_ago)
        return DealRequest(
            cell=self._key.cell,
            manifest_digest=self._key.manifest_digest,
            host=self._key.host,
            have=self._torrent.have_bitmap(),
            missing=tuple(missing[:MISSING_MAX]),
            dropped=tuple(self._dropped[:MISSING_MAX]),
            partly=bitmap_of_pieces(in_part, self._torrent.piece_count),
            stripes=ALL_STRIPES if self._open_trunk is None else self._mesh.stripes(),
            fresh=self._fresh and not paused,  # else it would end the first deal, under way
            completed=completed,
            progress=self._progress(completed=completed),
            paused=paused,
        )

    def _progress(self, *, completed: bool) -> FetchProgress | None:
        """The host's figures, unless they were told just before."""
        now = trio.current_time()
        if not completed and now - self._told_at < PROGRESS_EVERY_S:
            return None
        self._told_at = now
        progress = self._torrent.fetch_progress(self._members())
        if progress is None or self._trunk is None:
            return progress
        return replace(progress, received=progress.received + self._trunk.received(self._members()))

    async def _draw_deals(
        self,
        number: int,
        cancel_scope: trio.CancelScope,
    ) -> None:
        retry_s = self._config.retry_min_s
        if number != self._scout:
            await self._resume.wait()  # the first request goes alone: it tells what we have
        while self._refused_in_a_row < REFUSALS_MAX:
            if not self._fresh and self._nearby.have_all():
                self._exhausted = True
                await self._pause(number, self._config.all_dealt_s)
            try:
                await self._keep_pace()
                in_part = frozenset(
                    piece for piece in self._partly.pieces() if not self._torrent.has(piece)
                )
                reply, data = await self._ask(in_part)
            except (P2PDeployError, trio.TooSlowError):
                await self._pause(number, retry_s)
                retry_s = min(retry_s * 2, self._config.retry_max_s)
                continue
            retry_s = self._config.retry_min_s
            if isinstance(reply, Deal):
                await self._take(number, await self._taker.take(reply, data, in_part))
            else:
                await self._take_word(number, reply)
        self._fault = IntegrityError(
            f"the origin sent {REFUSALS_MAX} wrong pieces in a row", code="origin-corrupt"
        )
        cancel_scope.cancel()

    async def _keep_pace(self) -> None:
        """Return when a deal may be drawn."""
        async with self._pacing:
            # Looked at again and again: another rate, and what peers bring, change it.
            while (wait_s := self._pace.wait_s(trio.current_time())) > 0:  # noqa: ASYNC110
                await trio.sleep(min(wait_s, self._config.pace_s))

    async def _keep_reporting(self) -> None:
        """Be heard while nothing is asked for."""
        while True:
            await trio.sleep(self._config.confirm_s)
            if trio.current_time() < self._due.at:
                continue
            try:
                await self._ask(frozenset(), paused=True)
            except (P2PDeployError, trio.TooSlowError):
                continue  # it is due again: the loops tell when the origin is back

    async def _ask(
        self, in_part: frozenset[int], *, paused: bool = False
    ) -> tuple[DealReply, bytes]:
        request = self._request(in_part=in_part, paused=paused)
        self._due.note_asked(trio.current_time())
        with trio.fail_after(self._config.deal_timeout_s):
            reply, data = await self._dealer.deal(request)
        self._pace.note_dealt(len(data), trio.current_time())
        if isinstance(reply, Deal | WaitDeal):
            self._pace.note_drawing(reply.drawing, trio.current_time())
        self._fresh = self._fresh and paused
        self._dropped = [piece for piece in self._dropped if piece not in request.dropped]
        return reply, data

    async def _take_word(
        self,
        number: int,
        reply: HolderHint | WaitDeal | AllDealt,
    ) -> None:
        """Nothing was dealt: ask the host that was named, or wait."""
        match reply:
            case HolderHint():
                holder = self._mesh.locate(reply.host)
                if holder is not None:
                    self._torrent.connect(holder.address, holder.port)
            case WaitDeal():
                self._exhausted = reply.exhausted
                await self._pause(number, min(reply.retry_after_s, self._config.retry_max_s))
            case AllDealt():
                self._exhausted = True
                await self._pause(number, self._config.all_dealt_s)

    async def _take(self, number: int, taken: Taken) -> None:
        """Wait until what was dealt is stored; tell what was not, and ask again later."""
        self._dropped += taken.dropped
        if taken.wrong:
            self.refused += 1
            self._refused_in_a_row += 1
        elif taken.pieces:
            self._refused_in_a_row = 0
        if taken.wrong or taken.dropped:
            await self._pause(number, self._config.retry_min_s)
        else:
            self._resume_others(number, taken.pieces)
        with trio.move_on_after(STORE_S):
            for piece in taken.pieces:
                await self._wait_stored(piece)
                self._due.note_stored(trio.current_time())

    def _resume_others(self, number: int, taken: list[int]) -> None:
        """There was something to draw: all loops draw."""
        if not all(self._nearby.is_absent(piece) for piece in taken):
            self._exhausted = False  # else we asked for them; nothing new was left
        if self._scout == number:
            self._scout = -1
            self._resume.set()
            self._resume = trio.Event()

    async def _wait_stored(self, piece: int) -> None:
        try:
            await self._torrent.wait_piece(piece)
        except UnavailableError:
            await trio.sleep_forever()  # the main wait raises the same and cancels this loop

    async def _pause(self, number: int, pause_s: float) -> None:
        """One loop sleeps and asks again; the others sleep until it has drawn a deal."""
        if self._scout < 0:
            self._scout = number
        if self._scout == number:
            await trio.sleep(pause_s * self._jitter.uniform(0.75, 1.25))
        else:
            await self._resume.wait()

    async def _report_completed(self) -> None:
        """Tell the dealer, so that it counts on this host; not worth an error."""
        with trio.move_on_after(REPORT_S):
            try:
                await self._dealer.deal(self._request(completed=True))
            except P2PDeployError:
                return
