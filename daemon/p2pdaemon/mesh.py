"""Who this host exchanges pieces with: the mesh and the trunk, as membership sees the cell now, and
the gateways of other cells that the control plane told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from p2pdeploy.gossip.effects import MemberChanged, Notice
from p2pdeploy.gossip.members import is_alive
from p2pdeploy.ids import FaultDomain, HostName
from p2pdeploy.messages.gateways import GatewayLink, Gateways
from p2pdeploy.messages.gossip import Member
from p2pdeploy.messages.swarm import Members
from p2pdeploy.swarm.fetch_terms import Neighbour
from p2pdeploy.swarm.overlay import Place, place_of, plan_cell

__all__ = ["CellMesh"]


class CellMesh:
    """Names neighbours; a :class:`p2pdeploy.swarm.fetch_terms.Mesh`.

    Args:
        me: This host.
        members: The cell's members, this host among them.
    """

    def __init__(self, me: HostName, members: Callable[[], tuple[Member, ...]]) -> None:
        self._me = me
        self._members = members
        self._alive: dict[HostName, FaultDomain] = {}  # as they were when we took our place
        self._links: tuple[GatewayLink, ...] = ()
        self._place = Place(neighbours=())
        self._is_gateway = False
        self._is_stale = True

    def hear(self, effect: Notice) -> None:
        """Take note of a change of membership; called by gossip, never waits."""
        if isinstance(effect, MemberChanged):
            self._is_stale = True

    def learn_gateways(self, told: Gateways) -> bool:
        """Take the links of this cell with others; False when they are what they were."""
        if told.links == self._links:
            return False
        self._links = told.links
        self._alive, self._is_stale = {}, True
        return True

    def place(self) -> Place:
        """Where this host stands; every host that seems alive counts.

        A host that has just said that it leaves stands alone.
        """
        if not self._is_stale:
            return self._place
        self._is_stale = False
        alive = {member.name: member.fault_domain for member in self._members() if is_alive(member)}
        if alive != self._alive:
            self._alive = alive
            self._take_place()
        return self._place

    def _take_place(self) -> None:
        if self._me not in self._alive:
            self._place, self._is_gateway = Place(neighbours=()), False
            return
        plan = plan_cell(self._alive)
        place = place_of(self._me, plan, has_other_cells=True)
        self._is_gateway = bool(place.gateway_of)
        alone = not self._links
        self._place = place_of(self._me, plan, has_other_cells=False) if alone else place

    def is_gateway(self) -> bool:
        """Whether it exchanges a stripe with other cells, or would if there were some."""
        self.place()
        return self._is_gateway

    def has_trunk(self) -> bool:
        """Whether there are other groups."""
        return self.place().has_trunk

    def stripes(self) -> int:
        """The stripes that this host draws and carries."""
        return self.place().stripes

    def neighbours(self) -> list[Neighbour]:
        """The hosts of its group that it is linked with."""
        return self._known(self.place().neighbours)

    def trunk(self) -> list[Neighbour]:
        """The carriers of its stripes in other groups, and their gateways in other cells."""
        own = self._known(self.place().trunk)
        links = {link.host: Neighbour(link.host, link.address, link.port) for link in self._led()}
        return [*own, *links.values()]

    def linked_addresses(self) -> list[str]:
        """Where those in other cells are that it exchanges pieces with."""
        return [link.address for link in self._led()]

    def _led(self) -> list[GatewayLink]:
        led = self.place().gateway_of
        return [link for link in self._links if led >> link.stripe & 1]

    def farther(self) -> list[Neighbour]:
        """The carriers of all stripes in other groups."""
        return self._known(self.place().farther)

    def addresses(self) -> Members:
        """Where each host of the cell is: in this one's fault domain, its rack, or elsewhere."""
        members = self._members()
        mine = next((m.fault_domain for m in members if m.name == self._me), None)
        return {m.address: "rack" if m.fault_domain == mine else "cell" for m in members}

    def locate(self, host: HostName) -> Neighbour | None:
        """Where *host* listens for peers; None when nobody has heard of it."""
        return next(iter(self._known([host])), None)

    def _known(self, names: Iterable[HostName]) -> list[Neighbour]:
        wanted = set(names)
        found = (member for member in self._members() if member.name in wanted)
        return [Neighbour(member.name, member.address, member.swarm_port) for member in found]
