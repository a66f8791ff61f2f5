"""One daemon per state folder: two would both run its services."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from p2pdeploy.errors import ConfigError, RefusedError

__all__ = ["only_daemon"]


@contextmanager
def only_daemon(state_dir: Path) -> Generator[None]:
    """Hold the folder's lock, made if need be; the kernel lets go of it however we end.

    Raises:
        RefusedError: another daemon holds it; nothing was changed.
        ConfigError: the folder can't be made or written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / "lock", flags, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot be used: {error.strerror}", where=str(state_dir)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(
                "a daemon runs on this state folder",
                where=str(state_dir),
                hint="stop it first",
                code="daemon-runs",
            ) from error
        yield
    finally:
        os.close(descriptor)
