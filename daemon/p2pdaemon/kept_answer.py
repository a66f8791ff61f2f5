"""What the control plane said last, on the disk: for a start without it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

import msgspec

from p2pdaemon.journal import write_durably
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ProtocolError, UnavailableError

__all__ = ["keep_answer", "read_answer"]

T = TypeVar("T")


def read_answer(path: Path, kind: type[T]) -> T | None:
    """The answer in *path*; None when nothing was kept yet.  Blocking.

    Raises:
        UnavailableError: it cannot be read.
        ProtocolError: it is damaged.
    """
    data = _read(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except UNDECODABLE as error:
        raise ProtocolError(f"the cached {path.stem} is damaged: {error}") from error


def keep_answer(path: Path, answer: object) -> None:
    """Write only what is new: it hardly ever changes.  Blocking.

    Raises:
        UnavailableError: the disk is full or refuses; *path* is as it was.
    """
    data = msgspec.json.encode(answer)
    with contextlib.suppress(UnavailableError):  # what cannot be read may still be replaced
        if _read(path) == data:
            return
    write_durably(path, data)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(
            f"cannot be read: {error.strerror}", where=str(path), code="disk-error"
        ) from error
