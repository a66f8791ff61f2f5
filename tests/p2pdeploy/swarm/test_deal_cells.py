"""Dealing to several cells: each piece once in all, across cuts and deaths, and none starves."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName
from p2pdeploy.messages.deal import (
    AllDealt,
    Deal,
    DealReply,
    DealRequest,
    HolderHint,
    WaitDeal,
    bitmap_of,
)
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.heard_hosts import DEALER_HOSTS_MAX
from p2pdeploy.swarm.overlay import CellPlan, Place, place_of, plan_cell
from p2pdeploy.swarm.stripes import STRIPES, key_of, stripe_of
from p2pdeploy.swarm.trunks import linked_with

PIECES, DEAL_S, HOP_S, CUT_OFF_S = 80, 0.05, 0.03, DealConfig().cut_off_s
RACK = FaultDomain("fd0")


def request(host: str, have: set[int], **more: object) -> DealRequest:
    return DealRequest(
        cell=CellId(f"lab.web.{host.split('-')[0]}"),
        manifest_digest=Digest("00" * 32),
        host=HostName(host),
        have=bitmap_of([piece in have for piece in range(PIECES)]),
        completed=len(have) == PIECES,
        **more,  # pyright: ignore[reportArgumentType]
    )


def cell_of(host: HostName) -> str:
    return host.split("-")[0]


class Cells:
    """Events in time order: a host asks (-1), passes pieces on (-2), or gets a piece.

    Hosts and gateways know of a death after two seconds.
    """

    def __init__(self, sizes: list[int], seed: int = 0, loss: float = 0.0) -> None:
        self.hosts = {
            f"c{cell}": [HostName(f"c{cell}-h{number}") for number in range(size)]
            for cell, size in enumerate(sizes)
        }
        everybody = [host for hosts in self.hosts.values() for host in hosts]
        self.random, self.loss = Random(seed), loss
        self.dealer = Dealer([1] * PIECES)
        self.have: dict[HostName, set[int]] = {host: set() for host in everybody}
        self.on_the_way: dict[HostName, set[int]] = {host: set() for host in everybody}
        self.dead: set[HostName] = set()
        self.cut: set[str] = set()  # cells without a way to others; the origin they reach
        self.lies: dict[HostName, set[int]] = {}
        self.dealt: Counter[tuple[str, int]] = Counter()
        self.crossed: Counter[tuple[str, int]] = Counter()
        self.queue: list[tuple[float, int, HostName, int]] = []
        self.serial, self.now = 0, 0.0
        self.take_places()
        for host in everybody:
            self.at(self.random.random() / 10, host, -1)
            self.at(self.random.random() / 10, host, -2)

    def take_places(self) -> None:
        living = {
            cell: {host: RACK for host in hosts if host not in self.dead}
            for cell, hosts in self.hosts.items()
        }
        self.plans: dict[str, CellPlan] = {
            cell: plan_cell(members) for cell, members in living.items() if members
        }
        others = len(self.plans) > 1
        self.places: dict[HostName, Place] = {
            host: place_of(host, plan, has_other_cells=others)
            for cell, plan in self.plans.items()
            for host in living[cell]
        }

    def at(self, when: float, host: HostName, what: int) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (when, self.serial, host, what))

    def run(self, until: float) -> None:
        """Until then, or until every living host has everything."""
        while self.queue and self.queue[0][0] <= until and self.missing():
            self.now, _, host, what = heapq.heappop(self.queue)
            if host in self.dead:
                continue
            if what == -1:
                self.ask(host)
            elif what == -2:
                self.pass_on(host)
            else:
                self.have[host].add(what)

    def ask(self, host: HostName) -> None:
        claimed = self.lies.get(host, self.have[host])
        reply = self.dealer.handle(
            request(host, claimed, stripes=self.places[host].stripes), self.now
        )
        pause_s = min(reply.retry_after_s, 1.0) if isinstance(reply, WaitDeal) else 1.0
        if isinstance(reply, Deal):
            pause_s = DEAL_S
            for dealt in reply.pieces:
                self.dealt[cell_of(host), dealt.piece] += 1
                if self.random.random() >= self.loss:
                    self.send(host, dealt.piece, DEAL_S)
        self.at(self.now + pause_s, host, -1)

    def send(self, host: HostName, piece: int, takes_s: float) -> None:
        self.on_the_way[host].add(piece)
        self.at(self.now + takes_s, host, piece)

    def pass_on(self, host: HostName) -> None:
        """Everything to neighbours; to gateways elsewhere what they lack of the stripe."""
        for other in self.places[host].neighbours:
            if other not in self.dead:
                for piece in sorted(self.have[host] - self.on_the_way[other]):
                    self.send(other, piece, HOP_S)
        for stripe in range(STRIPES):
            if self.places[host].gateway_of >> stripe & 1:
                for other in self.linked(host, stripe):
                    self.cross(host, other, stripe)
        self.at(self.now + 0.1, host, -2)

    def linked(self, host: HostName, stripe: int) -> list[HostName]:
        cells = sorted(self.plans)
        keys = [key_of(f"lab.web.{cell}") for cell in cells]
        found = linked_with(keys, stripe, cells.index(cell_of(host)))
        near = [cells[index] for index in found]
        return [
            gateway
            for cell in near
            for gateway in self.plans[cell].gateways(stripe)
            if not self.cut & {cell, cell_of(host)} and gateway not in self.dead
        ]

    def cross(self, host: HostName, other: HostName, stripe: int) -> None:
        there = set[int]().union(*(self.have[each] for each in self.hosts[cell_of(other)]))
        for piece in sorted(self.have[host] - self.on_the_way[other] - there):
            if stripe_of(piece) == stripe:
                self.crossed[cell_of(other), piece] += 1
                self.send(other, piece, HOP_S)

    def kill(self, hosts: set[HostName]) -> None:
        self.dead |= hosts
        self.run(self.now + 2.0)
        self.take_places()
        for host in self.places:  # what was on its way from the dead never comes
            self.on_the_way[host] &= self.have[host] | {
                what for _, _, to, what in self.queue if to == host
            }

    def missing(self) -> int:
        honest = self.have.keys() - self.dead - self.lies.keys()
        return sum(PIECES - len(self.have[host]) for host in honest)

    def entered(self) -> Counter[tuple[str, int]]:
        return self.dealt + self.crossed


sizes = st.lists(st.integers(2, 14), min_size=1, max_size=8)


@settings(max_examples=15, deadline=None)
@given(sizes, st.integers(0, 1000))
def test_without_loss_each_piece_is_dealt_once_in_all_and_enters_each_cell_once(
    cells: list[int], seed: int
):
    world = Cells(cells, seed)
    world.run(60.0)
    assert world.missing() == 0
    assert world.dealt.total() == PIECES
    assert len(world.entered()) == PIECES * len(cells)
    assert set(world.entered().values()) == {1}


@settings(max_examples=15, deadline=None)
@given(sizes, st.integers(0, 1000))
def test_lost_deals_are_dealt_again_and_no_piece_starves(cells: list[int], seed: int):
    world = Cells(cells, seed, loss=0.05)
    world.run(200.0)
    assert world.missing() == 0
    assert PIECES <= world.dealt.total() <= 1.3 * PIECES


@settings(max_examples=10, deadline=None)
@given(sizes, st.integers(0, 1000), st.floats(0.05, 1.0))
def test_a_dealer_that_is_restarted_or_replaced_deals_little_twice(
    cells: list[int], seed: int, at_s: float
):
    world = Cells(cells, seed)
    world.run(at_s)
    world.dealer = Dealer([1] * PIECES, DealConfig(settle_s=1.5))
    world.run(60.0)
    assert world.missing() == 0
    assert world.dealt.total() <= 1.1 * PIECES


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_that_is_cut_off_from_the_others_is_dealt_to_after_ten_seconds(seed: int):
    world = Cells([12, 12, 12], seed)
    world.cut = {"c1"}
    world.run(CUT_OFF_S - 1)
    assert {cell for cell, _ in world.dealt} == {"c0", "c1", "c2"}
    assert world.dealt.total() == PIECES  # each cell waits for what the others were dealt
    share = Counter(cell for cell, _ in world.dealt)["c1"]
    world.run(60.0)
    assert world.missing() == 0
    assert Counter(cell for cell, _ in world.dealt)["c1"] == PIECES
    assert {count for (cell, _), count in world.entered().items() if cell == "c1"} == {1}
    # The rest of its own, and its share to the others: at the worst to both at the same time.
    assert world.dealt.total() <= 2 * PIECES + share


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_whose_link_is_healed_is_dealt_no_more_than_its_share(seed: int):
    world = Cells([12, 12, 12], seed)
    world.cut = {"c1"}
    world.run(CUT_OFF_S - 1)
    world.cut = set()
    world.run(60.0)
    assert world.missing() == 0
    assert world.dealt.total() == PIECES


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_gateways_may_die(seed: int):
    world = Cells([12, 12, 12], seed)
    world.run(0.3)
    gateways = sorted(host for host, place in world.places.items() if place.gateway_of)
    world.kill(set(world.random.sample(gateways, len(gateways) // 2)))
    world.run(90.0)
    assert world.missing() == 0
    assert world.dealt.total() <= 1.5 * PIECES


def test_a_cell_of_fewer_hosts_than_stripes_uses_them_all_as_gateways():
    world = Cells([3, 12])
    led = [world.places[host].gateway_of for host in world.hosts["c0"]]
    assert all(led)
    assert sum(led) == (1 << STRIPES) - 1


@pytest.mark.parametrize("seed", range(3))
def test_a_host_that_claims_everything_starves_no_other_cell(seed: int):
    world = Cells([12, 12, 12], seed)
    world.lies = {HostName("c0-h0"): set(range(PIECES))}
    for other in world.hosts["c0"]:
        world.lies.setdefault(other, set())  # of its own cell nothing is asked here
    world.run(120.0)
    assert world.missing() == 0
    assert world.dealt.total() <= 2.2 * PIECES  # two cells, each all of it at the worst


def test_a_missing_piece_is_asked_of_a_holder_in_the_same_cell():
    dealer = Dealer([65_536] * PIECES)
    everything = set(range(PIECES))
    dealer.handle(request("c0-far", everything), 0.0)
    dealer.handle(request("c1-near", everything), 0.0)
    for step in range(3):
        reply = dealer.handle(request("c1-lacks", {step}, missing=(7 + step,)), float(step))
        assert isinstance(reply, HolderHint)
        assert reply.host == "c1-near"


def test_a_piece_that_only_other_cells_hold_is_waited_for_and_nobody_is_done_yet():
    dealer = Dealer([65_536] * PIECES)
    everything = set(range(PIECES))
    assert isinstance(dealer.handle(request("c0-a", everything), 0.0), AllDealt)
    dealer.handle(request("c0-b", everything), 0.0)
    reply = dealer.handle(request("c1-a", {1}, missing=(0,)), 0.1)
    assert isinstance(reply, WaitDeal)
    assert reply.exhausted


def test_a_piece_on_its_way_to_one_cell_is_not_confirmed_by_another():
    dealer = Dealer([65_536] * PIECES)
    everything = set(range(PIECES))
    for now in (0.0, 4.0, 8.0, CUT_OFF_S):
        dealer.handle(request("c0-a", everything), now)
        assert isinstance(dealer.handle(request("c1-a", set()), now), WaitDeal)
    [dealt] = dealt_to(dealer.handle(request("c1-a", set()), CUT_OFF_S + 0.1))
    dealer.handle(request("c0-b", everything), CUT_OFF_S + 0.2)
    assert dealer.statistics().in_flight == 1
    dealer.handle(request("c1-a", {dealt}), CUT_OFF_S + 0.3)
    assert dealer.statistics().hosts_completed == 2


def dealt_to(reply: DealReply) -> list[int]:
    assert isinstance(reply, Deal), reply
    return [dealt.piece for dealt in reply.pieces]


def test_a_cell_that_was_quiet_for_a_while_is_not_taken_for_cut_off():
    dealer = Dealer([65_536] * PIECES)
    dealer.handle(request("c1-a", set(), stripes=0), 0.0)
    for now in range(0, 30, 3):
        dealer.handle(request("c0-a", set(range(PIECES))), float(now))
    assert isinstance(dealer.handle(request("c1-a", set()), 30.0), WaitDeal)


def test_the_dealer_makes_room_for_hosts_of_whatever_cell():
    dealer = Dealer([65_536] * PIECES)
    for number in range(DEALER_HOSTS_MAX):
        dealer.handle(request(f"c{number % 9}-h{number}", set(), stripes=0), 0.0)
    with pytest.raises(UnavailableError):
        dealer.handle(request("c9-h0", set()), 1.0)
    dealer.handle(request("c9-h0", set()), 30.0)
    assert dealer.statistics().hosts <= DEALER_HOSTS_MAX
