"""List a payload's tree, and refuse what a release can't hold.

Set-id bits, devices and links out of the tree would give the publisher powers on a host that a
release must not give; the rest could not be rebuilt byte for byte.  Hard links are just files.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal, NamedTuple

from p2pdeploy.errors import PayloadError
from p2pdeploy.limits import FILES_PER_RELEASE_MAX
from p2pdeploy.payload.paths import link_fault, path_fault
from p2pdeploy.printable import printable

__all__ = ["Found", "Identity", "identity_of", "walk"]


class Identity(NamedTuple):
    """What changes when a file is written to or replaced, as far as the filesystem tells."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class Found(NamedTuple):
    """One path of a payload as it was when walked; ``path`` is relative to the tree's root."""

    path: str
    kind: Literal["file", "dir", "link"]
    mode: int
    size_bytes: int
    target: str
    identity: Identity


def identity_of(status: os.stat_result) -> Identity:
    """Cut the identity out of a stat result."""
    return Identity(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def walk(root: Path) -> list[Found]:
    """List every path below *root* in the order of :func:`~p2pdeploy.payload.paths.path_key`.

    Raises:
        PayloadError: *root* is no directory or empty, or a path can't be part of a release; the
            message names it.
    """
    if not root.is_dir():
        raise PayloadError("is not a directory", where=str(root), code="no-tree")
    found: list[Found] = []
    _walk_dir(str(root), "", found)  # a Path for each of 100,000 files takes longer than its stat
    if not found:
        raise PayloadError("the tree is empty", where=str(root), code="empty-tree")
    return found


def _walk_dir(root: str, below: str, found: list[Found]) -> None:
    folder = f"{root}/{below}" if below else root
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise _fault(folder, f"can't be listed: {error.strerror}", "unreadable") from error
    for name in names:
        item = _look_at(root, f"{below}/{name}" if below else name)
        found.append(item)
        if len(found) > FILES_PER_RELEASE_MAX:
            raise _fault(root, f"holds more than {FILES_PER_RELEASE_MAX} files", "too-many-files")
        if item.kind == "dir":
            _walk_dir(root, item.path, found)


def _look_at(root: str, path: str) -> Found:
    full = f"{root}/{path}"
    fault = path_fault(path)
    if fault:
        raise _fault(full, fault, "bad-path")
    try:
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            return _link(full, path, status)
    except OSError as error:
        raise _fault(full, f"can't be read: {error.strerror}", "unreadable") from error
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o7000:
        raise _fault(full, f"has a set-id or sticky bit (mode {mode:04o})", "set-id")
    if stat.S_ISDIR(status.st_mode):
        needed, kind = 0o500, "dir"
    elif stat.S_ISREG(status.st_mode):
        needed, kind = 0o400, "file"
    else:
        raise _fault(full, f"is a {_kind_of(status.st_mode)}", "special-file")
    if mode & needed != needed or not os.access(full, os.R_OK):
        raise _fault(full, f"is not readable by its owner and you (mode {mode:04o})", "unreadable")
    size_bytes = status.st_size if kind == "file" else 0
    return Found(path, kind, mode, size_bytes, "", identity_of(status))


def _link(full: str, path: str, status: os.stat_result) -> Found:
    target = os.readlink(full)
    fault = link_fault(path, target)
    if fault:
        raise _fault(full, fault, "bad-link")
    return Found(path, "link", 0o777, 0, target, identity_of(status))


def _kind_of(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    if stat.S_ISFIFO(mode):
        return "named pipe"
    return "device"


def _fault(path: Path | str, message: str, code: str) -> PayloadError:
    shown = str(path).encode("utf-8", "backslashreplace").decode()
    line = printable(shown)
    message = message.encode("utf-8", "backslashreplace").decode()
    return PayloadError(message, where=line, code=code)
