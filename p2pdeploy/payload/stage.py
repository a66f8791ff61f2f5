"""One release on a host's disk, from the first byte to the finished read-only tree.

A release has a folder of its own, *root*, named by its manifest digest and made by the caller::

    root/manifest   root/chunks     written by the caller
    root/packs/pack-0000            packs as they travel; the mesh is seeded from here
    root/tree/...                   the final tree; large files are downloaded straight into it
    root/staged                     the marker, last of all: whole, verified, read-only, on disk

A crash at any point is repaired by running :func:`finish` again.  Manifests must have passed
``check_manifest``.  Nothing outside *root* is touched: folders are opened one component after the
other without following links, and the release's own links are made last.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from pathlib import Path

import blake3

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import Entry, Manifest
from p2pdeploy.payload.folders import Folders
from p2pdeploy.payload.paths import PRIVATE_DIR

__all__ = ["blob_path", "finish", "is_staged", "prepare", "remove"]

TREE, PACKS, MARKER = "tree", "packs", "staged"
_READ_BYTES = 1024 * 1024
_WRITABLE_FILE, _WRITABLE_DIR = 0o600, 0o700  # nobody else looks at what is not verified


def blob_path(root: Path, manifest: Manifest, blob_index: int) -> Path:
    """Where blob *blob_index* is downloaded to and seeded from.  Pure."""
    path = manifest.blobs[blob_index].path
    folder, _, name = path.partition("/")
    return root / PACKS / name if folder == PRIVATE_DIR else root / TREE / path


def is_staged(root: Path) -> bool:
    """Whether the release is whole, verified and read-only."""
    return (root / MARKER).is_file()


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
    for blob_index in range(len(manifest.blobs)):
        path = blob_path(root, manifest, blob_index)
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError("is not a regular file", where=str(path), code="bad-stage")
        path.chmod(_WRITABLE_FILE)


def finish(root: Path, manifest: Manifest) -> None:
    """Turn downloaded blobs into the final tree and mark it staged.

    Every file is verified against its BLAKE3 and size, then files and folders lose their write
    bits, everything is flushed to disk, and the marker is written.  Idempotent.

    Raises:
        IntegrityError: a file or pack does not have its digest, or a path is too many; it is
            named, and nothing is marked.  Delete that blob's pieces and fetch them again.
    """
    if is_staged(root):
        return
    prepare(root, manifest)
    with Folders(root / TREE) as folders:
        for entry in manifest.entries:
            if entry.kind == "file":
                _finish_file(root, manifest, folders, entry)
        for entry in manifest.entries:
            if entry.kind == "link":
                folders.link(entry.path, entry.target)
        _check_nothing_else(root / TREE, {entry.path for entry in manifest.entries})
        for entry in reversed(manifest.entries):
            if entry.kind == "dir":
                folders.set_mode(entry.path, entry.mode & 0o555)
        folders.set_mode("", 0o555)
    _flush(root)
    _write_marker(root)


def remove(root: Path) -> None:
    """Delete the release's folder and all in it.  Idempotent; a crash leaves it unstaged."""
    (root / MARKER).unlink(missing_ok=True)
    if not root.exists():
        return
    for folder, _, _ in os.walk(root):
        os.chmod(folder, _WRITABLE_DIR)
    shutil.rmtree(root)


def _make_folder(root: Path, name: str) -> None:
    with Folders(root) as folders:
        folders.make(name, _WRITABLE_DIR)


def _finish_file(root: Path, manifest: Manifest, folders: Folders, entry: Entry) -> None:
    alone = entry.blob_index >= 0 and manifest.blobs[entry.blob_index].path == entry.path
    if not alone:
        data = b""
        if entry.size_bytes:
            data = _read_packed(blob_path(root, manifest, entry.blob_index), entry)
        folders.write(entry.path, data, entry.mode & 0o555)
        return
    handle = folders.open(entry.path)
    try:
        if os.fstat(handle).st_size != entry.size_bytes or _digest_of(handle) != entry.digest:
            raise _wrong(entry.path)
        os.fchmod(handle, entry.mode & 0o555)
    finally:
        os.close(handle)


def _read_packed(pack: Path, entry: Entry) -> bytes:
    try:
        handle = os.open(pack, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise IntegrityError("is missing", where=str(pack), code="bad-stage") from error
    try:
        data = os.pread(handle, entry.size_bytes, entry.offset_bytes)
    finally:
        os.close(handle)
    if blake3.blake3(data).hexdigest() != entry.digest:
        raise _wrong(entry.path)
    return data


def _digest_of(handle: int) -> str:
    digest, buffer = blake3.blake3(), memoryview(bytearray(_READ_BYTES))
    while count := os.readv(handle, [buffer]):
        digest.update(buffer[:count])
    return digest.hexdigest()


def _wrong(path: str) -> IntegrityError:
    return IntegrityError("does not have its digest", where=path, code="digest-differs")


def _check_nothing_else(tree: Path, expected: set[str]) -> None:
    for folder, folders, files in os.walk(tree):
        below = os.path.relpath(folder, tree)
        for name in (*folders, *files):
            path = name if below == "." else f"{below}/{name}"
            if path not in expected:
                raise IntegrityError("is not part of the release", where=path, code="bad-stage")


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
