"""Which hosts of other cells a cell's gateways are linked with (pure).

Cells of one target (environment and machine function) exchange the pieces of a release.  Who is
the gateway of a stripe follows from a cell's live hosts by the functions that these use as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from p2pdeploy.ids import CellId, FaultDomain, HostName, target_of
from p2pdeploy.messages.gateways import GATEWAY_LINKS_MAX, GatewayLink, Gateways
from p2pdeploy.swarm.overlay import CellPlan, plan_cell
from p2pdeploy.swarm.stripes import STRIPES, key_of
from p2pdeploy.swarm.trunks import TRUNK_DEGREE, trunk_links
from p2ptracker.cells.replica import CellReplica

__all__ = ["GatewayBook"]

assert GATEWAY_LINKS_MAX == STRIPES * TRUNK_DEGREE

_Links = Mapping[CellId, list[tuple[int, CellId]]]  # of each cell: stripe, other cell
_Plan = tuple[dict[HostName, FaultDomain], CellPlan]  # and the live hosts that it was made of


class GatewayBook:
    """Answers with gateways.  What it remembers is remade when other hosts or cells live."""

    def __init__(self) -> None:
        self._links: dict[str, tuple[tuple[CellId, ...], _Links]] = {}  # by target
        self._plans: dict[CellId, _Plan] = {}

    def __repr__(self) -> str:
        return f"<GatewayBook of {len(self._links)} targets, {len(self._plans)} cells>"

    def links_of(
        self,
        cell: CellId,
        fleet: Iterable[CellReplica],
        now: float,
        is_out: Callable[[HostName], bool],
    ) -> Gateways:
        """Whom the gateways of *cell* are linked with.

        Args:
            cell: One of *fleet*.
            fleet: Every cell.  One of which no delegate was heard lately does not count.
            now: trio's clock, for who is alive.
            is_out: Says which hosts are nobody's gateway, whoever believes them alive.
        """
        target = target_of(cell)
        seen = {
            each.cell: each
            for each in fleet
            if target_of(each.cell) == target and each.is_seen(now)
        }
        if cell not in seen:
            return Gateways()
        links = [
            GatewayLink(
                stripe=stripe,
                host=gateway,
                address=seen[other].hosts[gateway].address,
                port=seen[other].hosts[gateway].swarm_port,
            )
            for stripe, other in self._links_between(target, tuple(sorted(seen)))[cell]
            for gateway in self._gateway(seen[other], stripe, now, is_out)
        ]
        return Gateways(links=tuple(links))

    def _links_between(self, target: str, cells: tuple[CellId, ...]) -> _Links:
        known = self._links.get(target)
        if known is None or known[0] != cells:
            known = self._links[target] = (cells, _linked(cells))
        return known[1]

    def _gateway(
        self, replica: CellReplica, stripe: int, now: float, is_out: Callable[[HostName], bool]
    ) -> Iterator[HostName]:
        """The gateway of *stripe*; none when nobody there is to be one."""
        alive = replica.alive(now)
        live = {
            name: host.fault_domain
            for name, host in replica.hosts.items()
            if name in alive and not is_out(name)
        }
        if not live:
            return
        known = self._plans.get(replica.cell)
        if known is None or known[0] != live:
            known = self._plans[replica.cell] = (live, plan_cell(live))
        yield from known[1].gateways(stripe)


def _linked(cells: tuple[CellId, ...]) -> _Links:
    keys = [key_of(cell) for cell in cells]
    links: dict[CellId, list[tuple[int, CellId]]] = {cell: [] for cell in cells}
    for stripe in range(STRIPES):
        for low, high in trunk_links(keys, stripe):
            links[cells[low]].append((stripe, cells[high]))
            links[cells[high]].append((stripe, cells[low]))
    return links
