"""One release on a host's disk, from the first byte to the finished read-only tree.

A release has a folder of its own, *root*, named by its manifest digest and made by the caller::

    root/manifest   root/chunks     written by the caller
    root/packs/pack-0000            packs as they travel; the mesh is seeded from here
    root/tree/...                   the final tree; large files are downloaded straight into it
    root/seal                       when the tree was last found right (payload.verify)
    root/staged                     the marker, last of all: whole, verified, read-only, on disk

A crash at any point is repaired by running :func:`finish` again.  Manifests must have passed
``check_manifest``.  Nothing outside *root* is touched: folders are opened one component after the
other without following links, and the release's own links are made last.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from pathlib import Path

import blake3

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import Entry, Manifest
from p2pdeploy.payload.folders import Folders
from p2pdeploy.payload.paths import PRIVATE_DIR
from p2pdeploy.payload.verify import FOLDER_MODE, STILL_NS, seal_tree, staged_mode, verify_tree

__all__ = [
    "blob_path",
    "discard",
    "finish",
    "is_staged",
    "open_blob",
    "prepare",
    "remove",
    "staged_at",
    "verify",
]

TREE, PACKS, MARKER, SEAL = "tree", "packs", "staged", "seal"
# Below this, reading a tree once more takes less than the wait that a seal needs.
_SEALED_ABOVE_BYTES = 16 * 1024 * 1024
_WRITABLE_FILE, _WRITABLE_DIR = 0o600, 0o700  # nobody else looks at what is not verified


def blob_path(root: Path, manifest: Manifest, blob_index: int) -> Path:
    """Where blob *blob_index* is downloaded to and seeded from.  Pure."""
    return root.joinpath(*_place(manifest, blob_index))


def open_blob(root: Path, manifest: Manifest, blob_index: int, flags: int = os.O_RDONLY) -> int:
    """Open a blob, no link followed on the way; the caller closes it.

    Raises:
        IntegrityError: it is missing, or something else stands on the way.
    """
    with Folders(root) as folders:
        return folders.open("/".join(_place(manifest, blob_index)), flags)


def is_staged(root: Path) -> bool:
    """Whether the release is whole, verified and read-only."""
    return (root / MARKER).is_file()


def staged_at(root: Path) -> float:
    """When the release was whole, in seconds since the epoch; 0 when it is not."""
    try:
        return (root / MARKER).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def prepare(root: Path, manifest: Manifest) -> None:
    """Make the folders, and blobs that exist writable, so that downloading can begin or go on.

    Idempotent; does nothing once the release is staged.

    Raises:
        IntegrityError: something stands where a folder or a blob must be; it is named.
    """
    if is_staged(root):
        return
    for name in (TREE, PACKS):
        _make_folder(root, name)
    with Folders(root / TREE) as folders:
        for entry in manifest.entries:
            if entry.kind == "dir":
                folders.make(entry.path, _WRITABLE_DIR)
    with Folders(root) as folders:
        for blob_index in range(len(manifest.blobs)):
            folders.reopen("/".join(_place(manifest, blob_index)), _WRITABLE_FILE)


def finish(root: Path, manifest: Manifest) -> None:
    """Turn downloaded blobs into the final tree and mark it staged.

    Files, links and modes are made as the manifest has them, without write bits; everything is
    flushed to disk; then the whole tree is verified as before each start, and the marker is
    written.  Idempotent.

    Raises:
        IntegrityError: a file or pack does not have its digest, or a path is too many; it is
            named, and nothing is marked.  Delete that blob's pieces and fetch them again.
    """
    if is_staged(root):
        return
    prepare(root, manifest)
    with Folders(root / TREE) as folders, _Packs(root, manifest) as packs:
        for entry in manifest.entries:
            if entry.kind == "file":
                _finish_file(manifest, folders, packs, entry)
            elif entry.kind == "link":
                folders.link(entry.path, entry.target)
        for entry in reversed(manifest.entries):
            if entry.kind == "dir":
                folders.set_mode(entry.path, staged_mode(entry))
        folders.set_mode("", FOLDER_MODE)
    _flush(root)
    if manifest.size_bytes > _SEALED_ABOVE_BYTES:
        threading.Event().wait(2 * STILL_NS / 1e9)
    seal_tree(root / TREE, manifest, root / SEAL)
    _write_marker(root)


def verify(root: Path, manifest: Manifest) -> None:
    """Return if the staged tree is still what *manifest* says; cheap while nothing changed.

    Raises:
        IntegrityError: it is not (``tree-differs``), or it is not staged.  :func:`discard` it.
        OSError: the disk fails.
    """
    if not is_staged(root):
        raise IntegrityError("is not staged", where=root.name, code="tree-differs")
    verify_tree(root / TREE, manifest, root / SEAL)


def discard(root: Path) -> None:
    """Delete the tree and the packs, so that the release is staged from scratch.

    What describes it stays: it is checked by digest each time it is read.  Idempotent.
    """
    (root / MARKER).unlink(missing_ok=True)
    (root / SEAL).unlink(missing_ok=True)
    for name in (TREE, PACKS):
        _delete(root / name)


def remove(root: Path) -> None:
    """Delete the release's folder and all in it.  Idempotent; a crash leaves it unstaged."""
    (root / MARKER).unlink(missing_ok=True)
    _delete(root)


