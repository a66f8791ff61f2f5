"""A port for a service on its host's address, kept across versions and restarts.

Chosen between 20,000 and the start of the kernel's range for outgoing connections
(``ip_local_port_range``), so no outgoing connection can sit on it while the service is stopped.
Between choosing a port and the service binding it nothing holds it; what could take it is a
program that was configured to use that very number, and then the next start picks another.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from p2pdeploy.errors import UnavailableError

if TYPE_CHECKING:
    from random import Random

__all__ = ["PortChoice", "choose_port", "kept_port"]

PORT_MIN = 20_000  # above the ports that well-known servers use
PORT_LAST = 32_767  # below the default range of outgoing connections, 32,768 to 60,999
ATTEMPTS_MAX = 200  # of about 12,000; so many held ones mean that something else is wrong


class PortChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The port to use, and why it is not the one of before (empty when it is)."""

    port: int
    changed_because: str = ""


def kept_port(path: Path) -> int | None:
    """Return the port on record at *path*; None when there is none or it is unreadable."""
    try:
        port = int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return port if 0 < port < 65_536 else None


def choose_port(path: Path, address: str, *, taken: Collection[int], rng: Random) -> PortChoice:
    """Return the service's port; call it only while the service is stopped.

    Args:
        path: Where it is kept, on disk when this returns.
        address: The host's own address.
        taken: Ports of the host's other services, which may be stopped right now.
        rng: Spreads the choice, so that two fleets on one machine rarely meet.

    Raises:
        UnavailableError: no free port was found.
    """
    kept = kept_port(path)
    if kept is not None and kept not in taken and _is_free(address, kept):
        return PortChoice(port=kept)
    first, last = _range()
    for _ in range(ATTEMPTS_MAX):
        port = rng.randint(first, last)
        if port not in taken and port != kept and _is_free(address, port):
            _keep(path, port)
            why = "first use" if kept is None else f"port {kept} is held by another process"
            return PortChoice(port=port, changed_because=why)
    raise UnavailableError(
        f"no free port between {first} and {last}", where=address, code="no-port"
    )


def _range() -> tuple[int, int]:
    """Return the first and last port to choose from: outside the range of outgoing connections."""
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    low, high = (int(word) for word in text.split())
    candidates = [(PORT_MIN, min(PORT_LAST, low - 1)), (high + 1, 65_535), (10_000, low - 1)]
    wide = [(first, last) for first, last in candidates if last - first >= ATTEMPTS_MAX]
    return wide[0] if wide else (PORT_MIN, PORT_LAST)  # all is outgoing: only the probe protects


def _is_free(address: str, port: int) -> bool:
    """Return whether a server could bind the port; connections it closed do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _keep(path: Path, port: int) -> None:
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    with new.open("x", encoding="ascii") as file:
        file.write(f"{port}\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
