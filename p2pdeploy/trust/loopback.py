"""Without certificates nothing listens or connects outside 127.0.0.0/8."""

from __future__ import annotations

import ipaddress

from p2pdeploy.errors import ConfigError

__all__ = ["require_loopback"]

_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def require_loopback(address: str, *, where: str) -> str:
    """Return *address* if it is a literal IPv4 loopback address.

    Args:
        address: What is about to be bound or connected to; names are not resolved.
        where: The key or flag it came from, for the error.

    Raises:
        ConfigError: any other address; this fleet has no certificates to protect it.
    """
    try:
        inside = ipaddress.ip_address(address) in _LOOPBACK
    except ValueError:
        inside = False
    if not inside:
        raise ConfigError(
            f"address {address!r} is outside 127.0.0.0/8",
            where=where,
            hint="a fleet without certificates stays on loopback",
            code="not-loopback",
        )
    return address
