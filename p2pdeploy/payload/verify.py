"""Whether a staged tree is, down to each byte, what its manifest says: asked before it is run.

The tree is walked by directory descriptors and never through a link.  Compared are: which paths
there are, type, permission bits, owner, number of names (hard links), size, BLAKE3, link target.

Hashing 10 GB takes seconds, so a tree that was found right leaves a *seal* beside it: the digest
of device, inode, size, mtime and ctime of every path.  While it fits, nothing is read again.  What
that defends: nobody but root can set a ctime back, so no write, no replacement and no new name
since then goes unseen.  What it does not: who may write the seal itself (the daemon's own user,
as which services run when the daemon is not root) can forge it, and a disk that rots silently.
"""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from pathlib import Path
from typing import NoReturn

import blake3

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import Entry, Manifest
from p2pdeploy.printable import printable

__all__ = ["FOLDER_MODE", "STILL_NS", "seal_tree", "staged_mode", "verify_tree"]

FOLDER_MODE = 0o555
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_BYTES = 1024 * 1024
_SEAL_BYTES_MAX = 128  # 64 digits; more is not a seal
# The kernel's clock for ctime ticks every 1 to 10 ms: a second change in the tick of the last one
# leaves the same ctime.  Only a tree that lay still for longer than that gets a seal.
STILL_NS = 20_000_000


def staged_mode(entry: Entry) -> int:
    """The permission bits of *entry* once staged: read-only, and readable to whichever user a
    service runs as.  That a file may be executed comes from the manifest.
    """
    if entry.kind == "file":
        return 0o555 if entry.mode & 0o111 else 0o444
    return FOLDER_MODE


def verify_tree(tree: Path, manifest: Manifest, seal: Path) -> None:
    """Return if *tree* is what *manifest* says.  Blocking; costs one stat a path if *seal* fits.

    Args:
        tree: The staged tree.
        manifest: Digest-checked and judged by ``check_manifest``.
        seal: Where the seal lies, outside the tree; written when it did not fit.

    Raises:
        IntegrityError: it is not (``tree-differs``); the first path is named.  Run nothing of it
            and stage it anew from scratch.
        OSError: the disk fails.
    """
    if _read_seal(seal) != _Walk(manifest, hashing=False).look_at(tree):
        seal_tree(tree, manifest, seal)


def seal_tree(tree: Path, manifest: Manifest, seal: Path) -> None:
    """Read and compare every byte whatever *seal* says, and renew it.  As :func:`verify_tree`."""
    seal.unlink(missing_ok=True)
    began_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
    walk = _Walk(manifest, hashing=True)
    before = walk.look_at(tree)
    if _Walk(manifest, hashing=False).look_at(tree) != before:
        _refuse(".", "changed while it was verified")
    if walk.newest_ns + STILL_NS < began_ns:
        _write_seal(seal, before)


