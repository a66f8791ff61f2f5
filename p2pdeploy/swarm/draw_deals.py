"""The loops of one fetch (shell).

* Two to four loops draw deals, each of one piece or of several small ones.  When there is nothing
  to draw, or the origin is down, one loop goes on asking for all, with jitter.
* Meanwhile its links are kept (:mod:`~p2pdeploy.swarm.keep_links`).  Once there are groups, the
  trunk brings this host's stripes from other groups.  It ends after the release is whole here and
  what others still lack of it was handed over.
* Pieces that no connected neighbour has had for five seconds are asked for by number: once the
  dealer has nothing new, or if their stripe lags.  (Else they are not lost, just undealt.)
* While the neighbours together have all that we lack, next to nothing is drawn: a dealer that was
  restarted has forgotten that they do.
* A host that keeps to a rate draws no faster.
* Who has asked for nothing for a while reports (:mod:`~p2pdeploy.swarm.ask_dealer`), or it would be
  taken for dead, and what it was dealt be dealt again.

Memory: one deal per loop, plus what libtorrent queues (``settings``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pdeploy.errors import IntegrityError, P2PDeployError, UnavailableError
from p2pdeploy.messages.deal import AllDealt, Deal, HolderHint, WaitDeal
from p2pdeploy.swarm.ask_dealer import DealAsker
from p2pdeploy.swarm.fetch_terms import FetchConfig
from p2pdeploy.swarm.keep_links import Links
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere
from p2pdeploy.swarm.scout import Scout
from p2pdeploy.swarm.take_deals import DealTaker, Taken
from p2pdeploy.swarm.torrent import Torrent

if TYPE_CHECKING:
    from random import Random

__all__ = ["DealLoops"]

REFUSALS_MAX = 8  # wrong pieces in a row before the origin's copy counts as corrupt
STORE_S = 30.0  # hashing and writing one piece; a disk slower than this is a fault of its own


class DealLoops:
    """The loops of one fetch and the state they share; used once.

    Args:
        torrent: What is fetched; added already.
        links: With whom.
        asker: Asks for deals.
        taker: Verifies what was dealt.
        partly: What is here in part.
        jitter: Spreads retries.
        pace: Says when to draw; of all fetches of this host.
        config: Times and numbers.
    """

    def __init__(
        self,
        torrent: Torrent,
        links: Links,
        asker: DealAsker,
        taker: DealTaker,
        partly: PartlyHere,
        jitter: Random,
        pace: DealPace,
        config: FetchConfig,
    ) -> None:
        self._torrent = torrent
        self._links = links
        self._asker = asker
        self._taker = taker
        self._partly = partly
        self._scout = Scout(jitter)
        self._pace = pace
        self._pacing = trio.Lock()  # one loop after the other pays off what it drew
        self._config = config
        self._refused_in_a_row = 0
        self.refused = 0
        self._fault: P2PDeployError | None = None

    async def run(self) -> None:
        """Return when all is here and was told.

        Raises:
            UnavailableError, IntegrityError: as ``fetch_release``.
        """
        piece_bytes = self._torrent.size_bytes // max(self._torrent.piece_count, 1)
        self._pace.begin(piece_bytes, trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, nursery.cancel_scope)
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
            nursery.start_soon(self._links.keep)
            nursery.start_soon(self._asker.keep_reporting)
            try:
                await self._torrent.wait_complete()
            except UnavailableError as error:
                self._fault = error
            nursery.cancel_scope.cancel()

    async def _carry(self, cancel_scope: trio.CancelScope) -> None:
        try:
            await self._links.carry()
        except* P2PDeployError as errors:
            if not self._torrent.complete:
                self._fault = UnavailableError(str(errors.exceptions[0]), code="trunk-failed")
                cancel_scope.cancel()

    async def _end(self) -> None:
        """All is here: tell the figures, and leave nothing undone that others wait for."""
        await self._torrent.refresh()
        await self._links.look_at_peers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._links.drain)
            await self._asker.report_completed()

    async def _draw_deals(self, number: int, cancel_scope: trio.CancelScope) -> None:
        retry_s = self._config.retry_min_s
        await self._scout.wait_begin(number)  # the first request goes alone: it tells what we have
        while self._refused_in_a_row < REFUSALS_MAX:
            if not self._asker.is_fresh and not self._torrent.absent():
                self._links.note_exhausted(exhausted=True)
                await self._scout.pause(number, self._config.all_dealt_s)
            try:
                await self._keep_pace()
                in_part = self._partly.bits & ~self._torrent.have()
                reply, data = await self._asker.ask(in_part)
            except (P2PDeployError, trio.TooSlowError):
                await self._scout.pause(number, retry_s)
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

    async def _take_word(self, number: int, reply: HolderHint | WaitDeal | AllDealt) -> None:
        """Nothing was dealt: ask the host that was named, or wait."""
        match reply:
            case HolderHint():
                self._links.connect_holder(reply.host)
            case WaitDeal():
                self._links.note_exhausted(exhausted=reply.exhausted)
                pause_s = min(reply.retry_after_s, self._config.retry_max_s)
                await self._scout.pause(number, pause_s)
            case AllDealt():
                self._links.note_exhausted(exhausted=True)
                await self._scout.pause(number, self._config.all_dealt_s)

    async def _take(self, number: int, taken: Taken) -> None:
        """Wait until what was dealt is stored; tell what was not, and ask again later."""
        self._asker.note_dropped(taken.dropped)
        if taken.wrong:
            self.refused += 1
            self._refused_in_a_row += 1
        elif taken.pieces:
            self._refused_in_a_row = 0
        if taken.wrong or taken.dropped:
            await self._scout.pause(number, self._config.retry_min_s)
        else:
            self._links.note_drawn(taken.pieces)
            self._scout.resume(number)
        with trio.move_on_after(STORE_S):
            for piece in taken.pieces:
                await self._wait_stored(piece)
                self._asker.note_stored()

    async def _wait_stored(self, piece: int) -> None:
        try:
            await self._torrent.wait_piece(piece)
        except UnavailableError:
            await trio.sleep_forever()  # the main wait raises the same and cancels this loop
