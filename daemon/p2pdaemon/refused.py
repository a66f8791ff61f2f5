"""Whom this host believes no more: pure, fed with what the control plane has sealed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.gossip import Member
from p2pdeploy.trust.identity import HostId, OperatorId
from p2pdeploy.trust.revocations import Revocations
from p2pdeploy.trust.tls import Peer

__all__ = ["Refused"]


class Refused:
    """The newest word on revocations, as the parts of a daemon ask for it.

    Args:
        fleet: Ours; another's word changes nothing.
        cell: Likewise.
    """

    def __init__(self, fleet: str, cell: CellId) -> None:
        self._fleet, self._cell = fleet, cell
        self._seq = -1
        self._floors: dict[HostName, int] = {}
        self._hosts: Mapping[HostName, str] = {}
        self._serials: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Refused {self._seq}: {len(self._hosts)} hosts, {len(self._serials)} serials>"

    @property
    def floors(self) -> Mapping[HostName, int]:
        """The least enrolment that is believed of a host; the verifier looks at each message."""
        return MappingProxyType(self._floors)

    @property
    def hosts(self) -> Mapping[HostName, str]:
        """Hosts of the cell that are out, with the addresses they had."""
        return self._hosts

    def take(self, word: Revocations) -> bool:
        """Take a verified word if it is newer; returns whether it was.

        Floors only rise: a word that takes one back is a mistake or an attack.
        """
        if word.fleet != self._fleet or word.cell != self._cell or word.seq <= self._seq:
            return False
        self._seq = word.seq
        for host, floor in word.floors.items():
            self._floors[host] = max(floor, self._floors.get(host, 0))
        self._hosts = dict(word.refused)
        self._serials = frozenset(word.serials)
        return True

    def believed(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """*members* without those that are out."""
        return tuple(member for member in members if member.name not in self._hosts)

    def is_revoked(self, peer: Peer) -> bool:
        """Whether the bearer of a certificate is to be turned away."""
        match peer.identity:
            case HostId(host=host):
                return host in self._hosts or peer.enrolment < self._floors.get(host, 0)
            case OperatorId():
                return peer.serial in self._serials
            case _:
                return False
