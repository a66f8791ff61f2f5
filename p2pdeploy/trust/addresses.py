"""Which addresses may stand in a configuration, and which of them other machines can't reach."""

from __future__ import annotations

import ipaddress

from p2pdeploy.errors import ConfigError

__all__ = ["is_loopback", "require_address"]

_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def require_address(address: str, *, where: str) -> str:
    """Return *address* if it is the literal IPv4 address of one machine.

    Args:
        address: What is about to be bound or connected to.  Names are not resolved: certificates
            and inventories name addresses, and a resolver is one more party to believe.
        where: The key or flag it came from, for the error.

    Raises:
        ConfigError: a name, IPv6, ``0.0.0.0`` (nobody can be told to connect to it), or a
            multicast, broadcast or reserved address.
    """
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        parsed = None
    if parsed is None or parsed.is_unspecified or parsed.is_multicast or parsed.is_reserved:
        raise ConfigError(
            f"{address!r} is not the IPv4 address of one machine",
            where=where,
            hint="write it in digits, like 10.0.0.7; names, 0.0.0.0 and multicast do not do",
            code="bad-address",
        )
    return address


def is_loopback(address: str) -> bool:
    """Whether *address* is a literal IPv4 address that other machines can't reach."""
    try:
        return ipaddress.IPv4Address(address) in _LOOPBACK
    except ValueError:
        return False
