"""One ``up`` at a time on a folder; one that is refused leaves nothing there that it made."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pctl.lab.layout import is_fleet
from p2pdeploy.errors import ConfigError, RefusedError

__all__ = ["FolderLock", "in_use"]


class FolderLock:
    """Holds the lock of *folder*, which is made (0700) if it is not there.  A context manager.

    Raises:
        RefusedError: another ``up`` runs on it.
        ConfigError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "lock"
        try:
            self._made_folder = not folder.exists()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made_lock = not self._path.exists()
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot be used: {error.strerror}", where=str(folder)) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise in_use(folder, "another 'p2pctl up' runs on this folder") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not is_fleet(self._folder):
            self._tidy()
        self.close()

    def close(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)

    def _tidy(self) -> None:
        """No fleet came of it: take away what was made here, and nothing else."""
        with suppress(OSError):
            if self._made_lock:
                self._path.unlink()
            if self._made_folder:
                self._folder.rmdir()


def in_use(folder: Path, why: str) -> RefusedError:
    """The error of an ``up`` on a folder whose fleet is up, or being started."""
    return RefusedError(
        why, where=str(folder), hint=f"'p2pctl down --dir {folder}' stops it", code="in-use"
    )
