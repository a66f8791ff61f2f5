"""Bencoded answers to announce and scrape."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from p2pdeploy.bencode import Bencodable, encode
from p2ptracker.announce.requests import AnnounceRequest
from p2ptracker.announce.swarms import Answer, Counts, Peer, SwarmsConfig

__all__ = ["announce_reply", "failure_reply", "scrape_reply"]


def announce_reply(request: AnnounceRequest, answer: Answer, config: SwarmsConfig) -> bytes:
    """BEP 3, with ``peers`` compact (BEP 23) or as dictionaries, and ``peers6`` (BEP 7)."""
    v4 = [peer for peer in answer.peers if not peer.is_v6]
    v6 = [peer for peer in answer.peers if peer.is_v6]
    reply: dict[bytes, Bencodable] = {
        b"complete": answer.counts.complete,
        b"downloaded": answer.counts.downloaded,
        b"incomplete": answer.counts.incomplete,
        b"interval": config.interval_s,
        b"min interval": config.min_interval_s,
    }
    if request.compact:
        reply[b"peers"] = b"".join(peer.compact for peer in v4)
        if v6:
            reply[b"peers6"] = b"".join(peer.compact for peer in v6)
    else:
        with_id = request.with_peer_id
        reply[b"peers"] = [_dictionary(peer, with_id) for peer in (*v4, *v6)]
    return encode(reply)


def scrape_reply(counts: Mapping[bytes, Counts]) -> bytes:
    """BEP 48."""
    files: dict[bytes, Bencodable] = {
        info_hash: {
            b"complete": seen.complete,
            b"downloaded": seen.downloaded,
            b"incomplete": seen.incomplete,
        }
        for info_hash, seen in counts.items()
    }
    return encode({b"files": files})


def failure_reply(reason: str, *, retry_s: float | None = None) -> bytes:
    """What a client shows to its user; with *retry_s* it knows when to come back (BEP 31)."""
    reply: dict[bytes, Bencodable] = {b"failure reason": reason.encode()}
    if retry_s is not None:
        reply[b"retry in"] = ceil(retry_s / 60)  # the unit is minutes
    return encode(reply)


def _dictionary(peer: Peer, with_peer_id: bool) -> dict[bytes, Bencodable]:
    entry: dict[bytes, Bencodable] = {b"ip": peer.address.encode(), b"port": peer.port}
    if with_peer_id:
        entry[b"peer id"] = peer.peer_id
    return entry
