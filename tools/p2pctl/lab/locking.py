"""Who may work on a fleet: one ``up`` at a time on a folder, one at a time on its processes.

An ``up`` that is refused leaves nothing in the folder that it made.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pctl.lab.layout import LOCK_FILE, is_fleet
from p2pdeploy.errors import ConfigError, RefusedError

__all__ = ["FolderLock", "ProcessesLock", "in_use"]

_PROCESSES_LOCK = "run/lock"


class FolderLock:
    """Holds the lock of *folder*, which is made (0700) if it is not there.  A context manager.

    Raises:
        RefusedError: another ``up`` runs on it.
        ConfigError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK_FILE
        try:
            self._made_folder = not folder.exists()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made_lock = not self._path.exists()
            descriptor = _lock(self._path)
        except OSError as error:
            raise ConfigError(f"cannot be used: {error.strerror}", where=str(folder)) from error
        if descriptor is None:
            raise in_use(folder, "another 'p2pctl up' runs on this folder")
        self._descriptor = descriptor

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


class ProcessesLock:
    """The right to start or stop the processes of the fleet in *folder*.  A context manager.

    ``up`` has it while it starts, not while it stays; ``down`` while it stops.  Whoever waits
    asks again with :meth:`take`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _PROCESSES_LOCK
        self._descriptor: int | None = None

    def take(self) -> bool:
        """True when we have it now, False when another process has it.

        Raises:
            ConfigError: its file cannot be made.
        """
        assert self._descriptor is None, "taken twice"
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._descriptor = _lock(self._path)
        except OSError as error:
            raise ConfigError(f"cannot be used: {error.strerror}", where=str(self._path)) from error
        return self._descriptor is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(path: Path) -> int | None:
    """An open file with its lock, or None when another one has it.  Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def in_use(folder: Path, why: str) -> RefusedError:
    """The error of an ``up`` on a folder whose fleet is up, or being started."""
    return RefusedError(
        why, where=str(folder), hint=f"'p2pctl down --dir {folder}' stops it", code="in-use"
    )
