"""Work below one folder without ever following a link.

Each folder on the way is opened from the one above it (``openat`` with ``O_NOFOLLOW``), so what a
manifest calls ``a/b/c`` is below the folder or nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from p2pdeploy.errors import IntegrityError

__all__ = ["Folders"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_TRICKS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, no waiting for a pipe
_BLOCKED = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT)


class Folders:
    """Names below *base*, with ``/`` between them.  A context manager: it holds folders open.

    The folder used last stays open, because names come in path order.

    Every method raises IntegrityError, naming the path, when a link or a file stands where a
    folder must be, a folder where a file must be, or what must be there is missing.
    """

    def __init__(self, base: Path) -> None:
        self._base = os.open(base, _DIRECTORY)
        self._folder = ""
        self._handle = os.dup(self._base)

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
        os.close(self._base)

    def make(self, path: str, mode: int) -> None:
        """Make one folder, or give the one that exists this mode."""
        folder, name = _split(path)
        try:
            os.mkdir(name, mode, dir_fd=self._enter(folder))
        except FileExistsError:
            self.set_mode(path, mode)

    def set_mode(self, path: str, mode: int) -> None:
        """Give the folder *path* this mode; an empty path is the base."""
        os.fchmod(self._enter(path), mode)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file, for reading unless *flags* say else; the caller closes it."""
        folder, name = _split(path)
        try:
            return os.open(name, flags | _NO_TRICKS, 0o600, dir_fd=self._enter(folder))
        except OSError as error:
            raise _blocked(path, error) from error

    def reopen(self, path: str, mode: int) -> None:
        """Give the file *path* this mode, so that it can be written on, if there is one.

        One that has another name as well (a hard link) is let go of: whatever is written to it
        would be written there too.
        """
        folder, name = _split(path)
        try:
            handle = self.open(path)
        except IntegrityError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return
            raise
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise IntegrityError("is not a regular file", where=path, code="bad-stage")
            if status.st_nlink == 1:
                os.fchmod(handle, mode)
            else:
                self._unlink(folder, name)
        finally:
            os.close(handle)

    def write(self, path: str, data: bytes, mode: int) -> None:
        """Write a whole file in place of whatever file or link has its name."""
        handle = self._create(path)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            os.fchmod(handle, mode)
        finally:
            os.close(handle)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link in place of whatever file or link has its name."""
        folder, name = _split(path)
        try:
            self._unlink(folder, name)
            os.symlink(target, name, dir_fd=self._enter(folder))
        except OSError as error:
            raise _blocked(path, error) from error

    def _create(self, path: str) -> int:
        folder, name = _split(path)
        try:
            try:
                return os.open(name, _NEW_FILE, 0o600, dir_fd=self._enter(folder))
            except FileExistsError:
                self._unlink(folder, name)
                return os.open(name, _NEW_FILE, 0o600, dir_fd=self._enter(folder))
        except OSError as error:
            raise _blocked(path, error) from error

    def _unlink(self, folder: str, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._enter(folder))

    def _enter(self, folder: str) -> int:
        """A handle of *folder*, owned by this object and good until the next call."""
        if folder == self._folder:
            return self._handle
        handle = os.dup(self._base)
        try:
            for name in folder.split("/") if folder else ():
                below = os.open(name, _DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = below
        except OSError as error:
            os.close(handle)
            raise _blocked(folder, error) from error
        os.close(self._handle)
        self._folder, self._handle = folder, handle
        return handle


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def _blocked(path: str, error: OSError) -> OSError | IntegrityError:
    """Something of the wrong kind is in the way; a full disk and the like stay what they are."""
    if error.errno not in _BLOCKED:
        return error
    message = f"is not as the release needs it: {error.strerror}"
    return IntegrityError(message, where=path, code="bad-stage")
