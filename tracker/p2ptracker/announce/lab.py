"""Where a lab may be opened: it believes anybody, so nobody else may reach it."""

from __future__ import annotations

from pathlib import Path

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.addresses import is_loopback

__all__ = ["require_shut_off"]

_OURS, _OF_MACHINE = Path("/proc/self/ns/net"), Path("/proc/1/ns/net")


def require_shut_off(
    address: str, *, where: str, ours: Path = _OURS, of_machine: Path = _OF_MACHINE
) -> None:
    """Return if a lab's listener on *address* is out of reach of other machines.

    Args:
        address: Where it would listen.
        where: The key it came from, for the error.
        ours: This process's network namespace.
        of_machine: The first process's; readable by root alone.

    Raises:
        ConfigError: *address* is outside 127.0.0.0/8, and this is the machine's own network
            namespace, or we can't tell.
    """
    if is_loopback(address) or _is_other(ours, of_machine):
        return
    raise ConfigError(
        f"lab = true believes anybody, and {address} can be reached from outside",
        where=where,
        hint="a lab is for 127.0.0.0/8, or for a network namespace made for a test",
        code="lab-outside",
    )


def _is_other(ours: Path, of_machine: Path) -> bool:
    try:
        return not ours.samefile(of_machine)
    except OSError:
        return False
