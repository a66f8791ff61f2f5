"""Let the kernel write a release to the disk while it is being downloaded.

A release counts as staged once it is flushed (:func:`p2pdeploy.payload.stage.finish`).  Left to
itself the kernel begins to write when dirty pages are 30 s old or a tenth of the memory, so that
at the end of a short fetch the whole release is still to be written.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import Manifest
from p2pdeploy.payload.stage import open_blob

__all__ = ["begin_writing"]

_WRITE = 0x02  # SYNC_FILE_RANGE_WRITE, linux/fs.h: begins, and waits for nothing
# Of smaller blobs a release may have tens of thousands; opening each would cost more than it saves.
_BLOB_BYTES_MIN = 16 * 1024 * 1024


def begin_writing(root: Path, manifest: Manifest) -> None:
    """Begin to write what was downloaded of the large blobs of a prepared release.

    Blocking while the disk's queue is full, never until anything is written.

    Raises:
        OSError: the disk fails, or its filesystem has no such call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for blob_index, blob in enumerate(manifest.blobs):
        if blob.size_bytes < _BLOB_BYTES_MIN:
            continue
        try:
            handle = open_blob(root, manifest, blob_index)
        except IntegrityError:
            continue  # not begun
        try:
            _sync_file_range(libc, handle)
        finally:
            os.close(handle)


def _sync_file_range(libc: ctypes.CDLL, handle: int) -> None:
    """The whole file (0 bytes: to its end)."""
    offset, size = ctypes.c_int64(0), ctypes.c_int64(0)
    if libc.sync_file_range(handle, offset, size, ctypes.c_uint(_WRITE)) != 0:
        raise OSError(ctypes.get_errno(), "sync_file_range")
