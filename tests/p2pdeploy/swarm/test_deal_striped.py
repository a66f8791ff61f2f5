"""Dealing to a cell of groups: by stripe, each piece once, and no piece starves."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName
from p2pdeploy.messages.deal import Deal, DealReply, DealRequest, WaitDeal, bitmap_of
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.overlay import place_of, plan_cell
from p2pdeploy.swarm.stripes import STRIPES, stripe_of

PIECES, DEAL_S, HOP_S = 80, 0.05, 0.03


def request(host: str, have: set[int], *, count: int = PIECES, **more: object) -> DealRequest:
    return DealRequest(
        cell=CellId("lab.web.c0"),
        manifest_digest=Digest("00" * 32),
        host=HostName(host),
        have=bitmap_of([piece in have for piece in range(count)]),
        completed=len(have) == count,
        **more,  # pyright: ignore[reportArgumentType]
    )


class Groups:
    """Events in time order: a host asks (-1), passes pieces on (-2), or gets a piece."""

    def __init__(self, sizes: list[int], seed: int = 0, loss: float = 0.0) -> None:
        domains = {
            HostName(f"h{rack}{number}"): FaultDomain(f"rack{rack}")
            for rack, size in enumerate(sizes)
            for number in range(size)
        }
        self.domains = domains
        plan = plan_cell(domains)
        self.places = {name: place_of(name, plan, has_other_cells=False) for name in domains}
        self.random, self.loss = Random(seed), loss
        self.dealer = Dealer([1] * PIECES)
        self.have: dict[HostName, set[int]] = {name: set() for name in domains}
        self.on_the_way: dict[HostName, set[int]] = {name: set() for name in domains}
        self.dead: set[HostName] = set()
        self.entered: Counter[tuple[FaultDomain, int]] = Counter()  # copies into a rack
        self.deals = 0
        self.queue: list[tuple[float, int, HostName, int]] = []
        self.lacking = PIECES * len(domains)  # of the dead as well
        self.serial, self.now = 0, 0.0
        for name in domains:
            self.at(self.random.random() / 10, name, -1)
            self.at(self.random.random() / 10, name, -2)

    def at(self, when: float, host: HostName, what: int) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (when, self.serial, host, what))

    def run(self, until: float) -> None:
        """Until then, or until every host has everything."""
        while self.lacking and self.queue[0][0] <= until:
            self.now, _, host, what = heapq.heappop(self.queue)
            if host in self.dead:
                continue
            if what == -1:
                self.ask(host)
            elif what == -2:
                self.pass_on(host)
            else:
                self.lacking -= what not in self.have[host]
                self.have[host].add(what)

    def ask(self, host: HostName) -> None:
        place = self.places[host]
        reply = self.dealer.handle(request(host, self.have[host], stripes=place.stripes), self.now)
        pause_s = min(reply.retry_after_s, 1.0) if isinstance(reply, WaitDeal) else 1.0
        if isinstance(reply, Deal):
            pause_s = DEAL_S
            for dealt in reply.pieces:
                self.deals += 1
                if self.random.random() >= self.loss:
                    self.send(host, dealt.piece, DEAL_S)
                    self.entered[self.domains[host], dealt.piece] += 1
        self.at(self.now + pause_s, host, -1)

    def send(self, host: HostName, piece: int, takes_s: float) -> None:
        self.on_the_way[host].add(piece)
        self.at(self.now + takes_s, host, piece)

    def pass_on(self, host: HostName) -> None:
        """Everything that a neighbour lacks, and the stripes in common that the trunk lacks."""
        for other in self.places[host].neighbours:
            for piece in sorted(self.have[host] - self.on_the_way[other]):
                self.send(other, piece, HOP_S)
        for other in self.places[host].trunk:
            common = self.places[host].stripes & self.places[other].stripes
            for piece in sorted(self.have[host] - self.on_the_way[other]):
                if common >> stripe_of(piece) & 1:
                    self.send(other, piece, HOP_S)
                    self.entered[self.domains[other], piece] += 1
        self.at(self.now + 0.1, host, -2)

    def missing(self) -> int:
        return sum(PIECES - len(have) for name, have in self.have.items() if name not in self.dead)


racks = st.lists(st.integers(4, 9), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(racks, st.integers(0, 1000))
def test_without_loss_each_piece_is_dealt_once_and_enters_each_group_once(
    sizes: list[int], seed: int
):
    world = Groups(sizes, seed)
    world.run(60.0)
    assert world.missing() == 0
    assert world.deals == PIECES
    assert set(world.entered.values()) == {1}


@settings(max_examples=15, deadline=None)
@given(racks, st.integers(0, 1000))
def test_lost_deals_are_dealt_again_and_no_piece_starves(sizes: list[int], seed: int):
    world = Groups(sizes, seed, loss=0.05)
    world.run(200.0)
    assert world.missing() == 0
    assert PIECES <= world.deals <= 1.3 * PIECES


@settings(max_examples=10, deadline=None)
@given(racks, st.integers(0, 1000), st.floats(0.05, 1.0))
def test_a_dealer_that_is_restarted_or_replaced_deals_little_twice(
    sizes: list[int], seed: int, at_s: float
):
    world = Groups(sizes, seed)
    world.run(at_s)
    world.dealer = Dealer([1] * PIECES, DealConfig(settle_s=1.5))
    world.run(60.0)
    assert world.missing() == 0
    assert world.deals <= 1.1 * PIECES


@pytest.mark.parametrize("seed", range(3))
def test_pieces_whose_carriers_are_all_dead_go_to_others(seed: int):
    world = Groups([5, 5], seed)
    world.dead = {name for name, place in world.places.items() if place.stripes & 1}
    world.run(40.0)
    held = set[int]().union(*(have for name, have in world.have.items() if name not in world.dead))
    assert held == set(range(PIECES))


def stripes_of(reply: DealReply) -> set[int]:
    assert isinstance(reply, Deal), reply
    return {stripe_of(dealt.piece) for dealt in reply.pieces}


def test_a_host_is_dealt_the_stripes_that_it_carries():
    dealer = Dealer([65_536] * PIECES)
    for stripe in range(STRIPES):
        reply = dealer.handle(request(f"h{stripe}", set(), stripes=1 << stripe), 0.0)
        assert stripes_of(reply) == {stripe}


def test_a_host_that_carries_nothing_waits_while_carriers_ask():
    dealer = Dealer([65_536] * PIECES)
    have: set[int] = set()
    for step in range(10):
        now = float(step)
        reply = dealer.handle(request("idle", set(), stripes=0), now)
        assert isinstance(reply, WaitDeal)
        assert not reply.exhausted  # there is something, for others
        drawn = dealer.handle(request("carrier", have, stripes=0xFF), now)
        assert isinstance(drawn, Deal)
        have |= {dealt.piece for dealt in drawn.pieces}


def test_a_stripe_that_nobody_asks_for_goes_to_whoever_asks():
    dealer = Dealer([65_536] * PIECES)
    others = 0xFF & ~(1 << 3)
    dealer.handle(request("carrier", set(), stripes=others), 0.0)
    assert isinstance(dealer.handle(request("idle", set(), stripes=0), 2.9), WaitDeal)
    dealer.handle(request("carrier", set(), stripes=others), 3.0)
    assert stripes_of(dealer.handle(request("idle", set(), stripes=0), 3.1)) == {3}


def test_a_missing_piece_that_was_never_dealt_is_left_to_its_carriers():
    dealer = Dealer([65_536] * PIECES)
    dealer.handle(request("carrier", set(), stripes=0xFF), 0.0)
    asked = request("idle", set(), stripes=0, missing=(7,))
    assert isinstance(dealer.handle(asked, 0.1), WaitDeal)
    mine = request("idle", set(), stripes=1 << 7, missing=(7,))
    assert stripes_of(dealer.handle(mine, 0.2)) == {7}
