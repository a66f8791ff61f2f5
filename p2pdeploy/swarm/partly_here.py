"""Pieces that this host has in part: what it lacks of them, and how they become whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from p2pdeploy.messages.deal import GAPS_MAX, Gap
from p2pdeploy.swarm.bitsets import bitset_of_pieces

__all__ = ["PartlyHere", "Ranges"]

Ranges = Sequence[tuple[int, int]]
"""Each from a first byte of a piece to the one after the last, in order."""


class PartlyHere:
    """What a fetch knows of pieces that were on the disk in part when it began.

    Args:
        gaps: What is missing of each; everything else of it is right.
        read_piece: Reads a whole piece from the disk, holes as zeros; blocking.
    """

    def __init__(self, gaps: Mapping[int, Ranges], read_piece: Callable[[int], bytes]) -> None:
        self._gaps = {piece: ranges for piece, ranges in gaps.items() if len(ranges) < GAPS_MAX}
        self._read_piece = read_piece
        self.bits = bitset_of_pieces(self._gaps)  # which they are, bit k for piece k

    def __repr__(self) -> str:
        return f"<PartlyHere {len(self._gaps)} pieces>"

    def __contains__(self, piece: int) -> bool:
        return piece in self._gaps

    def forget(self, piece: int) -> None:
        """What is on the disk of *piece* is wrong: it is needed whole."""
        if self._gaps.pop(piece, None) is not None:
            self.bits ^= 1 << piece

    def ask_for(self, pieces: Iterable[int]) -> list[list[Gap]]:
        """The gaps of *pieces*, in as few requests as their bound allows."""
        requests: list[list[Gap]] = []
        for piece in pieces:
            gaps = [Gap(piece, start, end) for start, end in self._gaps[piece]]
            if not requests or len(requests[-1]) + len(gaps) > GAPS_MAX:
                requests.append([])
            requests[-1] += gaps
        return requests

    def join(self, gaps: Sequence[Gap], data: bytes) -> dict[int, bytes]:
        """The whole pieces, of what is here and *data*, the bytes of *gaps*.  Blocking.

        Raises:
            OSError, IntegrityError: what is here cannot be read.
        """
        pieces = {gap.piece: bytearray(self._read_piece(gap.piece)) for gap in gaps}
        offset_bytes = 0
        for gap in gaps:
            size_bytes = gap.end - gap.start
            pieces[gap.piece][gap.start : gap.end] = data[offset_bytes : offset_bytes + size_bytes]
            offset_bytes += size_bytes
        return {piece: bytes(whole) for piece, whole in pieces.items()}
