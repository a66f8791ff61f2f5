"""The cell's inventory as last known, on the disk: for a start without the control plane."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from p2pdaemon.journal import write_durably
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ProtocolError, UnavailableError
from p2pdeploy.topology import Host

__all__ = ["keep_inventory", "read_inventory"]


def read_inventory(path: Path) -> list[Host] | None:
    """The hosts in *path*; None when nothing was kept yet.  Blocking.

    Raises:
        UnavailableError: it cannot be read.
        ProtocolError: it is damaged.
    """
    data = _read(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=list[Host])
    except UNDECODABLE as error:
        raise ProtocolError(f"the cached inventory is damaged: {error}") from error


def keep_inventory(path: Path, hosts: list[Host]) -> None:
    """Write only what is new: the inventory hardly ever changes.  Blocking.

    Raises:
        UnavailableError: the disk is full or refuses; *path* is as it was.
    """
    data = msgspec.json.encode(hosts)
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
