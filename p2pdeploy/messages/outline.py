"""Outlines: how a host finds what of a changed chunk did not change.

A chunk is too large a measure for a small edit.  Its *outline* cuts it by content once more, into
parts of 1 KiB, each with a mark; the host cuts what it has beside that place the same way, and
copies the parts it finds.  Marks are short: what is wrong after all fails the piece's own hash.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.limits import FILES_PER_RELEASE_MAX

__all__ = [
    "MARK_BYTES",
    "OUTLINES_MAX",
    "OUTLINE_REPLY_BYTES_MAX",
    "OUTLINE_REQUEST_BYTES_MAX",
    "ChunkPlace",
    "Outline",
    "OutlineReply",
    "OutlineRequest",
]

# Of one request: the origin reads and hashes at most 32 MiB for it, about a tenth of a second.
OUTLINES_MAX = 128
OUTLINE_REQUEST_BYTES_MAX = OUTLINES_MAX * 24 + 1_024
MARK_BYTES = 8  # a chance in 2^30 that any two of 100,000 parts look alike by accident

_CHUNK_BYTES_MAX = 256 * 1024
_PART_BYTES_MIN = 256
_PARTS_MAX = _CHUNK_BYTES_MAX // _PART_BYTES_MIN + 1
OUTLINE_REPLY_BYTES_MAX = OUTLINES_MAX * _PARTS_MAX * (MARK_BYTES + 3) + 1_024


class ChunkPlace(msgspec.Struct, frozen=True, array_like=True):
    """A chunk of a release."""

    blob_index: Annotated[int, msgspec.Meta(ge=0, lt=FILES_PER_RELEASE_MAX)]
    offset_bytes: Annotated[int, msgspec.Meta(ge=0, lt=2**42)]
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=_CHUNK_BYTES_MAX)]


class OutlineRequest(msgspec.Struct, frozen=True, kw_only=True, tag="outlines?"):
    """A host asks for the outlines of chunks that it has something of, it thinks."""

    cell: CellId
    manifest_digest: Digest
    host: HostName
    chunks: Annotated[tuple[ChunkPlace, ...], msgspec.Meta(min_length=1, max_length=OUTLINES_MAX)]


class Outline(msgspec.Struct, frozen=True, array_like=True):
    """The parts of one chunk in order: ``marks`` holds 8 bytes for each of ``sizes_bytes``."""

    marks: Annotated[bytes, msgspec.Meta(max_length=_PARTS_MAX * MARK_BYTES)]
    sizes_bytes: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=_CHUNK_BYTES_MAX)], ...],
        msgspec.Meta(max_length=_PARTS_MAX),
    ]


class OutlineReply(msgspec.Struct, frozen=True, kw_only=True, tag="outlines"):
    """The outlines of the chunks that were asked for, in that order."""

    outlines: Annotated[tuple[Outline, ...], msgspec.Meta(max_length=OUTLINES_MAX)]
