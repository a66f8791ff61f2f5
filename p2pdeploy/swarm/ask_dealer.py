"""What one fetch says to the dealer, and that it is heard in time (shell)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio
from msgspec.structs import replace

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.messages.deal import MISSING_MAX, Deal, DealReply, DealRequest, WaitDeal
from p2pdeploy.messages.swarm import FetchProgress, Members
from p2pdeploy.swarm.bitsets import bitmap_from
from p2pdeploy.swarm.dealer_client import DealerClient, ReleaseKey
from p2pdeploy.swarm.fetch_terms import FetchConfig
from p2pdeploy.swarm.keep_links import Links
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.report_due import ReportDue
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["DealAsker"]

PROGRESS_EVERY_S = 1.0  # libtorrent's statistics are as old; deals may be many a second
REPORT_S = 2.0  # the last word to the dealer is worth this much delay


class DealAsker:
    """Asks for deals, and reports when nothing is asked for; of one fetch, used once.

    Args:
        torrent: What is fetched.
        dealer: The way to the origin.
        key: Who fetches what.
        links: Know what is missing, and which stripes are drawn.
        members: Where each address of the cell is, for the figures.
        pace: Is told what came.
        config: Times and numbers.
    """

    def __init__(
        self,
        torrent: Torrent,
        dealer: DealerClient,
        key: ReleaseKey,
        links: Links,
        members: Callable[[], Members],
        pace: DealPace,
        config: FetchConfig,
    ) -> None:
        self._torrent = torrent
        self._dealer = dealer
        self._key = key
        self._links = links
        self._members = members
        self._pace = pace
        self._config = config
        self._due = ReportDue(config.heard_s, config.confirm_s, trio.current_time())
        self._told_at = -math.inf  # when the figures were told last
        self._dropped: list[int] = []  # dealt pieces that we could not use, to be told
        self.is_fresh = True  # until the dealer has answered once

    def note_dropped(self, pieces: Iterable[int]) -> None:
        """These were dealt and are of no use; it is told with what is asked next."""
        self._dropped += pieces

    def note_stored(self) -> None:
        """Something that was dealt is on the disk."""
        self._due.note_stored(trio.current_time())

    async def ask(self, in_part: int = 0, *, paused: bool = False) -> tuple[DealReply, bytes]:
        """Ask once.

        Args:
            in_part: The pieces that are here in part, bit k for piece k.
            paused: Only report.

        Raises:
            P2PDeployError, TooSlowError: no usable answer; ask again later.
        """
        request = self._request(in_part=in_part, paused=paused)
        self._due.note_asked(trio.current_time())
        with trio.fail_after(self._config.deal_timeout_s):
            reply, data = await self._dealer.deal(request)
        self._pace.note_dealt(len(data), trio.current_time())
        if isinstance(reply, Deal | WaitDeal):
            self._pace.note_drawing(reply.drawing, trio.current_time())
        self.is_fresh = self.is_fresh and paused
        self._dropped = [piece for piece in self._dropped if piece not in request.dropped]
        return reply, data

    async def keep_reporting(self) -> None:
        """Be heard while nothing is asked for, until cancelled."""
        while True:
            await trio.sleep(self._config.confirm_s)
            if trio.current_time() < self._due.at:
                continue
            try:
                await self.ask(paused=True)
            except (P2PDeployError, trio.TooSlowError):
                continue  # it is due again: the loops tell when the origin is back

    async def report_completed(self) -> None:
        """Tell the dealer, so that it counts on this host; not worth an error."""
        with trio.move_on_after(REPORT_S):
            try:
                await self._dealer.deal(self._request(completed=True))
            except P2PDeployError:
                return

    def _request(
        self, *, in_part: int = 0, completed: bool = False, paused: bool = False
    ) -> DealRequest:
        return DealRequest(
            cell=self._key.cell,
            manifest_digest=self._key.manifest_digest,
            host=self._key.host,
            have=self._torrent.have_bitmap(),
            missing=self._links.missing(),
            dropped=tuple(self._dropped[:MISSING_MAX]),
            partly=bitmap_from(in_part, self._torrent.piece_count) if in_part else b"",
            stripes=self._links.stripes(),
            fresh=self.is_fresh and not paused,  # else it would end the first deal, under way
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
        members = self._members()
        progress = self._torrent.fetch_progress(members)
        if progress is None:
            return None
        return replace(progress, received=progress.received + self._links.received(members))
