"""Where the chunks of a new release lie in older ones (pure).

Chunks are found by their digest, whatever file, pack or service they belong to.  Those that
follow each other in both releases are one *run*, so that they are copied at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from p2pdeploy.manifest import BlobChunks, ChunkIndex

__all__ = ["Place", "Run", "locate", "runs_of"]

_DIGEST_BYTES = 32


class Place(NamedTuple):
    """Where an older release has something.  ``older_index`` counts the releases in their order."""

    older_index: int
    blob_index: int
    offset_bytes: int


class Run(NamedTuple):
    """Chunks that follow each other in an older blob as well as in the new one."""

    place: Place
    new_offset_bytes: int
    chunks: list[tuple[bytes, int]]  # digest, size


def locate(new_index: ChunkIndex, older_indexes: Iterable[ChunkIndex]) -> dict[bytes, Place]:
    """Where the chunks of *new_index* lie; the first older release that has one counts.

    *older_indexes* is read one by one, and no further once nothing is missing any more.
    Memory: about 200 bytes for each chunk of the new release.
    """
    missing = {digest for blob in new_index.blobs for digest, _, _ in _chunks(blob)}
    places: dict[bytes, Place] = {}
    for older_index, older in enumerate(older_indexes):
        for blob_index, blob in enumerate(older.blobs):
            for digest, offset, _ in _chunks(blob):
                if digest in missing:
                    missing.remove(digest)
                    places[digest] = Place(older_index, blob_index, offset)
        if not missing:
            break
    return places


def runs_of(chunks: BlobChunks, places: dict[bytes, Place]) -> Iterator[Run]:
    """What to copy into one new blob, in the order of its bytes."""
    run: Run | None = None
    run_bytes = 0
    for digest, offset, size in _chunks(chunks):
        place = places.get(digest)
        follows = (
            run is not None
            and place == run.place._replace(offset_bytes=run.place.offset_bytes + run_bytes)
            and offset == run.new_offset_bytes + run_bytes
        )
        if run is not None and not follows:
            yield run
            run = None
        if place is not None:
            if run is None:
                run, run_bytes = Run(place, offset, []), 0
            run.chunks.append((digest, size))
            run_bytes += size
    if run is not None:
        yield run


def _chunks(chunks: BlobChunks) -> Iterator[tuple[bytes, int, int]]:
    """Digest, offset and size of each chunk of a blob."""
    offset = 0
    for number, size in enumerate(chunks.sizes_bytes):
        yield chunks.digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES], offset, size
        offset += size
