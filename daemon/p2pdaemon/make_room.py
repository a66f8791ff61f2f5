"""Stage a build, and make room for it where there is none: evict what nobody needs, or wait.

What may go is decided by :mod:`p2pdaemon.collector`.  Nothing here touches what runs.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import trio

from p2pdaemon.clock import boottime_s
from p2pdaemon.collector import Collector, ReleaseOnDisk, victims
from p2pdaemon.disk import NoRoomError
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.log import get_logger
from p2pdaemon.release_inventory import ReleaseInventory
from p2pdaemon.stage_build import BuildStager
from p2pdeploy.activation.events import Staged
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import DISK_FULL
from p2pdeploy.messages.cache import CacheState
from p2pdeploy.messages.orders import Build

__all__ = ["RoomMaker", "Stager"]

# How often a release that waits for room looks for others that may go by now: each look reads the
# folder of releases, unlike the look at the free bytes.
EVICT_LOOK_S = 5.0

_log = get_logger("room")


class Stager(Protocol):
    """Brings builds onto the disk."""

    async def stage(self, service: ServiceName, build: Build) -> Staged:
        """Bring *build* onto the disk, or raise; it is called again later."""
        ...

    async def wait_room(self, build: Build, error: Exception) -> None:
        """Return at once, but after a full disk: only when trying *build* again may help."""
        ...


class RoomMaker:
    """A :class:`Stager` that makes room.

    Args:
        stager: Stages where there is room.
        inventory: What lies on the disk.
        collector: Knows what nobody needs.
        room: The books.
    """

    def __init__(
        self,
        stager: BuildStager,
        inventory: ReleaseInventory,
        collector: Collector,
        room: DiskRoom,
    ) -> None:
        self._stager = stager
        self._inventory = inventory
        self._collector = collector
        self._room = room

    async def stage(self, service: ServiceName, build: Build) -> Staged:
        """As ``BuildStager.stage``; before it gives up for lack of room it evicts what may go."""
        while True:
            try:
                return await self._stager.stage(service, build)
            except NoRoomError as error:
                if not await self._evict(error.missing_bytes):
                    raise

    async def wait_room(self, build: Build, error: Exception) -> None:
        """As :class:`Stager` has it.  Raises OSError, UnavailableError: the disk fails."""
        if not isinstance(error, P2PDeployError) or error.code != DISK_FULL:
            return
        needed = error.needed_bytes if isinstance(error, NoRoomError) else 0
        with self._room.waiting(build.digest, needed):
            while missing := self._room.missing_bytes(build.digest, needed):
                if victims(await self.unused(), missing):
                    return
                with trio.move_on_after(EVICT_LOOK_S):
                    await self._room.wait(build.digest, needed)

    async def releases(self) -> list[tuple[ReleaseOnDisk, CacheState]]:
        """What lies on the disk, and why.  Raises OSError."""
        releases = await self._inventory.releases()
        active = await self._inventory.linked()
        states = self._collector.states(
            [release.digest for release in releases],
            active=active,
            in_use=self._stager.in_use(),
            now_s=boottime_s(),
        )
        return [(release, states[release.digest]) for release in releases]

    async def unused(self) -> list[ReleaseOnDisk]:
        """What nobody needs.  Raises OSError."""
        return [release for release, state in await self.releases() if state == "unused"]

    async def prune(self) -> list[ReleaseOnDisk]:
        """Delete what nobody needs now; what was deleted.  Raises OSError."""
        return await self._delete(await self.unused())

    async def _evict(self, missing_bytes: int) -> bool:
        """Whether there is more room now."""
        return bool(await self._delete(victims(await self.unused(), missing_bytes)))

    async def _delete(self, releases: list[ReleaseOnDisk]) -> list[ReleaseOnDisk]:
        deleted: list[ReleaseOnDisk] = []
        for release in releases:
            digest = release.digest
            # Deletions before this one took time: an order may have asked for it meanwhile.
            if await self._stager.delete(digest, is_kept=partial(self._collector.keeps, digest)):
                _log.info("release evicted", digest=digest, size_bytes=release.size_bytes)
                deleted.append(release)
        return deleted
