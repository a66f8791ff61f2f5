"""Secrets on disk: files of mode 0600 in folders of mode 0700, written whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from p2pdeploy.errors import ConfigError

__all__ = ["make_private_folder", "read_private", "remove_drafts", "write_private"]

_SECRET_BYTES_MAX = 256 * 1024  # keys are a few hundred bytes, a trust bundle a few thousand
_OTHERS = 0o077
_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\Z")


def make_private_folder(folder: Path) -> Path:
    """Make *folder* with mode 0700, and its parents; an existing one gets that mode."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_private(path: Path, data: bytes) -> None:
    """Replace *path* by a file of mode 0600 with *data*, durably: a kill leaves the old or the new.

    Raises:
        OSError: the folder is missing, full or not ours; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        error.filename = str(path)  # the draft's name says nothing to anybody
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_drafts(folder: Path) -> None:
    """Delete what :func:`write_private` left in *folder* when it was killed; nobody writes there.

    Raises:
        OSError: the folder is missing or not ours.
    """
    for path in folder.iterdir():
        if _DRAFT.match(path.name):
            path.unlink(missing_ok=True)


def read_private(path: Path, *, hint: str) -> bytes:
    """The bytes of *path*.

    Args:
        path: A file that only its owner may read.
        hint: What to do if it is missing.

    Raises:
        ConfigError: missing, not a plain file, too large, or others than its owner can read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=str(path), hint=hint, code="no-trust"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError("not a plain file", where=str(path), hint=hint)
        if stat.S_IMODE(mode) & _OTHERS:
            raise ConfigError(
                "others than its owner can read it", where=str(path), hint=f"chmod 600 {path}"
            )
        data = file.read(_SECRET_BYTES_MAX + 1)
    if len(data) > _SECRET_BYTES_MAX:
        raise ConfigError(f"larger than {_SECRET_BYTES_MAX} bytes", where=str(path))
    return data
