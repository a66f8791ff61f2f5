"""Which addresses may connect: the cell's members and nobody else (shell: libtorrent's filter).

A list of who may, not of who may not.  libtorrent asks no revocation list, and a revoked host has
a valid leaf for up to a day: on a list of the refused it would only have to change its address.
With a list of the admitted it needs a member's address, and so does whoever stole a leaf.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from typing import Any

import libtorrent as lt

__all__ = ["Admission"]

_ALLOWED, _BLOCKED = 0, 1  # ip_filter's flags


class Admission:
    """Members that are not banned."""

    def __init__(self) -> None:
        self._members: frozenset[str] = frozenset()
        self._banned: set[str] = set()  # only who was admitted could connect and send garbage

    def __repr__(self) -> str:
        return f"<Admission {len(self._members)} members, {len(self._banned)} banned>"

    def admit(self, addresses: Iterable[str]) -> bool:
        """Replace the members; False when nothing changed.

        What is no IPv4 address is left out: one bad word in a member list harms nobody else.
        """
        members = frozenset(address for address in addresses if _is_ipv4(address))
        changed = members != self._members
        self._members = members
        return changed

    def ban(self, address: str) -> None:
        """Refuse *address* for good, member or not."""
        self._banned.add(address)

    def to_filter(self) -> Any:
        """The rules in libtorrent's form."""
        made = lt.ip_filter()
        made.add_rule("0.0.0.0", "255.255.255.255", _BLOCKED)
        made.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", _BLOCKED)
        for address in self._members:
            made.add_rule(address, address, _ALLOWED)
        for address in self._banned:
            made.add_rule(address, address, _BLOCKED)
        return made


def _is_ipv4(address: str) -> bool:
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv4Address(address)) == address
    return False
