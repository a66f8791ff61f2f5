"""From a spool to verified blobs: what is missing, what can be copied, and is it all true.

Blocking functions; each is one unit of work for a thread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence, Set

import blake3
import msgspec

from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Entry
from p2pdeploy.merkle import PieceTree
from p2ptracker.registry.chunk_map import Chunk
from p2ptracker.registry.spool import Spool
from p2ptracker.storage.interfaces import BlobStore
from p2ptracker.storage.releases import ChunkPlace

__all__ = [
    "Needs",
    "check_digests",
    "check_trees",
    "copy_known_chunks",
    "needs_of",
    "sync_blobs",
    "wrong_chunks",
]

WINDOW_BYTES = 4 * 1024 * 1024  # large against a thread switch, small against memory; a whole block
_NO_COPY = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Needs(msgspec.Struct, frozen=True):
    """What a spool still needs.

    ``blobs`` are the numbers of those that the store lacks, each content once; ``missing`` the
    numbers of chunks that must come over the wire; ``first`` tells of each chunk digest where in
    the spool it occurs first.
    """

    blobs: tuple[int, ...]
    missing: list[int]
    first: Mapping[bytes, int]


def needs_of(spool: Spool, present: Set[Digest], places: Mapping[bytes, ChunkPlace]) -> Needs:
    """Compare a spool with what the store has.

    Args:
        spool: The release.
        present: Which of its blobs the store holds.
        places: Which of its chunks the store can copy from elsewhere.
    """
    wanted: dict[Digest, int] = {}
    for number, blob in enumerate(spool.manifest.blobs):
        if blob.digest not in present:
            wanted.setdefault(blob.digest, number)
    blobs = tuple(wanted.values())
    to_assemble = frozenset(blobs)
    first: dict[bytes, int] = {}
    missing: list[int] = []
    for chunk in spool.chunks:
        if chunk.blob_index not in to_assemble or chunk.digest in first:
            continue
        first[chunk.digest] = chunk.number
        if chunk.digest not in places and not spool.has(chunk.number):
            missing.append(chunk.number)
    return Needs(blobs, missing, first)


def copy_known_chunks(
    spool: Spool, needs: Needs, places: Mapping[bytes, ChunkPlace], store: BlobStore
) -> None:
    """Put every chunk that did not come over the wire in its place in the spool."""
    for blob_index, chunks in _by_blob(spool, needs.blobs):
        lacking = [chunk for chunk in chunks if not spool.has(chunk.number)]
        if not lacking and chunks:
            continue
        target = spool.open_blob(blob_index)
        try:
            for chunk in lacking:
                _copy_one(spool, target, chunk, needs, places, store)
        finally:
            os.close(target)


def _copy_one(
    spool: Spool,
    target: int,
    chunk: Chunk,
    needs: Needs,
    places: Mapping[bytes, ChunkPlace],
    store: BlobStore,
) -> None:
    place = places.get(chunk.digest)
    if place is not None:
        path, offset = store.local_path(place.blob), place.offset_bytes
    else:
        twin = spool.chunks[needs.first[chunk.digest]]
        path, offset = spool.blob_path(twin.blob_index), twin.offset_bytes
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # the place stays zeros; the check finds it and the chunk is asked for
    try:
        _copy_range(source, offset, target, chunk.offset_bytes, chunk.size_bytes)
    finally:
        os.close(source)


def _copy_range(source: int, source_at: int, target: int, target_at: int, size: int) -> None:
    while size > 0:
        try:
            done = os.copy_file_range(source, target, size, source_at, target_at)
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
            data = os.pread(source, size, source_at)
            done = os.pwrite(target, data, target_at)
        if done == 0:
            return  # shorter than it should be: the check finds it
        source_at, target_at, size = source_at + done, target_at + done, size - done


def sync_blobs(spool: Spool, blobs: Sequence[int]) -> None:
    """Have the disk take the bytes while they are hashed: the store will ask for that anyway."""
    for number in blobs:
        descriptor = spool.open_blob(number)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_trees(spool: Spool, blobs: Sequence[int]) -> list[int]:
    """The blobs whose SHA-256 tree is not what the manifest says."""
    wrong: list[int] = []
    for number in blobs:
        blob = spool.manifest.blobs[number]
        tree = PieceTree(spool.manifest.piece_size_bytes)
        for window in _windows(spool, number, 0, blob.size_bytes):
            tree.feed(window)
        if tree.finish() != (blob.pieces_root, blob.piece_layer):
            wrong.append(number)
    return wrong


def check_digests(spool: Spool, blobs: Sequence[int]) -> list[int]:
    """The blobs whose BLAKE3, or that of a file packed in them, is not what the manifest says."""
    packed: dict[int, list[Entry]] = {}
    for entry in spool.manifest.entries:
        packed.setdefault(entry.blob_index, []).append(entry)
    return [
        number
        for number in blobs
        if _digest(spool, number, 0, spool.manifest.blobs[number].size_bytes)
        != spool.manifest.blobs[number].digest
        or not all(_entry_is_true(spool, number, entry) for entry in packed.get(number, ()))
    ]


def _entry_is_true(spool: Spool, number: int, entry: Entry) -> bool:
    blob = spool.manifest.blobs[number]
    if entry.size_bytes == blob.size_bytes:
        return entry.digest == blob.digest
    return _digest(spool, number, entry.offset_bytes, entry.size_bytes) == entry.digest


def wrong_chunks(spool: Spool, blobs: Sequence[int]) -> list[Chunk]:
    """The chunks of *blobs* whose bytes do not have their digest."""
    wrong: list[Chunk] = []
    for blob_index, chunks in _by_blob(spool, blobs):
        descriptor = spool.open_blob(blob_index)
        try:
            for chunk in chunks:
                data = os.pread(descriptor, chunk.size_bytes, chunk.offset_bytes)
                if blake3.blake3(data).digest() != chunk.digest:
                    wrong.append(chunk)
        finally:
            os.close(descriptor)
    return wrong


def _by_blob(spool: Spool, blobs: Sequence[int]) -> Iterator[tuple[int, list[Chunk]]]:
    chunks: dict[int, list[Chunk]] = {number: [] for number in blobs}
    for chunk in spool.chunks:
        if chunk.blob_index in chunks:
            chunks[chunk.blob_index].append(chunk)
    yield from chunks.items()


def _digest(spool: Spool, blob_index: int, offset: int, size: int) -> str:
    hasher = blake3.blake3()
    for window in _windows(spool, blob_index, offset, size):
        hasher.update(window)
    return hasher.hexdigest()


def _windows(spool: Spool, blob_index: int, offset: int, size: int) -> Iterator[memoryview]:
    """The bytes of a range; each window is valid until the next one is asked for."""
    buffer = memoryview(bytearray(min(size, WINDOW_BYTES)))
    descriptor = spool.open_blob(blob_index)
    try:
        while size > 0:
            count = os.preadv(descriptor, [buffer[:size]], offset)
            if count == 0:
                return  # shorter than it should be: the digest will not fit
            yield buffer[:count]
            offset, size = offset + count, size - count
    finally:
        os.close(descriptor)
