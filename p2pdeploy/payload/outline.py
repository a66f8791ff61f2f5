"""Cut a chunk into its outline, and find its parts in other bytes (pure).

Both sides must cut alike, so the parameters are part of the protocol, as those of chunks are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import blake3
from pyfastcdc import FastCDC

from p2pdeploy.errors import ProtocolError
from p2pdeploy.messages.outline import MARK_BYTES, ChunkPlace, Outline, OutlineReply

__all__ = ["Match", "check_outlines", "find_parts", "outline_of"]

# A mark and a size cost 11 bytes: 1 % of what they describe, and half a part is lost at each edge.
_PART_BYTES_MEAN = 1024
_PART_BYTES_MIN = 256
_PART_BYTES_MAX = 4096


class Match(NamedTuple):
    """Bytes of a chunk that stand elsewhere too."""

    offset_bytes: int
    found_bytes: int  # where in the other bytes
    size_bytes: int


def outline_of(chunk: bytes | memoryview) -> Outline:
    """The outline of one chunk."""
    marks: list[bytes] = []
    sizes: list[int] = []
    for _, part in _parts(chunk):
        marks.append(_mark(part))
        sizes.append(len(part))
    return Outline(b"".join(marks), tuple(sizes))


def find_parts(outline: Outline, data: bytes | memoryview) -> list[Match]:
    """What of the outlined chunk stands in *data*, in order; neighbours are one match."""
    places = {_mark(part): offset for offset, part in _parts(data)}
    matches: list[Match] = []
    at = 0
    for number, size in enumerate(outline.sizes_bytes):
        found = places.get(outline.marks[number * MARK_BYTES : (number + 1) * MARK_BYTES])
        if found is not None:
            last = matches[-1] if matches else Match(-1, -1, 0)
            if (last.offset_bytes + last.size_bytes, last.found_bytes + last.size_bytes) == (
                at,
                found,
            ):
                matches[-1] = last._replace(size_bytes=last.size_bytes + size)
            else:
                matches.append(Match(at, found, size))
        at += size
    return matches


def check_outlines(asked: list[ChunkPlace], reply: OutlineReply) -> list[Outline]:
    """The outlines in *reply*, one for each chunk that was *asked* for.

    Raises:
        ProtocolError: they do not fit those chunks.
    """
    if len(reply.outlines) != len(asked):
        raise ProtocolError(f"{len(reply.outlines)} outlines for {len(asked)} chunks")
    for chunk, outline in zip(asked, reply.outlines, strict=True):
        whole = sum(outline.sizes_bytes) == chunk.size_bytes
        if not whole or len(outline.marks) != MARK_BYTES * len(outline.sizes_bytes):
            raise ProtocolError("an outline does not fit its chunk")
    return list(reply.outlines)


def _parts(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    cutter = FastCDC(
        _PART_BYTES_MEAN,
        min_size=_PART_BYTES_MIN,
        max_size=_PART_BYTES_MAX,
        normalized_chunking=1,
        seed=0,
    )
    offset = 0
    for part in cutter.cut_buf(memoryview(data)):
        yield offset, part.data
        offset += len(part.data)


def _mark(part: memoryview) -> bytes:
    return blake3.blake3(part).digest(MARK_BYTES)
