"""Announce and scrape requests: a query string judged and typed.

Source: https://www.bittorrent.org/beps/bep_0003.html ("Trackers"), bep_0023, bep_0048.
The addresses that a request names are never used: with them anybody could point a swarm at a
stranger.  They are kept as ``claimed_addresses``, because whoever names one that is not its own is
worth a refusal (:mod:`~p2ptracker.announce.callers`).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

from p2pdeploy.errors import ProtocolError

__all__ = ["AnnounceRequest", "ScrapeRequest", "parse_announce", "parse_scrape"]

INFO_HASH_BYTES = 20  # SHA-1 of v1, or the first 20 bytes of the SHA-256 of v2 (BEP 52)
PEER_ID_BYTES = 20
NUMWANT_DEFAULT = 50  # what BEP 3 trackers commonly give
NUMWANT_MAX = 200  # one answer stays below 2 KiB compact; more peers than that help no client
SCRAPE_HASHES_MAX = 64
_PARAMETERS_MAX = 32
_ADDRESS_PARAMETERS = (b"ip", b"ipv4", b"ipv6")  # BEP 3 and BEP 7
_ADDRESS_CHARACTERS_MAX = 64  # the longest IPv6 address is 45; what is longer is shown cut

Event = Literal["", "started", "stopped", "completed"]


class AnnounceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One client's word on one torrent.  ``left_bytes`` 0: it has everything.

    ``claimed_addresses``: where it says that it can be reached, as it wrote that; never believed.
    """

    info_hash: bytes
    peer_id: bytes
    port: int
    left_bytes: int
    event: Event
    numwant: int
    compact: bool
    with_peer_id: bool
    claimed_addresses: tuple[str, ...] = ()


class ScrapeRequest(msgspec.Struct, frozen=True):
    """Counts of these torrents; never of all (the answer must stay bounded)."""

    info_hashes: tuple[bytes, ...]


def parse_announce(query: bytes) -> AnnounceRequest:
    """Read the query of an announce.

    Raises:
        ProtocolError: its message goes to the client as ``failure reason``.
    """
    parameters = _parameters(query)
    values = dict(parameters)
    event = values.get(b"event", b"").decode("ascii", "replace")
    if event == "empty":  # some clients spell the regular announce so
        event = ""
    if event not in ("", "started", "stopped", "completed"):
        raise ProtocolError("unknown event")
    left = _number(values, b"left", maximum=2**63)
    numwant = _number(values, b"numwant", default=NUMWANT_DEFAULT, maximum=2**31, minimum=-1)
    return AnnounceRequest(
        info_hash=_exactly(values, b"info_hash", INFO_HASH_BYTES),
        peer_id=_exactly(values, b"peer_id", PEER_ID_BYTES),
        port=_number(values, b"port", minimum=1, maximum=65535),
        left_bytes=left,
        event=event,
        numwant=min(NUMWANT_DEFAULT if numwant < 0 else numwant, NUMWANT_MAX),
        compact=values.get(b"compact") == b"1",
        with_peer_id=values.get(b"no_peer_id") != b"1",
        claimed_addresses=tuple(
            value.decode("ascii", "replace")[:_ADDRESS_CHARACTERS_MAX]
            for key, value in parameters
            if key in _ADDRESS_PARAMETERS
        ),
    )


def parse_scrape(query: bytes) -> ScrapeRequest:
    """Read the query of a scrape; raises ProtocolError as :func:`parse_announce` does."""
    hashes = tuple(value for key, value in _parameters(query) if key == b"info_hash")
    if not hashes:
        raise ProtocolError("scrape needs info_hash")
    if len(hashes) > SCRAPE_HASHES_MAX:
        raise ProtocolError(f"at most {SCRAPE_HASHES_MAX} info_hash in one scrape")
    if any(len(value) != INFO_HASH_BYTES for value in hashes):
        raise ProtocolError(f"info_hash must be {INFO_HASH_BYTES} bytes")
    return ScrapeRequest(hashes)


def _parameters(query: bytes) -> list[tuple[bytes, bytes]]:
    fields = query.split(b"&")
    if len(fields) > _PARAMETERS_MAX + SCRAPE_HASHES_MAX:
        raise ProtocolError("too many parameters")
    pairs = (field.partition(b"=") for field in fields if field)
    return [(key, unquote_to_bytes(value)) for key, _, value in pairs]


def _exactly(values: dict[bytes, bytes], name: bytes, size: int) -> bytes:
    value = values.get(name, b"")
    if len(value) != size:
        raise ProtocolError(f"{name.decode()} must be {size} bytes")
    return value


def _number(
    values: dict[bytes, bytes],
    name: bytes,
    *,
    default: int | None = None,
    minimum: int = 0,
    maximum: int,
) -> int:
    text = values.get(name)
    if text is None and default is not None:
        return default
    digits = (text or b"").removeprefix(b"-")
    # Length first: int() of a megabyte of digits would take seconds.
    if text is None or not digits.isdigit() or len(digits) > 20:
        raise ProtocolError(f"{name.decode()} must be a number")
    number = int(text)
    if not minimum <= number <= maximum:
        raise ProtocolError(f"{name.decode()} is out of range")
    return number