def _delete(path: Path) -> None:
    """Delete what is at *path*, links themselves and never what they lead to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    for _, _, _, handle in os.fwalk(path):
        os.fchmod(handle, _WRITABLE_DIR)
    shutil.rmtree(path)


def _place(manifest: Manifest, blob_index: int) -> tuple[str, str]:
    """Where a blob lies: the folder below the root, and its path in that."""
    path = manifest.blobs[blob_index].path
    folder, _, name = path.partition("/")
    return (PACKS, name) if folder == PRIVATE_DIR else (TREE, path)


def _make_folder(root: Path, name: str) -> None:
    with Folders(root) as folders:
        folders.make(name, _WRITABLE_DIR)


def _finish_file(manifest: Manifest, folders: Folders, packs: _Packs, entry: Entry) -> None:
    """Its bytes are verified later, with all the others'."""
    if entry.blob_index < 0:
        folders.write(entry.path, b"", staged_mode(entry))
    elif manifest.blobs[entry.blob_index].path == entry.path:
        handle = folders.open(entry.path)
        try:
            os.fchmod(handle, staged_mode(entry))
        finally:
            os.close(handle)
    else:
        folders.write(entry.path, packs.read(entry), staged_mode(entry))


class _Packs:
    """Reads files out of packs; the pack used last stays open, because packs are in path order."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self._root = root
        self._manifest = manifest
        self._blob_index = -1
        self._handle = -1

    def __enter__(self) -> _Packs:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    def read(self, entry: Entry) -> bytes:
        """The bytes of *entry*; raises IntegrityError when they are others."""
        if entry.blob_index != self._blob_index:
            handle = open_blob(self._root, self._manifest, entry.blob_index)
            if self._handle >= 0:
                os.close(self._handle)
            self._blob_index, self._handle = entry.blob_index, handle
        data = os.pread(self._handle, entry.size_bytes, entry.offset_bytes)
        if blake3.blake3(data).hexdigest() != entry.digest:
            raise IntegrityError(
                "does not have its digest", where=entry.path, code="digest-differs"
            )
        return data


def _flush(root: Path) -> None:
    """Flush the filesystem once; a flush for each of 100,000 small files would take minutes."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(root))
    finally:
        os.close(handle)


def _write_marker(root: Path) -> None:
    aside = root / f"{MARKER}#new"
    with aside.open("wb") as file:
        file.write(b"1\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(root / MARKER)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
