"""Where every chunk of a release lies: number -> blob, offset, size, digest.

Arrays, not objects: 10 GB are up to 655,360 chunks.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec

from p2pdeploy.limits import CHUNK_INDEX_BYTES_MAX
from p2pdeploy.manifest import ChunkIndex
from p2pdeploy.messages.upload import END_OF_CHUNKS

__all__ = ["Chunk", "ChunkMap", "runs_of"]

_DIGEST_BYTES = 32
assert CHUNK_INDEX_BYTES_MAX < END_OF_CHUNKS * _DIGEST_BYTES, "every chunk has a number"


class Chunk(msgspec.Struct, frozen=True):
    """One chunk of one blob; ``digest`` is BLAKE3 in raw bytes."""

    number: int
    blob_index: int
    offset_bytes: int
    size_bytes: int
    digest: bytes


class ChunkMap:
    """The chunks of *index*, numbered over all blobs in order; it was checked before."""

    def __init__(self, index: ChunkIndex) -> None:
        self._blobs = array("I")
        self._offsets = array("Q")
        self._sizes = array("I")
        self._digests = b"".join(chunks.digests for chunks in index.blobs)
        for number, chunks in enumerate(index.blobs):
            self._add_blob(number, chunks.sizes_bytes)

    def _add_blob(self, number: int, sizes: tuple[int, ...]) -> None:
        offset = 0
        for size in sizes:
            self._blobs.append(number)
            self._offsets.append(offset)
            self._sizes.append(size)
            offset += size

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number: int) -> Chunk:
        return Chunk(
            number,
            self._blobs[number],
            self._offsets[number],
            self._sizes[number],
            self._digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES],
        )

    def __iter__(self) -> Iterator[Chunk]:
        return map(self.__getitem__, range(len(self)))


def runs_of(numbers: list[int]) -> list[tuple[int, int]]:
    """Rising *numbers* as ``(first, count)`` runs."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
