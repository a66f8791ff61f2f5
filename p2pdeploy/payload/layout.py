"""How a tree's files become the files of its torrent.

A file of :data:`PACKED_BELOW_BYTES` or more is a blob of its own, at its final path, so that it
exists once on a host's disk.  Smaller ones share *packs* in path order: small torrent files are
dear (20,000 of them moved at 14 MB/s, the same bytes as one file at 397 MB/s).  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from p2pdeploy.payload.paths import pack_path, path_key

__all__ = ["PACKED_BELOW_BYTES", "PACK_BYTES_MAX", "BlobPlan", "piece_size_for", "plan_blobs"]

PACKED_BELOW_BYTES = 1024 * 1024
PACK_BYTES_MAX = 64 * 1024 * 1024  # packs exist twice on a host; one is rebuilt at a time

# Two blocks of BEP 52: libtorrent 2.1.1 writes out of bounds when a peer will not prove the blocks
# of a wrong piece that is one block long (https://github.com/arvidn/libtorrent/pull/8630).
PIECE_BYTES_MIN = 32 * 1024
PIECE_BYTES_MAX = 16 * 1024 * 1024  # a host must hold a piece in memory to verify it
# Fewer than 500 pieces cost: the pipeline fills slowly.  More cost as well: each is told to every
# neighbour of every host (with 2,048 pieces of 64 MiB on 16 hosts, an eighth of the CPU time).
PIECES_WANTED = 1_000


class TreePath(Protocol):
    """What the layout depends on: a path found on disk, or an entry of a manifest."""

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


P = TypeVar("P", bound=TreePath)


class BlobPlan(NamedTuple, Generic[P]):
    """One blob: which files it consists of, in order."""

    path: str
    size_bytes: int
    files: tuple[P, ...]


def plan_blobs(found: Iterable[P]) -> list[BlobPlan[P]]:
    """Lay the files out in blobs, in the order of the torrent.  Empty files are in none.

    *found* is in path order.  The layout follows from paths and sizes alone, so whoever has the
    entries of a manifest can tell whether its blobs are right.
    """
    blobs: list[BlobPlan[P]] = []
    pack: list[P] = []
    pack_bytes = pack_count = 0
    for item in found:
        if item.kind != "file" or item.size_bytes == 0:
            continue
        if item.size_bytes >= PACKED_BELOW_BYTES:
            blobs.append(BlobPlan(item.path, item.size_bytes, (item,)))
            continue
        if pack_bytes + item.size_bytes > PACK_BYTES_MAX:
            blobs.append(BlobPlan(pack_path(pack_count), pack_bytes, tuple(pack)))
            pack, pack_bytes, pack_count = [], 0, pack_count + 1
        pack.append(item)
        pack_bytes += item.size_bytes
    if pack:
        blobs.append(BlobPlan(pack_path(pack_count), pack_bytes, tuple(pack)))
    return sorted(blobs, key=lambda blob: path_key(blob.path))


def piece_size_for(size_bytes: int) -> int:
    """The power of two nearest to a 1,000th of *size_bytes*, within the limits; ties go up."""
    wanted = max(size_bytes // PIECES_WANTED, 1)
    below = 1 << (wanted.bit_length() - 1)
    nearest = below if 2 * wanted < 3 * below else 2 * below
    return min(max(nearest, PIECE_BYTES_MIN), PIECE_BYTES_MAX)
