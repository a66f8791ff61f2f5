"""What an error of this host's disk is to an operator."""

from __future__ import annotations

import errno

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.attestation import DISK_FULL

__all__ = ["NoRoomError", "disk_failure"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MIB_BYTES = 1024 * 1024


class NoRoomError(UnavailableError):
    """A release is not begun, because the disk has too little room for it.

    Args:
        needed_bytes: What the release has still to write.
        missing_bytes: How much more room that needs than there is for it.
        reserve_bytes: What no release may take.
        where: The folder that it would lie in.
    """

    def __init__(
        self, needed_bytes: int, missing_bytes: int, reserve_bytes: int, *, where: object
    ) -> None:
        room = max(0, needed_bytes - missing_bytes)
        super().__init__(
            f"needs {_mib(needed_bytes)} of disk, {_mib(room)} are free for it "
            f"beside the reserve of {_mib(reserve_bytes)}",
            where=str(where),
            hint="free some space",
            code=DISK_FULL,
        )
        self.needed_bytes = needed_bytes
        self.missing_bytes = missing_bytes


def disk_failure(error: OSError, where: object = "") -> UnavailableError:
    """The one line for *error*: ``disk-full``, or ``disk-error`` for whatever else it is.

    Args:
        error: Of the operating system.
        where: The file or folder; by default the one that *error* names.
    """
    full = error.errno in _FULL
    return UnavailableError(
        "the disk is full" if full else f"the disk fails: {error.strerror or error}",
        where=str(where or error.filename or ""),
        hint="free some space" if full else "",
        code=DISK_FULL if full else "disk-error",
    )


def _mib(count: int) -> str:
    return f"{count / _MIB_BYTES:.1f} MiB"
