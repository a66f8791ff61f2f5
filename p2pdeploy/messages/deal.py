"""How a host draws pieces from the origin: one request, one reply.

The bytes of a :class:`Deal` do not travel inside it; they follow in the body of the HTTP answer,
piece after piece.  Of pieces that the host has in part none follow: it asks for their gaps.
A *bitmap* has one bit per piece, the first piece in the highest bit of the first byte, spare bits
zero (BEP 3, "bitfield": https://www.bittorrent.org/beps/bep_0003.html).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.swarm import FetchProgress

__all__ = [
    "DEAL_PIECES_MAX",
    "DEAL_REPLY_BYTES_MAX",
    "DEAL_REQUEST_BYTES_MAX",
    "GAPS_MAX",
    "GAP_REPLY_BYTES_MAX",
    "GAP_REQUEST_BYTES_MAX",
    "MISSING_MAX",
    "PIECES_MAX",
    "AllDealt",
    "Deal",
    "DealReply",
    "DealRequest",
    "DealtPiece",
    "Gap",
    "GapReply",
    "GapRequest",
    "HolderHint",
    "WaitDeal",
    "bitmap_of",
]

# 200,000 files (each begins a piece) and 1 TB in pieces of 16 MiB; the bitmap stays at 32 KiB.
PIECES_MAX = 262_144

# One request names at most this many missing pieces; a host that misses more asks again.
MISSING_MAX = 64

DEAL_PIECES_MAX = 16  # of one deal; the smallest pieces make half a megabyte then
DEAL_REPLY_BYTES_MAX = 1_024  # 16 pieces of 40 bytes, or one host name
DEAL_REQUEST_BYTES_MAX = PIECES_MAX // 4 + 4_096  # two bitmaps, missing pieces, names, figures

GAPS_MAX = 64 * DEAL_PIECES_MAX  # a piece with more of them is better sent whole
GAP_REQUEST_BYTES_MAX = GAPS_MAX * 16 + 1_024  # three numbers each, and the names
GAP_REPLY_BYTES_MAX = 256  # 16 numbers of five bytes, and what they are


class DealRequest(msgspec.Struct, frozen=True, kw_only=True, tag="deal?"):
    """A host asks for the next pieces that nobody in its cell has yet.

    ``have`` is the bitmap of verified pieces; it confirms what was dealt before.  ``missing`` are
    pieces that no reachable neighbour has had for some seconds.  ``dropped`` are pieces it was
    dealt and could not use.  ``partly`` is the bitmap of pieces that it has in part, empty when
    there are none: if they are dealt, it asks for their gaps, so no bytes of them follow.
    ``fresh``: the host has just looked at its disk; what it said before, and deals under way to
    it, count no more.  (Other requests may overtake each other, so they only ever add.)
    ``completed``: the host has everything; it only reports.  ``paused``: so does one that may not
    draw now, because it keeps to a rate, or that is still receiving what it was dealt.
    ``progress``: the host's own figures; no deal depends on them.
    ``stripes``: those it draws pieces of, one bit each; all where the cell has no groups.
    """

    cell: CellId
    manifest_digest: Digest
    host: HostName
    have: bytes
    missing: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    partly: bytes = b""
    fresh: bool = False
    completed: bool = False
    progress: FetchProgress | None = None
    paused: bool = False
    stripes: Annotated[int, msgspec.Meta(ge=0, le=255)] = 255


class DealtPiece(msgspec.Struct, frozen=True, array_like=True):
    """One piece of a deal."""

    piece: int
    size_bytes: Annotated[int, msgspec.Meta(ge=1)]


_Hosts = Annotated[int, msgspec.Meta(ge=0, le=CELL_HOSTS_MAX)]


class Deal(msgspec.Struct, frozen=True, kw_only=True, tag="deal"):
    """Take these pieces; their bytes follow in this order.

    ``drawing``: how many hosts of the cell draw now, over all releases; 0 is not known.
    """

    pieces: Annotated[
        tuple[DealtPiece, ...], msgspec.Meta(min_length=1, max_length=DEAL_PIECES_MAX)
    ]
    drawing: _Hosts = 0

    @property
    def size_bytes(self) -> int:
        """Of all its pieces."""
        return sum(dealt.size_bytes for dealt in self.pieces)


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """Bytes that a host lacks of a piece, from ``start`` to the one before ``end``."""

    piece: Annotated[int, msgspec.Meta(ge=0, lt=PIECES_MAX)]
    start: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    end: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]


class GapRequest(msgspec.Struct, frozen=True, kw_only=True, tag="gaps?"):
    """A host asks for what it lacks of pieces that it was dealt and has in part.

    They are of one deal, so ``DEAL_PIECES_MAX`` pieces at most.  The bytes follow in the body of
    the answer, gap after gap.
    """

    cell: CellId
    manifest_digest: Digest
    host: HostName
    gaps: Annotated[tuple[Gap, ...], msgspec.Meta(min_length=1, max_length=GAPS_MAX)]

    @property
    def size_bytes(self) -> int:
        """Of all its gaps."""
        return sum(gap.end - gap.start for gap in self.gaps)


class GapReply(msgspec.Struct, frozen=True, kw_only=True, tag="gaps"):
    """The bytes of the gaps follow, but for those of ``refused``.

    These pieces are not on their way to the host any more, or their gaps were sent already.
    """

    refused: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, lt=PIECES_MAX)], ...],
        msgspec.Meta(max_length=DEAL_PIECES_MAX),
    ] = ()


class HolderHint(msgspec.Struct, frozen=True, kw_only=True, tag="holder"):
    """A live host has the missing piece: connect to it instead."""

    piece: int
    host: HostName


class WaitDeal(msgspec.Struct, frozen=True, kw_only=True, tag="wait"):
    """Nothing to deal now, but perhaps later: ask again after ``retry_after_s``.

    ``exhausted``: every piece was dealt already; else it is others' turn.  ``drawing``: as of a
    :class:`Deal`.
    """

    retry_after_s: float
    exhausted: bool = False
    drawing: _Hosts = 0


class AllDealt(msgspec.Struct, frozen=True, kw_only=True, tag="dealt"):
    """Every piece is planted in the cell; the mesh brings the rest."""


DealReply = Deal | HolderHint | WaitDeal | AllDealt


def bitmap_of(bits: list[bool]) -> bytes:
    """Pack one truth value per piece into a bitmap."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        if bit:
            packed[index >> 3] |= 0x80 >> (index & 7)
    return bytes(packed)
