"""Which piece may leave the origin next: those sent least often first, in number order (pure)."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable

__all__ = ["PieceQueue"]


class PieceQueue:
    """Begins with every piece.  One that was taken out stands here again only when pushed."""

    def __init__(self, piece_count: int) -> None:
        self._free = [(0, piece) for piece in range(piece_count)]  # heap of (times dealt, piece)
        self._queued = bytearray(b"\x01") * piece_count  # 1: in the heap, perhaps in vain
        self._times_dealt = array("I", bytes(4 * piece_count))

    def __len__(self) -> int:
        """How many stand here, some perhaps in vain."""
        return len(self._free)

    def push(self, pieces: Iterable[int]) -> None:
        for piece in pieces:
            if not self._queued[piece]:
                self._queued[piece] = 1
                heapq.heappush(self._free, (self._times_dealt[piece], piece))

    def pop(self) -> int | None:
        """The next piece, which may be needed no more by now; None when there is none."""
        if not self._free:
            return None
        _, piece = heapq.heappop(self._free)
        self._queued[piece] = 0
        return piece

    def count_deal(self, piece: int) -> None:
        """*piece* has left the origin once more."""
        self._times_dealt[piece] += 1

    def dealt_once(self) -> int:
        """How many pieces have left the origin at all; costs O(pieces)."""
        return sum(1 for count in self._times_dealt if count)
