"""Claim a free 127.A.B.0/24: each fleet has addresses of its own, so that many fit one machine.

Binding is the claim: the guard port while ``up`` works, the control plane's ports ever after.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from p2pdeploy.errors import RefusedError, UnavailableError

__all__ = ["GUARD_PORT", "claim_recorded", "claim_subnet", "guard_address"]

GUARD_PORT = 7399  # below the control plane's 7400 to 7402
# 127.0.x.y is everybody's; from 64 up nothing on a usual machine listens.
_FIRST_A, _LAST_A = 64, 127
_TRIES_MAX = 256  # that many fleets on one machine are a mistake in a loop


def claim_subnet(folder: Path, ports: Iterable[tuple[int, int]]) -> tuple[str, socket.socket]:
    """Claim a free subnet for the new fleet in *folder*.

    Args:
        folder: Where the search starts is derived from its path, so that a fleet that is made
            again tends to have the addresses it had.
        ports: (last octet, port) of listeners that the fleet will have.

    Returns:
        The first three octets such as ``127.64.7``, and the guard; close it when the control
        plane listens.

    Raises:
        UnavailableError: no subnet is free.
    """
    wanted = list(ports)
    for prefix in _candidates(folder):
        guard = _claim(prefix, wanted)
        if isinstance(guard, socket.socket):
            return prefix, guard
    raise UnavailableError(
        "no free 127.A.B.0/24 for a fleet",
        hint="something listens on all addresses at the control plane's ports, or many fleets run",
        code="no-free-subnet",
    )


def claim_recorded(prefix: str, ports: Iterable[tuple[int, int]], folder: Path) -> socket.socket:
    """Claim the subnet that the fleet in *folder* had before; returns the guard.

    Raises:
        RefusedError: somebody else listens there now; nothing was started.
    """
    guard = _claim(prefix, list(ports))
    if isinstance(guard, socket.socket):
        return guard
    raise RefusedError(
        f"another process listens on {guard}, which belongs to this fleet",
        where=str(folder),
        hint="stop that process, or use a new folder",
        code="addresses-taken",
    )


def guard_address(prefix: str) -> tuple[str, int]:
    """Where the guard of a subnet listens."""
    return f"{prefix}.1", GUARD_PORT


def _candidates(folder: Path) -> Iterator[str]:
    span = (_LAST_A - _FIRST_A + 1) * 256
    start = zlib.crc32(str(folder).encode())
    for step in range(_TRIES_MAX):
        number = (start + step) % span
        yield f"127.{_FIRST_A + number // 256}.{number % 256}"


def _claim(prefix: str, ports: list[tuple[int, int]]) -> socket.socket | str:
    """The guard, or the first ``address:port`` where somebody listens already."""
    guard = _listen(*guard_address(prefix))
    if guard is None:
        return "{}:{}".format(*guard_address(prefix))
    for octet, port in ports:
        probe = _listen(f"{prefix}.{octet}", port)
        if probe is None:
            guard.close()
            return f"{prefix}.{octet}:{port}"
        probe.close()
    return guard


def _listen(address: str, port: int) -> socket.socket | None:
    """A listening socket, or None when another one listens there.

    With SO_REUSEADDR connections that linger in TIME_WAIT do not count, a listener does.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(1)
    except OSError:
        listener.close()
        return None
    return listener
