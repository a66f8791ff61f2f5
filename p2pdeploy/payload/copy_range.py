"""Copy a range of one file to another: shared blocks, else within the kernel, else by hand.

Sources: ioctl_ficlonerange(2), copy_file_range(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import NamedTuple

__all__ = ["Copied", "copy_range"]

_FICLONERANGE = 0x4020940D  # linux/fs.h
_CLONE_BLOCK_BYTES = 4096  # what btrfs and XFS share at least; a larger block only refuses more
_BY_HAND_BYTES = 1 << 20
# The filesystem cannot, the files lie on two of them, or the range does not suit it.
_CANNOT = frozenset(
    (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM)
)


class Copied(NamedTuple):
    """``size_bytes`` are there now; ``shared_bytes`` of them take no room and were not written."""

    size_bytes: int
    shared_bytes: int


def copy_range(source: int, offset: int, target: int, new_offset: int, size: int) -> Copied:
    """Copy *size* bytes from *source* at *offset* to *target* at *new_offset*.

    Returns:
        What was copied: less than *size* when the source ends before.

    Raises:
        OSError: reading or writing failed; no space, mostly.
    """
    head, inner = _clonable(offset, new_offset, size)
    if not inner or not _clone(source, offset + head, target, new_offset + head, inner):
        return Copied(_copy(source, offset, target, new_offset, size), 0)
    behind = head + inner
    if _copy(source, offset, target, new_offset, head) < head:
        return Copied(0, 0)  # the source shrank meanwhile
    tail = _copy(source, offset + behind, target, new_offset + behind, size - behind)
    return Copied(behind + tail, inner)


def _clonable(offset: int, new_offset: int, size: int) -> tuple[int, int]:
    """Of a range, how many bytes stand before its whole blocks, and how many those are."""
    if (offset - new_offset) % _CLONE_BLOCK_BYTES:
        return 0, 0
    head = -offset % _CLONE_BLOCK_BYTES
    return head, max(0, size - head) // _CLONE_BLOCK_BYTES * _CLONE_BLOCK_BYTES


def _clone(source: int, offset: int, target: int, new_offset: int, size: int) -> bool:
    """Share the blocks; False when that cannot be done here."""
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, offset, size, new_offset))
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True


def _copy(source: int, offset: int, target: int, new_offset: int, size: int) -> int:
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(
                source, target, size - done, offset + done, new_offset + done
            )
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            data = os.pread(source, min(size - done, _BY_HAND_BYTES), offset + done)
            count = os.pwrite(target, data, new_offset + done)
        if count == 0:
            break  # the source ends here
        done += count
    return done
