"""What an error of this host's disk is to an operator."""

from __future__ import annotations

import errno

from p2pdeploy.errors import UnavailableError

__all__ = ["disk_failure"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        code="disk-full" if full else "disk-error",
    )