class _Walk:
    """One walk over a tree."""

    def __init__(self, manifest: Manifest, *, hashing: bool) -> None:
        self.newest_ns = 0  # the last ctime in the tree, since the epoch
        self._hashing = hashing
        self._buffer = memoryview(bytearray(_READ_BYTES if hashing else 0))
        self._owner = os.geteuid()
        self._seen = blake3.blake3()
        self._content: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
        for entry in manifest.entries:
            folder, _, name = entry.path.rpartition("/")
            self._content[folder][name] = entry

    def look_at(self, tree: Path) -> str:
        """Compare all; return the digest of what identifies every path to the filesystem."""
        try:
            handle = os.open(tree, _DIRECTORY)
        except OSError as error:
            _refuse(".", f"cannot be opened: {error.strerror}")
        try:
            self._check_folder(handle, "")
        finally:
            os.close(handle)
        return self._seen.hexdigest()

    def _check_folder(self, handle: int, path: str) -> None:
        self._judge(path or ".", os.fstat(handle), stat.S_IFDIR, FOLDER_MODE)
        content = self._content.get(path, {})
        for name in sorted(os.listdir(handle)):
            if name not in content:
                shown = f"{path}/{name}" if path else name
                _refuse(shown, "is not part of the release")
        for name, entry in content.items():
            try:
                self._check_entry(handle, name, entry)
            except FileNotFoundError:
                _refuse(entry.path, "is missing")

    def _check_entry(self, folder: int, name: str, entry: Entry) -> None:
        if entry.kind == "link":
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            self._judge(entry.path, status, stat.S_IFLNK, None)
            if os.readlink(name, dir_fd=folder) != entry.target:
                _refuse(entry.path, "leads elsewhere")
        elif entry.kind == "file" and not self._hashing:
            self._judge_file(entry, os.stat(name, dir_fd=folder, follow_symlinks=False))
        else:
            handle = _open(name, folder, entry)
            try:
                if entry.kind == "dir":
                    self._check_folder(handle, entry.path)
                else:
                    self._check_content(handle, entry)
            finally:
                os.close(handle)

    def _check_content(self, handle: int, entry: Entry) -> None:
        before = os.fstat(handle)
        self._judge_file(entry, before)
        if _digest_of(handle, self._buffer) != entry.digest:
            _refuse(entry.path, "does not have its digest")
        if _identity(os.fstat(handle)) != _identity(before):
            _refuse(entry.path, "changed while it was verified")

    def _judge_file(self, entry: Entry, status: os.stat_result) -> None:
        self._judge(entry.path, status, stat.S_IFREG, staged_mode(entry))
        if status.st_size != entry.size_bytes:
            _refuse(entry.path, f"has {status.st_size} bytes, not {entry.size_bytes}")

    def _judge(self, path: str, status: os.stat_result, kind: int, mode: int | None) -> None:
        """Compare what a stat tells, and take it into the fingerprint."""
        if stat.S_IFMT(status.st_mode) != kind:
            _refuse(path, "is of another type")
        if mode is not None and stat.S_IMODE(status.st_mode) != mode:
            _refuse(path, f"has mode {stat.S_IMODE(status.st_mode):04o}, not {mode:04o}")
        if status.st_uid != self._owner:
            _refuse(path, f"belongs to user {status.st_uid}, not {self._owner}")
        if kind != stat.S_IFDIR and status.st_nlink != 1:
            _refuse(path, f"is known by {status.st_nlink} names: a hard link")
        self._seen.update(_identity(status))
        self.newest_ns = max(self.newest_ns, status.st_ctime_ns)


def _open(name: str, folder: int, entry: Entry) -> int:
    try:
        return os.open(name, _DIRECTORY if entry.kind == "dir" else _FILE, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link, a socket or a file stands there
        _refuse(entry.path, f"cannot be opened: {error.strerror}")


def _identity(status: os.stat_result) -> bytes:
    place = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return (",".join(map(str, place)) + ";").encode()


def _digest_of(handle: int, buffer: memoryview) -> str:
    digest = blake3.blake3()
    while count := os.readv(handle, [buffer]):
        digest.update(buffer[:count])
    return digest.hexdigest()


def _read_seal(seal: Path) -> str:
    try:
        handle = os.open(seal, _FILE)
    except OSError:
        return ""
    with open(handle, "rb") as file:
        return file.read(_SEAL_BYTES_MAX).decode(errors="replace")


def _write_seal(seal: Path, fingerprint: str) -> None:
    """Lost by a crash it is only written again, so it is not flushed."""
    aside = seal.with_name(f"{seal.name}#new")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(fingerprint.encode())
    aside.replace(seal)


def _refuse(path: str, why: str) -> NoReturn:
    shown = path.encode("utf-8", "backslashreplace").decode()
    raise IntegrityError(
        why,
        where=printable(shown),
        hint="the tree is staged anew, nothing of it is started",
        code="tree-differs",
    )
