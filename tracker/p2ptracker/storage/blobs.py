"""Blobs in a local folder: ``blobs/<two digits>/<digest>`` and ``<kind>/<digest>``.

Blobs are read by range with ``pread`` on the path: the page cache is the cache.  Small objects go
through obstore, whose put is a write to a temporary name and a rename.
"""

from __future__ import annotations

import os
from pathlib import Path

import obstore
from obstore.store import LocalStore

from p2pdeploy.errors import IntegrityError, NotFoundError
from p2pdeploy.ids import Digest
from p2ptracker.storage.interfaces import ObjectKind

__all__ = ["LocalBlobStore"]


class LocalBlobStore:
    """A :class:`~p2ptracker.storage.interfaces.BlobStore` on one disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._objects = LocalStore(folder)

    def __repr__(self) -> str:
        return f"<LocalBlobStore {self._folder}>"

    def local_path(self, digest: Digest) -> Path:
        return self._folder / "blobs" / digest[:2] / digest

    def read(self, digest: Digest, offset_bytes: int, size_bytes: int) -> bytes:
        try:
            descriptor = os.open(self.local_path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError(f"the blob store lacks {digest}", code="no-blob") from error
        try:
            data = os.pread(descriptor, size_bytes, offset_bytes)
        finally:
            os.close(descriptor)
        if len(data) != size_bytes:
            raise IntegrityError(f"blob {digest} is shorter than its manifest says")
        return data

    def adopt(self, digest: Digest, verified: Path) -> None:
        # A hard link, not a rename: until the release's row is committed the spool stays whole,
        # so a crash in between costs one more verification and no byte on the wire.
        place = self.local_path(digest)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(verified)
        draft = place.with_name(f"{digest}.new")
        draft.unlink(missing_ok=True)
        os.link(verified, draft)
        draft.replace(place)  # what stood there may be damaged; this was just verified
        draft.unlink(missing_ok=True)  # it stays when the two were one file already
        _sync(place.parent)
        _sync(place.parent.parent)

    def holds(self, digest: Digest, size_bytes: int) -> bool:
        try:
            return self.local_path(digest).stat().st_size == size_bytes
        except FileNotFoundError:
            return False

    def put_object(self, kind: ObjectKind, digest: Digest, data: bytes) -> None:
        obstore.put(self._objects, f"{kind}/{digest}", data)
        _sync(self._folder / kind / digest)
        _sync(self._folder / kind)
        _sync(self._folder)

    def get_object(self, kind: ObjectKind, digest: Digest) -> bytes:
        try:
            return bytes(obstore.get(self._objects, f"{kind}/{digest}").bytes())
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no {kind} {digest}", code=f"no-{kind}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
