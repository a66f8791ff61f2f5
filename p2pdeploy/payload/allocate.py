"""Take the room of a release's blobs on the disk before they are written, and give it back.

Room is taken beyond the end of each file (``FALLOC_FL_KEEP_SIZE``, fallocate(2)): it holds no data
and changes no size, so what an interrupted fetch left is still found (``payload.delta``) and
libtorrent sees the files as they were.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import Manifest
from p2pdeploy.payload.footprint import footprint_bytes
from p2pdeploy.payload.stage import open_blob

__all__ = ["allocate", "allocated_bytes", "free_unwritten", "left_bytes"]

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h
_CANNOT = (errno.EOPNOTSUPP, errno.ENOSYS)  # ZFS, NFS 3: only the books know of the room then
_SECTOR_BYTES = 512  # the unit of st_blocks, whatever the filesystem's is (stat(2))


def allocate(root: Path, manifest: Manifest) -> bool:
    """Take the room of every blob of a prepared release.  Idempotent.  Blocking.

    Returns:
        False on a filesystem that cannot: nothing was done.  (glibc's posix_fallocate would write
        every block.)

    Raises:
        OSError: there is no room (ENOSPC, EDQUOT), or the disk fails.  Some may be taken:
            :func:`free_unwritten` gives it back.
        IntegrityError: something else stands where a blob must be.
    """
    for blob_index, blob in enumerate(manifest.blobs):
        handle = open_blob(root, manifest, blob_index, os.O_RDWR | os.O_CREAT)
        try:
            if blob.size_bytes and not _fallocate(handle, _KEEP_SIZE, 0, blob.size_bytes):
                return False
        finally:
            os.close(handle)
    return True


def free_unwritten(root: Path, manifest: Manifest) -> None:
    """Give back the room of what was not written.  Nobody may write to the blobs meanwhile.

    Raises:
        OSError: the disk fails.
    """
    for blob_index in range(len(manifest.blobs)):
        try:
            handle = open_blob(root, manifest, blob_index, os.O_RDWR)
        except IntegrityError:
            continue  # not begun
        try:
            _free_holes(handle)
        finally:
            os.close(handle)


def allocated_bytes(root: Path) -> int:
    """What all below *root* takes on the disk, room that is not written included.

    Raises:
        OSError: the disk fails, or *root* is not there.
    """
    return (
        sum(
            os.stat(path, dir_fd=handle, follow_symlinks=False).st_blocks
            for _, _, files, handle in os.fwalk(root, onerror=_fail)
            for path in (*files, ".")
        )
        * _SECTOR_BYTES
    )


def left_bytes(root: Path, manifest: Manifest) -> int:
    """How much more than now a release will take on the disk.  Raises as :func:`allocated_bytes`.

    Pieces that are copied from older releases count, though a filesystem may share their blocks.
    """
    return max(0, footprint_bytes(manifest) - allocated_bytes(root))


def _fail(error: OSError) -> None:
    raise error


def _free_holes(handle: int) -> None:
    size = os.fstat(handle).st_size
    at = 0
    while at < size:
        hole = os.lseek(handle, at, os.SEEK_HOLE)
        if hole >= size:
            break
        at = _next_data(handle, hole, size)
        if not _fallocate(handle, _KEEP_SIZE | _PUNCH_HOLE, hole, at - hole):
            return
    os.ftruncate(handle, size)  # lets go of what was taken behind the end


def _next_data(handle: int, offset: int, size: int) -> int:
    try:
        return os.lseek(handle, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing follows
            return size
        raise


def _fallocate(handle: int, mode: int, offset: int, size: int) -> bool:
    """fallocate(2); whether the filesystem can."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(handle, mode, ctypes.c_int64(offset), ctypes.c_int64(size)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number))
