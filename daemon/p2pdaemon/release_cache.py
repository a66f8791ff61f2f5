"""Which releases lie on this host, as operators are told, and deleting those that nobody needs."""

from __future__ import annotations

from p2pdaemon.collector import ReleaseOnDisk
from p2pdaemon.disk import disk_failure
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.make_room import RoomMaker
from p2pdeploy.messages.cache import (
    CACHE_RELEASES_MAX,
    Cache,
    CachedRelease,
    CacheState,
    Pruned,
)

__all__ = ["ReleaseCache"]


class ReleaseCache:
    """Answers for the folder of releases.

    Args:
        maker: Knows what is there and why, and deletes.
        room: How much room there is.
    """

    def __init__(self, maker: RoomMaker, room: DiskRoom) -> None:
        self._maker = maker
        self._room = room

    async def show(self) -> Cache:
        """What is there, those used last first.

        Raises:
            UnavailableError: the disk fails.
        """
        try:
            releases = await self._maker.releases()
        except OSError as error:
            raise disk_failure(error) from error
        releases.sort(key=lambda found: (-found[0].used_at, found[0].digest))
        usage = self._room.usage()
        return Cache(
            releases=[_told(*found) for found in releases[:CACHE_RELEASES_MAX]],
            free_bytes=usage.free_bytes,
            reserve_bytes=usage.reserve_bytes,
            held_bytes=usage.held_bytes,
            waiting=usage.waiting,
            needed_bytes=usage.needed_bytes,
        )

    async def prune(self) -> Pruned:
        """Delete what is unused.

        Raises:
            UnavailableError: the disk fails; some may be deleted.
        """
        try:
            deleted = await self._maker.prune()
        except OSError as error:
            raise disk_failure(error) from error
        return Pruned(
            releases=[_told(release, "unused") for release in deleted[:CACHE_RELEASES_MAX]]
        )


def _told(release: ReleaseOnDisk, state: CacheState) -> CachedRelease:
    return CachedRelease(
        digest=release.digest,
        service=release.service,
        size_bytes=release.size_bytes,
        state=state,
        staged_at=release.staged_at,
        used_at=release.used_at,
    )
