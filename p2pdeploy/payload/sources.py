"""Read a payload's bytes by blob, as long as the tree is as it was when the release was built."""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Generator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import TracebackType

from p2pdeploy.errors import PayloadError
from p2pdeploy.payload.layout import BlobPlan
from p2pdeploy.payload.walk import Found, identity_of

__all__ = ["BlobReader", "open_unchanged"]


@contextmanager
def open_unchanged(root: Path, file: Found) -> Generator[int]:
    """Open *file* below *root* for reading; closed on leaving.

    Raises:
        PayloadError: it can't be opened, or it is not as it was when walked, either on entering
            or on leaving.  What was read in between must not be used.
    """
    full = f"{root}/{file.path}"
    try:
        # NONBLOCK: a pipe put in the file's place must not hang us.
        handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PayloadError(
            f"can't be read: {error.strerror}", where=full, code="unreadable"
        ) from error
    try:
        _check_unchanged(full, handle, file)
        yield handle
        _check_unchanged(full, handle, file)
    finally:
        os.close(handle)


def _check_unchanged(full: str, handle: int, file: Found) -> None:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or identity_of(status) != file.identity:
        raise changed(full)


def changed(full: Path | str) -> PayloadError:
    """The error for a file that is not what it was."""
    return PayloadError(
        "changed while it was read",
        where=str(full),
        hint="publish from a tree that nobody writes to",
        code="tree-changed",
    )


class BlobReader:
    """Reads any range of any blob of a built payload.  Use it from one thread at a time.

    Close it, or use it as a context manager; it holds at most one file open.
    """

    def __init__(self, root: Path, blobs: list[BlobPlan[Found]]) -> None:
        self._root = root
        self._blobs = blobs
        self._ends = [list(accumulate(f.size_bytes for f in blob.files)) for blob in blobs]
        self._open: tuple[Found, int] | None = None

    def pread(self, blob_index: int, offset_bytes: int, size_bytes: int) -> bytes:
        """Read *size_bytes* from *offset_bytes* of one blob.  The range must lie inside it.

        Raises:
            PayloadError: a file is not as it was when the release was built; publish again.
        """
        assert offset_bytes >= 0
        assert offset_bytes + size_bytes <= self._blobs[blob_index].size_bytes
        files, ends = self._blobs[blob_index].files, self._ends[blob_index]
        parts: list[bytes] = []
        at = bisect_right(ends, offset_bytes)
        while size_bytes > 0:
            file = files[at]
            start = offset_bytes - (ends[at] - file.size_bytes)
            part = self._read(file, start, min(size_bytes, file.size_bytes - start))
            parts.append(part)
            offset_bytes += len(part)
            size_bytes -= len(part)
            at += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, file: Found, start: int, size_bytes: int) -> bytes:
        if self._open is None or self._open[0] is not file:
            self.close()
            with open_unchanged(self._root, file) as handle:
                self._open = (file, os.dup(handle))
        assert self._open is not None
        data = os.pread(self._open[1], size_bytes, start)
        if len(data) != size_bytes:
            raise changed(self._root / file.path)
        return data

    def close(self) -> None:
        """Close the file that is open, if any.  The reader stays usable."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def __enter__(self) -> BlobReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
