"""What lies on the disk of a release that is being staged, piece by piece."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import Manifest
from p2pdeploy.payload.stage import open_blob
from p2pdeploy.payload.torrent import PieceCheck, PieceSpan, piece_spans

__all__ = ["LazyBlob", "PieceReader", "is_right", "pieces_on_disk", "spans_by_blob"]


def pieces_on_disk(manifest: Manifest, root: Path) -> list[bool]:
    """Which pieces are right in the blobs below *root*, by piece number.  Holes are skipped."""
    have: list[bool] = []
    check = PieceCheck(manifest)
    for blob_index, spans in spans_by_blob(manifest):
        first = len(have)
        try:
            handle = open_blob(root, manifest, blob_index)
        except (OSError, IntegrityError):  # not begun; what is in the way is prepare's business
            have += [False] * len(spans)
            continue
        try:
            have += [is_right(check, first + n, span, handle) for n, span in enumerate(spans)]
        finally:
            os.close(handle)
    return have


class PieceReader:
    """Reads pieces of a release that is being staged.

    Args:
        manifest: Judged by ``check_manifest``.
        root: The folder of the release.
    """

    def __init__(self, manifest: Manifest, root: Path) -> None:
        self._manifest = manifest
        self._root = root
        self._spans = piece_spans(manifest)

    def read(self, piece: int) -> bytes:
        """All of *piece*; what was never written is zeros.  Blocking.

        Raises:
            OSError: the disk fails.
            IntegrityError: its blob is gone.
        """
        span = self._spans[piece]
        handle = open_blob(self._root, self._manifest, span.blob_index)
        try:
            data = os.pread(handle, span.size_bytes, span.offset_bytes)
        finally:
            os.close(handle)
        return data.ljust(span.size_bytes, b"\0")


class LazyBlob:
    """A blob of the new release, opened when it is first asked for."""

    def __init__(self, root: Path, manifest: Manifest, blob_index: int) -> None:
        self._blob = (root, manifest, blob_index)
        self._handle = -1

    def __enter__(self) -> LazyBlob:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    @property
    def handle(self) -> int:
        if self._handle < 0:
            self._handle = open_blob(*self._blob)
        return self._handle


def spans_by_blob(manifest: Manifest) -> Iterator[tuple[int, list[PieceSpan]]]:
    """Each blob's number and where its pieces stand, in order."""
    grouped: list[list[PieceSpan]] = [[] for _ in manifest.blobs]
    for span in piece_spans(manifest):
        grouped[span.blob_index].append(span)
    return iter(enumerate(grouped))


def is_right(check: PieceCheck, number: int, span: PieceSpan, handle: int) -> bool:
    """Whether piece *number* is right in the blob open as *handle*; holes are not read."""
    try:
        if os.lseek(handle, span.offset_bytes, os.SEEK_DATA) >= span.offset_bytes + span.size_bytes:
            return False  # nothing was ever written here
    except OSError as error:
        if error.errno == errno.ENXIO:  # nor anywhere after
            return False
        raise
    return check.is_right(number, os.pread(handle, span.size_bytes, span.offset_bytes))
