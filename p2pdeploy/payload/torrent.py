"""The torrent of a release: derived from its manifest, never signed, never stored as truth.

A v2-only torrent (BEP 52) whose files are the manifest's blobs.  Its name is the manifest digest,
so two releases never share an info-hash.  ``private`` keeps clients off DHT and PEX (BEP 27).
``ssl-cert`` is the fleet's swarm CA: only peers with a leaf of it get a byte (SSL torrents, an
extension of libtorrent).  It is part of the info-hash, which is why hosts and control plane use
the very same bytes of it.

Pieces are numbered through all blobs in manifest order; each blob starts a new piece.  Pure.

Sources: https://www.bittorrent.org/beps/bep_0052.html;
https://www.libtorrent.org/manual-ref.html#ssl-torrents
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from p2pdeploy import bencode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import Digest
from p2pdeploy.limits import MANIFEST_BYTES_MAX
from p2pdeploy.manifest import Blob, Manifest
from p2pdeploy.merkle import HASH_BYTES, piece_hash
from p2pdeploy.messages.deal import Gap

__all__ = [
    "PieceCheck",
    "PieceSpan",
    "gap_spans",
    "info_hash_v2",
    "piece_count",
    "piece_spans",
    "torrent_bytes",
]


class PieceSpan(NamedTuple):
    """Where one piece's bytes stand."""

    blob_index: int
    offset_bytes: int
    size_bytes: int


def torrent_bytes(
    manifest: Manifest,
    manifest_digest: Digest,
    swarm_authority_pem: bytes = b"",
    *,
    trunk: bool = False,
) -> bytes:
    """The .torrent file of a release.  The same arguments give the same bytes everywhere.

    Args:
        manifest: Judged by ``check_manifest``.
        manifest_digest: Its digest; the torrent's name.
        swarm_authority_pem: The swarm CA.  Empty makes a plain torrent, until the switch.
        trunk: Make the trunk's torrent: same files and pieces, another info-hash.
    """
    tree: dict[str, Any] = {}
    layers: dict[bytes, bytes] = {}
    for blob in manifest.blobs:
        folder = tree
        for name in blob.path.split("/"):
            folder = folder.setdefault(name, {})
        folder[""] = {"length": blob.size_bytes, "pieces root": blob.pieces_root}
        if blob.piece_layer:
            layers[blob.pieces_root] = blob.piece_layer
    info: dict[str, Any] = {
        "file tree": tree,
        "meta version": 2,
        "name": str(manifest_digest),
        "piece length": manifest.piece_size_bytes,
        "private": 1,
    }
    if swarm_authority_pem:
        info["ssl-cert"] = swarm_authority_pem
    if trunk:
        info["trunk"] = 1
    return bencode.encode({"info": info, "piece layers": layers})


def info_hash_v2(torrent: bytes) -> str:
    """The v2 info-hash of a .torrent file, as 64 hexadecimal digits.

    Raises:
        ProtocolError: *torrent* is not a torrent.
    """
    decoded = bencode.decode(torrent, bytes_max=2 * MANIFEST_BYTES_MAX)
    if not isinstance(decoded, dict) or not isinstance(decoded.get(b"info"), dict):
        raise ProtocolError("not a torrent: no info dictionary")
    return hashlib.sha256(bencode.encode(decoded[b"info"])).hexdigest()


def piece_count(manifest: Manifest) -> int:
    """How many pieces the release has."""
    return sum(_pieces_of(blob, manifest.piece_size_bytes) for blob in manifest.blobs)


def piece_spans(manifest: Manifest) -> list[PieceSpan]:
    """Where each piece stands, by piece number."""
    size_bytes = manifest.piece_size_bytes
    return [
        PieceSpan(blob_index, offset, min(size_bytes, blob.size_bytes - offset))
        for blob_index, blob in enumerate(manifest.blobs)
        for offset in range(0, blob.size_bytes, size_bytes)
    ]


def gap_spans(spans: Sequence[PieceSpan], gaps: Iterable[Gap]) -> list[PieceSpan]:
    """Where the bytes of *gaps* stand; *spans* are those of all pieces.

    Raises:
        ProtocolError: a gap is none of its piece, or together they are more than their pieces.
    """
    found: list[PieceSpan] = []
    before = (-1, 0)
    for gap in gaps:
        fits = gap.piece < len(spans) and gap.start < gap.end <= spans[gap.piece].size_bytes
        if not fits or (gap.piece, gap.start) < before:
            raise ProtocolError(f"no gap of piece {gap.piece}: {gap.start} to {gap.end}")
        before = (gap.piece, gap.end)
        blob_index, offset, _ = spans[gap.piece]
        found.append(PieceSpan(blob_index, offset + gap.start, gap.end - gap.start))
    return found


class PieceCheck:
    """Judges the pieces of one release, each in a time that hardly grows with its blobs.

    Args:
        manifest: Judged by ``check_manifest``.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._blobs = manifest.blobs
        self._piece_size_bytes = manifest.piece_size_bytes
        counts = (_pieces_of(blob, manifest.piece_size_bytes) for blob in manifest.blobs)
        self._firsts = list(accumulate(counts, initial=0))  # of each blob; the last is the count

    def is_right(self, piece_index: int, data: bytes | memoryview) -> bool:
        """Whether *data* is piece *piece_index*: the right size and SHA-256 tree.

        False as well for a number that the release does not have.
        """
        if not 0 <= piece_index < self._firsts[-1]:
            return False
        number = bisect_right(self._firsts, piece_index) - 1
        within = piece_index - self._firsts[number]
        return _fits(self._blobs[number], self._piece_size_bytes, within, data)


def _fits(blob: Blob, piece_size_bytes: int, number: int, data: bytes | memoryview) -> bool:
    offset = number * piece_size_bytes
    if len(data) != min(piece_size_bytes, blob.size_bytes - offset):
        return False
    if not blob.piece_layer:
        only = piece_hash(data, piece_size_bytes=piece_size_bytes, only_piece=True)
        return only == blob.pieces_root
    found = piece_hash(data, piece_size_bytes=piece_size_bytes, only_piece=False)
    return found == blob.piece_layer[number * HASH_BYTES : (number + 1) * HASH_BYTES]


def _pieces_of(blob: Blob, piece_size_bytes: int) -> int:
    return -(-blob.size_bytes // piece_size_bytes)
