"""Which piece may leave the origin next: those sent least often first, in number order (pure).

There is one queue for each stripe, so that who carries some draws of these.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable

from p2pdeploy.swarm.stripes import ALL_STRIPES, STRIPES, stripe_of

__all__ = ["Claims", "PieceQueue"]


class PieceQueue:
    """Begins with every piece.  One that was taken out stands here again only when pushed."""

    def __init__(self, piece_count: int) -> None:
        # By stripe a heap of (times dealt, piece).
        self._free = [
            [(0, piece) for piece in range(stripe, piece_count, STRIPES)]
            for stripe in range(STRIPES)
        ]
        self._queued = bytearray(b"\x01") * piece_count  # 1: in the heap, perhaps in vain
        self._times_dealt = array("I", bytes(4 * piece_count))

    def __len__(self) -> int:
        """How many stand here, some perhaps in vain."""
        return sum(map(len, self._free))

    def push(self, pieces: Iterable[int]) -> None:
        for piece in pieces:
            if not self._queued[piece]:
                self._queued[piece] = 1
                heap = self._free[stripe_of(piece)]
                heapq.heappush(heap, (self._times_dealt[piece], piece))

    def pop(self, stripes: int = ALL_STRIPES) -> int | None:
        """The next piece of *stripes*, perhaps needed no more by now; None when there is none."""
        heaps = [heap for stripe, heap in enumerate(self._free) if stripes >> stripe & 1 and heap]
        if not heaps:
            return None
        _, piece = heapq.heappop(min(heaps))
        self._queued[piece] = 0
        return piece

    def is_new(self, piece: int) -> bool:
        """Whether *piece* has never left the origin."""
        return not self._times_dealt[piece]

    def count_deal(self, piece: int) -> None:
        """*piece* has left the origin once more."""
        self._times_dealt[piece] += 1

    def dealt_once(self) -> int:
        """How many pieces have left the origin at all; costs O(pieces)."""
        return sum(1 for count in self._times_dealt if count)


class Claims:
    """When a carrier of each stripe asked last."""

    def __init__(self) -> None:
        self._asked_at = [-1.0] * STRIPES

    def note(self, stripes: int, now: float) -> None:
        """A host that carries *stripes* has a free slot."""
        for stripe in range(STRIPES):
            if stripes >> stripe & 1 or self._asked_at[stripe] < 0:
                self._asked_at[stripe] = now

    def unclaimed(self, now: float, patience_s: float) -> int:
        """The stripes that nobody has asked for within *patience_s*."""
        return sum(
            1 << stripe for stripe in range(STRIPES) if now - self._asked_at[stripe] > patience_s
        )
