"""What libtorrent's disk errors mean to an operator (shell: it may ask how full the disk is)."""

from __future__ import annotations

import errno
import os

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.attestation import DISK_FULL

__all__ = ["disk_fault"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Numbers of libtorrent's own errors overlap with errno; only these two categories are errno.
_ERRNO_CATEGORIES = frozenset({"generic", "system"})
_FILE_TOO_SHORT = 23  # libtorrent's category; error_code.hpp, errors::file_too_short
# Four of libtorrent's blocks: with less than that a fetch gets nowhere, so it counts as full.
_ROOM_BYTES_MIN = 64 * 1024


def disk_fault(
    code: int, category: str, message: str, path: str, *, before: UnavailableError | None
) -> UnavailableError:
    """The error of one alert: ``disk-full`` or ``disk-error``.

    On a full disk libtorrent also fails to read back what it could not write ("file too short"),
    so that error means a full disk when one was told just before, or when the disk has no room.

    Args:
        code: The number, whose meaning depends on *category*.
        category: libtorrent's name of it.
        message: libtorrent's own words.
        path: The file; empty when libtorrent does not say.
        before: The fault that was told before and not cleared since.
    """
    if category in _ERRNO_CATEGORIES and code in _FULL:
        return _full(path)
    if category == "libtorrent" and code == _FILE_TOO_SHORT:
        if before is not None and before.code == DISK_FULL:
            return before
        if not _has_room(path):
            return _full(path)
    return UnavailableError(f"cannot read or write: {message}", where=path, code="disk-error")


def _full(path: str) -> UnavailableError:
    return UnavailableError("the disk is full", where=path, hint="free some space", code=DISK_FULL)


def _has_room(path: str) -> bool:
    """Whether a little can be written beside *path*; True when that cannot be told."""
    try:
        disk = os.statvfs(os.path.dirname(path))
    except OSError:
        return True
    return disk.f_bavail * disk.f_frsize >= _ROOM_BYTES_MIN
