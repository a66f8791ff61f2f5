"""What a host needs of the dealer: the way to it, who asks for what, and the last word to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import DealReply, DealRequest, GapReply, GapRequest
from p2pdeploy.messages.swarm import Members
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["DealerClient", "ReleaseKey", "tell_completed"]


class DealerClient(Protocol):
    """The way to the origin."""

    async def deal(self, request: DealRequest) -> tuple[DealReply, bytes]:
        """Ask once.  The bytes are those of all pieces of a ``Deal`` that the request does not name
        as ``partly`` here, empty for other replies.

        Raises:
            P2PDeployError: no usable answer; it is asked again later.
        """
        ...

    async def fill(self, request: GapRequest) -> tuple[GapReply, bytes]:
        """The bytes of all gaps but those of pieces that are refused, one after the other.

        Raises:
            P2PDeployError: no usable answer; the pieces are given up for now.
        """
        ...


class ReleaseKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who fetches what: the fixed part of every request."""

    cell: CellId
    manifest_digest: Digest
    host: HostName


async def tell_completed(
    torrent: Torrent, dealer: DealerClient, key: ReleaseKey, members: Callable[[], Members]
) -> None:
    """Tell a dealer that may have forgotten it: this host has all of *torrent* and seeds it.

    How it was fetched is told again as well, if this daemon did.

    Raises:
        P2PDeployError: the dealer did not take it in.
    """
    assert torrent.complete, "the dealer refuses the claim of a host that lacks pieces"
    await dealer.deal(
        DealRequest(
            cell=key.cell,
            manifest_digest=key.manifest_digest,
            host=key.host,
            have=torrent.have_bitmap(),
            fresh=True,
            completed=True,
            progress=torrent.fetch_progress(members()),
        )
    )
