"""Which release holds how much room on the disk that it has not written yet.  Pure.

What a release holds is kept from all others, so that two that are fetched at once never count on
the same bytes.  The caller tells how much the disk has free, which no longer counts what was
written or allocated; it tells the books of that by :meth:`Reservations.shrink`.
"""

from __future__ import annotations

from p2pdeploy.ids import Digest

__all__ = ["Reservations"]


class Reservations:
    """The books.  As many entries as releases that are staged: one per service at most."""

    def __init__(self) -> None:
        self._held: dict[Digest, int] = {}

    def __repr__(self) -> str:
        return f"<Reservations {self.held_bytes} bytes of {len(self._held)} releases>"

    @property
    def held_bytes(self) -> int:
        """Room that is spoken for, and not written yet."""
        return sum(self._held.values())

    def missing_bytes(
        self, digest: Digest, needed_bytes: int, *, free_bytes: int, reserve_bytes: int
    ) -> int:
        """How much more room *digest* needs than there is for it; 0: there is enough.

        Args:
            digest: The release; what it holds itself is not in its way.
            needed_bytes: What it has still to write.
            free_bytes: What the disk has.
            reserve_bytes: How much of that no release may take.
        """
        others = self.held_bytes - self._held.get(digest, 0)
        return max(0, needed_bytes + others + reserve_bytes - free_bytes)

    def hold(
        self, digest: Digest, needed_bytes: int, *, free_bytes: int, reserve_bytes: int
    ) -> int:
        """Hold *needed_bytes* for *digest* if there is room; as :meth:`missing_bytes`.

        Unless 0 is returned, nothing was changed.
        """
        missing = self.missing_bytes(
            digest, needed_bytes, free_bytes=free_bytes, reserve_bytes=reserve_bytes
        )
        if not missing:
            self._held[digest] = needed_bytes
        return missing

    def shrink(self, digest: Digest, left_bytes: int) -> None:
        """*digest*, which holds room, has only *left_bytes* to write now; it never holds more."""
        self._held[digest] = min(self._held[digest], max(0, left_bytes))

    def let_go(self, digest: Digest) -> None:
        """*digest* is staged, or will not be.  Idempotent."""
        self._held.pop(digest, None)
