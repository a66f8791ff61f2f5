"""Which releases on disk may be deleted.  Pure: the caller tells the time and deletes.

A release goes by itself only when the activation core has not asked to keep it for a while: after
a start the core knows just what its records say, and learns of a plan under way from the cell.
Where room is needed it goes sooner: as soon as the core has let go of it in this life of the
daemon, or long enough after the start for the cell's orders to be known.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.cache import CacheState

__all__ = ["Collector", "ReleaseOnDisk", "victims"]

# A release that was half fetched before is not thrown away after a long partition.
KEEP_UNASKED_S = 600.0
# Longer than a restarted daemon takes to learn its cell's orders (seconds).
EVICT_UNASKED_S = 60.0
assert EVICT_UNASKED_S < KEEP_UNASKED_S, "room that is needed is made sooner than by itself"


class ReleaseOnDisk(msgspec.Struct, frozen=True):
    """A release on this disk, whole or begun.

    ``service`` is empty while not even its manifest is there; ``size_bytes`` is what its deletion
    frees.  ``staged_at`` is when it was whole, 0 before; ``used_at`` when it was asked for last.
    Both in seconds since the epoch.
    """

    digest: Digest
    service: ServiceName
    size_bytes: int
    staged_at: float
    used_at: float


class Collector:
    """Decides which releases may go.  Pure: the caller tells the time and deletes."""

    def __init__(self) -> None:
        self._kept: dict[ServiceName, frozenset[Digest]] = {}
        self._rollbacks: dict[ServiceName, Digest | None] = {}
        self._unasked_since: dict[Digest, float] = {}
        self._let_go: set[Digest] = set()  # asked for in this life of the daemon, and no more

    def keep(
        self, service: ServiceName, digests: frozenset[Digest], rollback: Digest | None = None
    ) -> None:
        """The core's latest word on *service*, which goes back to *rollback*."""
        self._rollbacks[service] = rollback
        self._let_go |= self._kept.get(service, frozenset()) - digests
        self._kept[service] = digests
        self._let_go -= digests

    def keeps(self, digest: Digest) -> bool:
        """Whether the core asks for *digest* now."""
        return any(digest in digests for digests in self._kept.values())

    def collectable(
        self, on_disk: Sequence[Digest], *, in_use: frozenset[Digest], now_s: float
    ) -> list[Digest]:
        """Those of *on_disk* that nobody has asked for during ``KEEP_UNASKED_S``.

        Args:
            on_disk: Every release there is.
            in_use: Linked, or being staged right now: never collected.
            now_s: CLOCK_BOOTTIME.
        """
        unasked = self._unasked(on_disk, in_use, now_s)
        return [d for d, since in unasked.items() if now_s - since >= KEEP_UNASKED_S]

    def unused(
        self, on_disk: Sequence[Digest], *, in_use: frozenset[Digest], now_s: float
    ) -> list[Digest]:
        """Those of *on_disk* that may go at once where room is needed.  As :meth:`collectable`."""
        return [
            digest
            for digest, since in self._unasked(on_disk, in_use, now_s).items()
            if digest in self._let_go or now_s - since >= EVICT_UNASKED_S
        ]

    def states(
        self,
        on_disk: Sequence[Digest],
        *,
        active: frozenset[Digest],
        in_use: frozenset[Digest],
        now_s: float,
    ) -> dict[Digest, CacheState]:
        """Why each release of *on_disk* is there.  As :meth:`collectable`; *active* are linked."""
        states: dict[Digest, CacheState] = dict.fromkeys(on_disk, "unknown")
        unused = self.unused(on_disk, in_use=in_use | active, now_s=now_s)
        states |= dict.fromkeys(unused, "unused")
        for digest in on_disk:
            if digest in active:
                states[digest] = "active"
            elif self.keeps(digest) and digest in self._rollbacks.values():
                states[digest] = "rollback"
            elif digest in in_use or self.keeps(digest):
                states[digest] = "planned"
        return states

    def _unasked(
        self, on_disk: Sequence[Digest], in_use: frozenset[Digest], now_s: float
    ) -> dict[Digest, float]:
        """Since when nobody has asked for each release that nobody asks for."""
        kept = in_use.union(*self._kept.values())
        self._let_go.intersection_update(on_disk)
        self._unasked_since = {
            digest: self._unasked_since.get(digest, now_s)
            for digest in on_disk
            if digest not in kept
        }
        return self._unasked_since


def victims(unused: Sequence[ReleaseOnDisk], missing_bytes: int) -> list[ReleaseOnDisk]:
    """Those of *unused* that go for *missing_bytes* more of room, the one used longest ago first.

    None when all of them were not enough: they would be missed as sources of a later release, and
    nothing were gained.
    """
    chosen: list[ReleaseOnDisk] = []
    for release in sorted(unused, key=lambda release: (release.used_at, release.digest)):
        if missing_bytes <= 0:
            break
        chosen.append(release)
        missing_bytes -= release.size_bytes
    return chosen if missing_bytes <= 0 else []
