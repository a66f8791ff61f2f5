"""Who this host exchanges pieces with: the mesh, as membership sees the cell now."""

from __future__ import annotations

from collections.abc import Callable

from p2pdeploy.gossip.members import is_alive
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.swarm import Members
from p2pdeploy.swarm.fetch_terms import Neighbour
from p2pdeploy.swarm.neighbours import neighbours_of

__all__ = ["Mesh"]


class Mesh:
    """Names neighbours.

    Args:
        me: This host.
        members: The cell's members, this host among them.
    """

    def __init__(self, me: HostName, members: Callable[[], tuple[Member, ...]]) -> None:
        self._me = me
        self._members = members

    def neighbours(self) -> list[Neighbour]:
        """The hosts to be connected with; every host that seems alive counts."""
        alive = {member.name: member for member in self._members() if is_alive(member)}
        domains = {name: member.fault_domain for name, member in alive.items()}
        if self._me not in domains:
            return []  # this host has just said that it leaves
        return [_neighbour(alive[name]) for name in neighbours_of(self._me, domains)]

    def addresses(self) -> Members:
        """Where each host of the cell is: in this one's fault domain, its rack, or elsewhere."""
        members = self._members()
        mine = next((m.fault_domain for m in members if m.name == self._me), None)
        return {m.address: "rack" if m.fault_domain == mine else "cell" for m in members}

    def locate(self, host: HostName) -> Neighbour | None:
        """Where *host* listens for peers; None when nobody has heard of it."""
        for member in self._members():
            if member.name == host:
                return _neighbour(member)
        return None


def _neighbour(member: Member) -> Neighbour:
    return Neighbour(member.name, member.address, member.swarm_port)
