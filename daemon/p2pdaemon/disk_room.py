"""The room for releases on this host's disk: asked of the kernel, kept in the books (shell).

The books themselves are :mod:`p2pdaemon.reservations`; who makes room is
:mod:`p2pdaemon.make_room`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

from p2pdaemon.disk import NoRoomError, disk_failure
from p2pdaemon.reservations import Reservations
from p2pdeploy.ids import Digest

__all__ = ["RESERVE_BYTES_MAX", "DiskRoom", "DiskSpace", "DiskUsage", "space_of"]

# What stays for records, logs and services' own state, unless the configuration says.
RESERVE_BYTES_MAX = 1024**3  # the most that one service's log takes (rotate_logs.py), and again
RESERVE_SHARE = 20  # a twentieth of a small disk
# statvfs(2) reads three numbers of the kernel's: cheap enough to go on within a second of room.
LOOK_EVERY_S = 0.5


class DiskSpace(msgspec.Struct, frozen=True):
    """A filesystem, by what this daemon may use of it."""

    total_bytes: int
    free_bytes: int


def space_of(folder: Path) -> DiskSpace:
    """The filesystem of *folder* now.  Raises OSError."""
    status = os.statvfs(folder)
    block = status.f_frsize
    return DiskSpace(total_bytes=status.f_blocks * block, free_bytes=status.f_bavail * block)


class DiskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The room for releases at one instant, in bytes.

    ``free_bytes`` are the filesystem's, of which no release takes ``reserve_bytes``;
    ``held_bytes`` are spoken for and not written yet.  ``needed_bytes`` is what ``waiting``
    releases would write if there were room.
    """

    free_bytes: int
    reserve_bytes: int
    held_bytes: int
    waiting: int
    needed_bytes: int


class DiskRoom:
    """Room for releases on one filesystem.

    Args:
        where: A folder on the filesystem.
        reserve_bytes: What no release may take; None: a twentieth of the disk, at most 1 GiB.
        look: Tells how the filesystem is now; must be quick.
    """

    def __init__(
        self,
        where: Path,
        reserve_bytes: int | None = None,
        look: Callable[[Path], DiskSpace] = space_of,
    ) -> None:
        self._look = look
        self._configured_bytes = reserve_bytes
        self._where = where
        self._books = Reservations()
        self._waiting: dict[Digest, int] = {}
        self._followed: dict[Digest, Callable[[], int]] = {}

    def __repr__(self) -> str:
        return f"<DiskRoom {self._where}, {self._books!r}, {len(self._waiting)} wait>"

    @contextmanager
    def hold(self, digest: Digest, needed_bytes: int) -> Generator[None]:
        """Inside, *needed_bytes* are kept for *digest*; less after :meth:`shrink`.

        Raises:
            NoRoomError: there is too little room; nothing is held.
            UnavailableError: the disk fails.
        """
        space = self._space()
        reserve = self._reserve_bytes(space)
        missing = self._books.hold(
            digest, needed_bytes, free_bytes=space.free_bytes, reserve_bytes=reserve
        )
        if missing:
            raise NoRoomError(needed_bytes, missing, reserve, where=self._where)
        try:
            yield
        finally:
            self._books.let_go(digest)

    def shrink(self, digest: Digest, left_bytes: int) -> None:
        """The disk itself has room for all of *digest*, which is held, but *left_bytes*."""
        self._books.shrink(digest, left_bytes)

    @contextmanager
    def following(self, digest: Digest, left_bytes: Callable[[], int]) -> Generator[None]:
        """Inside, *digest*, which is held, has *left_bytes* () to write, less and less.

        For a disk that could not take the room: what is written of it is free no more, and would
        count once as that and once as held.  The function must be quick.
        """
        self._followed[digest] = left_bytes
        try:
            yield
        finally:
            self._look_at_followed()
            self._followed.pop(digest, None)

    def missing_bytes(self, digest: Digest, needed_bytes: int) -> int:
        """How much more room *digest* needs than there is now.  Raises UnavailableError."""
        space = self._space()
        return self._books.missing_bytes(
            digest,
            needed_bytes,
            free_bytes=space.free_bytes,
            reserve_bytes=self._reserve_bytes(space),
        )

    @contextmanager
    def waiting(self, digest: Digest, needed_bytes: int) -> Generator[None]:
        """Inside, *digest* counts as one that waits for room."""
        self._waiting[digest] = needed_bytes
        try:
            yield
        finally:
            self._waiting.pop(digest, None)

    async def wait(self, digest: Digest, needed_bytes: int) -> None:
        """Return within ``LOOK_EVERY_S`` of there being room for *digest*; as that raises."""
        while self.missing_bytes(digest, needed_bytes):  # noqa: ASYNC110 no kernel tells of room
            await trio.sleep(LOOK_EVERY_S)

    def usage(self) -> DiskUsage:
        """How the room is now.  Raises UnavailableError."""
        space = self._space()
        return DiskUsage(
            free_bytes=space.free_bytes,
            reserve_bytes=self._reserve_bytes(space),
            held_bytes=self._books.held_bytes,
            waiting=len(self._waiting),
            needed_bytes=sum(self._waiting.values()),
        )

    def _look_at_followed(self) -> None:
        for digest, left_bytes in self._followed.items():
            self._books.shrink(digest, left_bytes())

    def _space(self) -> DiskSpace:
        self._look_at_followed()
        try:
            return self._look(self._where)
        except OSError as error:
            raise disk_failure(error, self._where) from error

    def _reserve_bytes(self, space: DiskSpace) -> int:
        if self._configured_bytes is not None:
            return self._configured_bytes
        return min(RESERVE_BYTES_MAX, space.total_bytes // RESERVE_SHARE)
