"""Which changed chunks have something in common with older bytes, and where those lie (pure).

What changed begins and ends inside a chunk.  So the first changed chunk after one that was found
goes on where that one ended in the older release, and the last ones before a found one end where
that begins.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from p2pdeploy.manifest import BlobChunks
from p2pdeploy.messages.outline import ChunkPlace
from p2pdeploy.payload.chunk_runs import Place

__all__ = ["CopiedRun", "Edge", "OldBytes", "edges_of"]

# How much more than a chunk is looked through, for what was inserted or taken out before its end.
_SLACK_BYTES = 16 * 1024
# Behind a change the cuts may need some chunks until they are those of before again.  In front of
# it they are, up to the very chunk in which it begins.  Of 40 changes in 256 MiB none needed more.
_CHUNKS_BEFORE = 4


class CopiedRun(NamedTuple):
    """Bytes of a new blob that were found at a place of an older one."""

    offset_bytes: int
    size_bytes: int
    place: Place

    @property
    def end_bytes(self) -> int:
        """Where they end in the new blob."""
        return self.offset_bytes + self.size_bytes


class OldBytes(NamedTuple):
    """Bytes of an older release; they may go beyond the end of the blob."""

    place: Place
    size_bytes: int


class Edge(NamedTuple):
    """A changed chunk, and older bytes that may have something of it."""

    chunk: ChunkPlace
    olds: list[OldBytes]


def edges_of(blob_index: int, chunks: BlobChunks, runs: Sequence[CopiedRun]) -> list[Edge]:
    """The edges of what changed in one blob; *runs*, each of whole chunks, were found in order."""
    starts = [0, *accumulate(chunks.sizes_bytes)]
    edges: dict[int, Edge] = {}

    def add(number: int, place: Place, size_bytes: int) -> None:
        chunk = ChunkPlace(blob_index, starts[number], chunks.sizes_bytes[number])
        edges.setdefault(number, Edge(chunk, [])).olds.append(OldBytes(place, size_bytes))

    for before, after in zip([None, *runs], [*runs, None], strict=True):
        begin = 0 if before is None else before.end_bytes
        end = starts[-1] if after is None else after.offset_bytes
        if begin >= end:
            continue
        if before is not None:
            number = bisect_left(starts, begin)
            old_end = before.place.offset_bytes + before.size_bytes
            reach = chunks.sizes_bytes[number] + _SLACK_BYTES
            add(number, before.place._replace(offset_bytes=old_end), reach)
        if after is not None:
            last = bisect_left(starts, end) - 1
            for number in range(
                last, max(last - _CHUNKS_BEFORE, bisect_left(starts, begin) - 1), -1
            ):
                old_end = after.place.offset_bytes - (end - starts[number + 1]) + _SLACK_BYTES
                old_end = min(old_end, after.place.offset_bytes)
                reach = chunks.sizes_bytes[number] + 2 * _SLACK_BYTES
                first = max(0, old_end - reach)
                if first < old_end:
                    add(number, after.place._replace(offset_bytes=first), old_end - first)
    return [edges[number] for number in sorted(edges)]
