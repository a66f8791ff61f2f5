"""Which piece may leave the origin next: those sent least often first, in number order (pure).

Sets of pieces are bitsets (:mod:`.holdings`): nothing but the pieces that are taken costs time one
by one.
"""

from __future__ import annotations

from collections.abc import Iterator

from p2pdeploy.swarm.holdings import rising, without
from p2pdeploy.swarm.stripes import ALL_STRIPES, STRIPES, pieces_of

__all__ = ["Claims", "PieceQueue"]

# What left more often than this stands with what left this often: hosts lose it again and again,
# and it comes last all the same.
TIMES_MAX = 7


class PieceQueue:
    """Begins with every piece.  One that was sent may leave again only when pushed."""

    def __init__(self, piece_count: int) -> None:
        self._piece_count = piece_count
        everything = (1 << piece_count) - 1
        self._free = everything
        self._sent = [everything, *[0] * TIMES_MAX]  # by times sent

    def __len__(self) -> int:
        """How many may leave."""
        return self._free.bit_count()

    @property
    def sent_count(self) -> int:
        """How many have left the origin at all."""
        return self._piece_count - self._sent[0].bit_count()

    def push(self, pieces: int) -> None:
        """Those of a bitset may leave (again)."""
        self._free |= pieces

    def withdraw(self, pieces: int) -> None:
        """Those of a bitset need not leave any more."""
        self._free = without(self._free, pieces)

    def has_some(self, stripes: int = ALL_STRIPES) -> bool:
        """Whether a piece of *stripes* may leave."""
        return bool(self._of(stripes))

    def first(self, stripes: int = ALL_STRIPES) -> Iterator[int]:
        """The pieces of *stripes* that may leave, the next one first; read few of them."""
        free = self._of(stripes)
        for sent in self._sent:
            yield from rising(free & sent)

    def is_new(self, piece: int) -> bool:
        """Whether *piece* has never left the origin."""
        return bool(self._sent[0] >> piece & 1)

    def count_sent(self, pieces: int) -> None:
        """Those of a bitset have left the origin once more, and may not again."""
        self.withdraw(pieces)
        for times in range(TIMES_MAX - 1, -1, -1):
            moved = self._sent[times] & pieces
            if moved:
                self._sent[times] ^= moved
                self._sent[times + 1] |= moved

    def _of(self, stripes: int) -> int:
        if stripes == ALL_STRIPES or not self._free:
            return self._free
        return self._free & pieces_of(stripes, self._piece_count) if stripes else 0


class Claims:
    """When a carrier of each stripe asked last."""

    def __init__(self) -> None:
        self._asked_at = [-1.0] * STRIPES

    def note(self, stripes: int, now: float) -> None:
        """A host that carries *stripes* asks."""
        for stripe in range(STRIPES):
            if stripes >> stripe & 1 or self._asked_at[stripe] < 0:
                self._asked_at[stripe] = now

    def unclaimed(self, now: float, patience_s: float) -> int:
        """The stripes that nobody has asked for within *patience_s*."""
        return sum(
            1 << stripe for stripe in range(STRIPES) if now - self._asked_at[stripe] > patience_s
        )
