"""What one torrent received from whom, from looks at its connections (pure).

A look shows the totals of the connections that stand.  What a connection moved between the last
look and its end is known to nobody; it is in the torrent's own total, and counts as the cell's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from p2pdeploy.messages.swarm import Members, SourceBytes

__all__ = ["PeerSeen", "PeerTraffic", "bytes_by_source"]


class PeerSeen(NamedTuple):
    """One connection as libtorrent shows it.  ``down_bytes``: payload since it was made.

    ``is_willing``: it has what we lack and lets us have it; ``is_disk_bound``: it waits until we
    have written.
    """

    address: str
    port: int
    down_bytes: int
    is_willing: bool
    is_disk_bound: bool


class PeerTraffic:
    """Bytes by address; as many as may connect, which admission bounds."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], int] = {}
        self._by_address: dict[str, int] = {}
        self.willing = self.disk_bound = 0  # peers, at the last look

    @property
    def by_address(self) -> Mapping[str, int]:
        """Payload bytes by the sender's address."""
        return self._by_address

    def note(self, peers: Iterable[PeerSeen]) -> None:
        """Take in one look at all connections."""
        seen: dict[tuple[str, int], int] = {}
        self.willing = self.disk_bound = 0
        for peer in peers:
            key = (peer.address, peer.port)
            before = self._seen.get(key, 0)
            since = peer.down_bytes - before if peer.down_bytes >= before else peer.down_bytes
            if since:
                self._by_address[peer.address] = self._by_address.get(peer.address, 0) + since
            seen[key] = peer.down_bytes
            self.willing += peer.is_willing
            self.disk_bound += peer.is_disk_bound
        self._seen = seen


def bytes_by_source(
    by_address: Mapping[str, int],
    members: Members,
    *,
    peer_bytes: int,
    dealt_bytes: int,
    local_bytes: int,
) -> SourceBytes:
    """Share out what a host has of a release.

    Args:
        by_address: What is known of peers.
        members: Where each address of the cell is; all others are of other cells.
        peer_bytes: All that peers sent.  What no address accounts for counts as the cell's.
        dealt_bytes: What the origin sent.
        local_bytes: What was here before.
    """
    known = {"rack": 0, "cell": 0, "wan": 0}
    for address, size_bytes in by_address.items():
        known[members.get(address, "wan")] += size_bytes
    return SourceBytes(
        origin=dealt_bytes,
        rack=known["rack"],
        cell=max(peer_bytes - known["rack"] - known["wan"], 0),
        wan=known["wan"],
        local=local_bytes,
    )
