"""Which releases on disk may be deleted.  Pure: the caller tells the time and deletes.

A release goes only when the activation core has not asked to keep it for a while: after a start
the core knows just what its records say, and learns of a plan under way from the cell.
"""

from __future__ import annotations

from p2pdeploy.ids import Digest, ServiceName

__all__ = ["Collector"]

# Longer than a restarted daemon takes to learn its cell's orders (seconds), or than a short
# partition lasts: a release that was half fetched before is not thrown away.
KEEP_UNASKED_S = 600.0


class Collector:
    """Decides which releases may go.  Pure: the caller tells the time and deletes."""

    def __init__(self) -> None:
        self._kept: dict[ServiceName, frozenset[Digest]] = {}
        self._unasked_since: dict[Digest, float] = {}

    def keep(self, service: ServiceName, digests: frozenset[Digest]) -> None:
        """The core's latest word on *service*."""
        self._kept[service] = digests

    def keeps(self, digest: Digest) -> bool:
        """Whether the core asks for *digest* now."""
        return any(digest in digests for digests in self._kept.values())

    def collectable(
        self, on_disk: list[Digest], *, in_use: frozenset[Digest], now_s: float
    ) -> list[Digest]:
        """Those of *on_disk* that nobody has asked for during ``KEEP_UNASKED_S``.

        Args:
            on_disk: Every release there is.
            in_use: Linked, or being staged right now: never collected.
            now_s: CLOCK_BOOTTIME.
        """
        kept = in_use.union(*self._kept.values())
        self._unasked_since = {
            digest: self._unasked_since.get(digest, now_s)
            for digest in on_disk
            if digest not in kept
        }
        return [d for d, since in self._unasked_since.items() if now_s - since >= KEEP_UNASKED_S]
