"""Members that are not heard any more, though they still have the cell's keys (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Member

__all__ = ["Refusals"]


class Refusals:
    """Refused hosts by name, each with the address that it had."""

    def __init__(self) -> None:
        self.names: frozenset[HostName] = frozenset()
        self.addresses: frozenset[str] = frozenset()

    def replace(self, hosts: Mapping[HostName, str]) -> None:
        """Refuse these from now on and nobody else."""
        self.names = frozenset(hosts)
        self.addresses = frozenset(hosts.values())

    def without_refused(self, members: Iterable[Member], *, own_address: str) -> tuple[Member, ...]:
        """Those of *members* that are neither refused nor at the address of one that is.

        Args:
            members: Any.
            own_address: Ours: whoever claimed it as theirs does not make us a stranger.
        """
        gone = self.addresses - {own_address}
        return tuple(
            each for each in members if each.name not in self.names and each.address not in gone
        )
