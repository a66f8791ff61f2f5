"""Fetch one release: draw deals from the origin and let the mesh bring the rest (shell).

Without the origin the fetch goes on as long as neighbours have pieces.  How it is done stands in
:mod:`~p2pdeploy.swarm.draw_deals`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from p2pdeploy.messages.swarm import Members
from p2pdeploy.swarm.ask_dealer import DealAsker
from p2pdeploy.swarm.dealer_client import DealerClient, ReleaseKey
from p2pdeploy.swarm.draw_deals import DealLoops
from p2pdeploy.swarm.fetch_terms import FetchConfig, Mesh
from p2pdeploy.swarm.keep_links import Links, OpenTrunk
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere
from p2pdeploy.swarm.take_deals import DealTaker
from p2pdeploy.swarm.torrent import Torrent

if TYPE_CHECKING:
    from random import Random

__all__ = ["FetchReport", "fetch_release"]


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the fetch cost.  ``reused_bytes`` were on this host before it began."""

    dealt_bytes: int
    peer_bytes: int
    reused_bytes: int
    duration_s: float
    refused_deals: int


async def fetch_release(
    torrent: Torrent,
    dealer: DealerClient,
    *,
    key: ReleaseKey,
    mesh: Mesh,
    verify_piece: Callable[[int, bytes], bool],
    members: Callable[[], Members],
    jitter: Random,
    pace: DealPace | None = None,
    open_trunk: OpenTrunk | None = None,
    reused_bytes: int = 0,
    partly: PartlyHere | None = None,
    config: FetchConfig | None = None,
) -> FetchReport:
    """Return once *torrent* is complete; it goes on seeding.

    Cancelling loses at most the pieces in flight; calling again goes on.

    Args:
        torrent: Already added, with what the host has.
        dealer: The way to the origin.
        key: Who fetches what.
        mesh: Whom to exchange pieces with; asked every ``connect_s``.
        verify_piece: Whether bytes are those of a piece; pure, called in a thread if they are many.
        members: Where each address of the cell is, for the figures.
        jitter: Spreads the retries of many hosts.
        pace: Of all fetches of this host; None: as fast as can be.
        open_trunk: Called once there are other groups; None: pieces come from this group alone.
        reused_bytes: Only passed on into the report.
        partly: Pieces that are here in part, as the torrent was told.
        config: Times and numbers.

    Raises:
        UnavailableError: the disk is full or fails, or the torrent was removed; call again when
            that has changed.
        IntegrityError: the origin sends one wrong piece after another; a person must look at it.
    """
    config = config or FetchConfig()
    partly = partly or PartlyHere({}, _no_piece)
    started_at = trio.current_time()
    pace = pace or DealPace(0.0, started_at)
    taker = DealTaker(torrent, dealer, key, verify_piece, partly, pace, config.deal_timeout_s)
    links = Links(torrent, mesh, key.host, config, open_trunk)
    asker = DealAsker(torrent, dealer, key, links, members, pace, config)
    loops = DealLoops(torrent, links, asker, taker, partly, jitter, pace, config)
    dealt_bytes, peer_bytes = torrent.dealt_bytes, torrent.peer_bytes
    torrent.clear_fault()
    await loops.run()
    return FetchReport(
        dealt_bytes=torrent.dealt_bytes - dealt_bytes,
        peer_bytes=torrent.peer_bytes - peer_bytes + links.trunk_bytes,
        reused_bytes=reused_bytes,
        duration_s=trio.current_time() - started_at,
        refused_deals=loops.refused,
    )


def _no_piece(piece: int) -> bytes:
    raise AssertionError(f"piece {piece} is not here in part")
