"""Who is linked with whom between the cells of one target, as the control plane sees them."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from p2pdeploy.gossip.anti_entropy import offer
from p2pdeploy.gossip.state import CellState
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.gateways import GATEWAY_LINKS_MAX, GATEWAYS_BYTES_MAX, GatewayLink
from p2pdeploy.messages.gossip import Status
from p2pdeploy.messages.sync import MemberView, SyncOffer
from p2pdeploy.swarm.overlay import place_of, plan_cell
from p2pdeploy.swarm.stripes import STRIPES
from p2pdeploy.swarm.trunks import TRUNK_DEGREE
from p2pdeploy.topology import Host
from p2ptracker.cells.gateways import GatewayBook
from p2ptracker.cells.replica import DELEGATE_SILENT_S, CellReplica

WEB = "lab.web.c"


class Fleet:
    """Cells whose first host is a delegate that tells who is alive."""

    def __init__(self, *cells: str, hosts: int = 9) -> None:
        self.book = GatewayBook()
        self.replicas = [
            CellReplica(CellId(cell), [a_host(cell, n) for n in range(hosts)], lambda _: None)  # pyright: ignore[reportArgumentType] nothing is opened here
            for cell in cells
        ]
        self.out: set[HostName] = set()
        self.now = 0.0
        for replica in self.replicas:
            self.tell(replica)

    def tell(self, replica: CellReplica, dead: frozenset[str] = frozenset()) -> None:
        """The cell's delegate is heard now."""
        living = [name for name in replica.hosts if name not in dead]
        offered = SyncOffer(
            cell=replica.cell,
            host=living[0],
            members=tuple(MemberView(name, Status.ALIVE, 1) for name in living),
            offer=offer(CellState(replica.cell)),
        )
        replica.sync(offered, now=self.now, wall_s=0.0)

    def links(self, cell: str) -> tuple[GatewayLink, ...]:
        is_out = self.out.__contains__
        return self.book.links_of(CellId(cell), self.replicas, self.now, is_out).links

    def leads(self, cell: str, host: str) -> int:
        """The stripes of which *host* takes itself for the gateway."""
        replica = next(each for each in self.replicas if each.cell == cell)
        live = {n: replica.hosts[n].fault_domain for n in sorted(replica.alive(self.now))}
        return place_of(HostName(host), plan_cell(live), has_other_cells=True).gateway_of


def a_host(cell: str, number: int) -> Host:
    environment, machine_function, cluster = cell.split(".")
    return Host(
        name=HostName(f"{machine_function}-{cluster}-h{number}"),
        address=f"127.{int(cluster[1:])}.0.{number + 1}",
        environment=environment,
        machine_function=machine_function,
        cell=CellId(cell),
        fault_domain=FaultDomain(f"fd{number % 3}"),
        gossip_port=7946,
        swarm_port=6881,
        host_port=7947,
    )


def cells(count: int) -> list[str]:
    return [f"{WEB}{number}" for number in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_each_link_leads_to_the_host_that_takes_itself_for_the_gateway_and_back(count: int):
    fleet = Fleet(*cells(count))
    reached = {cell: fleet.links(cell) for cell in cells(count)}
    pairs: Counter[tuple[int, str, str]] = Counter()
    for cell, links in reached.items():
        for link in links:
            other = f"{WEB}{link.address.split('.')[1]}"
            assert fleet.leads(other, link.host) >> link.stripe & 1
            pairs[link.stripe, min(cell, other), max(cell, other)] += 1
    assert set(pairs.values()) == {2}  # told on both sides
    for links in reached.values():
        told = Counter(link.stripe for link in links)
        assert len(told) == STRIPES
        assert max(told.values()) <= min(count - 1, TRUNK_DEGREE)


def test_an_answer_of_the_longest_names_fits_its_bounds():
    link = GatewayLink(stripe=7, host=HostName("h" * 63), address="255.255.255.255", port=65_535)
    size_bytes = len(msgspec.json.encode({"links": [link] * GATEWAY_LINKS_MAX}))
    assert size_bytes <= GATEWAYS_BYTES_MAX


def test_cells_of_another_target_are_nobodys_business():
    fleet = Fleet("lab.web.c0", "lab.web.c1", "lab.db.c2", "prod.web.c3")
    assert {link.address.split(".")[1] for link in fleet.links("lab.web.c0")} == {"1"}
    assert fleet.links("lab.db.c2") == ()


def test_a_cell_that_is_not_heard_of_is_linked_with_nobody():
    fleet = Fleet(*cells(3))
    fleet.now = DELEGATE_SILENT_S + 1
    for replica in fleet.replicas[:2]:
        fleet.tell(replica)
    assert {link.address.split(".")[1] for link in fleet.links("lab.web.c0")} == {"1"}
    assert fleet.links("lab.web.c2") == ()


def test_who_follows_a_dead_gateway_is_told_as_soon_as_its_cell_says_so():
    fleet = Fleet(*cells(2))
    [before] = [link for link in fleet.links("lab.web.c0") if link.stripe == 3]
    fleet.now = DELEGATE_SILENT_S + 1
    fleet.tell(fleet.replicas[0])
    fleet.tell(fleet.replicas[1], dead=frozenset({before.host}))
    [after] = [link for link in fleet.links("lab.web.c0") if link.stripe == 3]
    assert after.host != before.host
    assert fleet.leads("lab.web.c1", after.host) >> 3 & 1


def test_a_revoked_host_is_nobodys_gateway_whoever_believes_it_alive():
    fleet = Fleet(*cells(2))
    fleet.out = {link.host for link in fleet.links("lab.web.c0")[:4]}
    assert not fleet.out & {link.host for link in fleet.links("lab.web.c0")}
    fleet.out = set(fleet.replicas[1].hosts)
    assert fleet.links("lab.web.c0") == ()
