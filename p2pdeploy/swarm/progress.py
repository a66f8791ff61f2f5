"""How far a torrent is, as the reporter and the metrics read it."""

from __future__ import annotations

import msgspec

__all__ = ["Progress"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of one torrent.

    ``peer_bytes`` came over peer connections, including blocks that arrived twice or failed their
    hash; ``dealt_bytes`` came from the origin; ``peers`` are connected now.  ``fault`` is empty or
    one sentence.
    """

    pieces: int
    pieces_have: int
    size_bytes: int
    peer_bytes: int
    dealt_bytes: int
    down_bytes_per_s: int
    up_bytes_per_s: int
    peers: int
    hash_failures: int
    complete: bool
    fault: str
