"""A whole cell in memory: twelve hosts, one dealer, a mesh that spreads pieces at random."""

from __future__ import annotations

import heapq
import random

import pytest

from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.messages.deal import AllDealt, Deal, DealRequest, WaitDeal, bitmap_of
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import DealConfig

HOSTS, PIECES, DEAL_S = 12, 200, 0.05
PIECE_BYTES = 1024 * 1024  # so large that a deal has one


class Cell:
    """Events in time order: a host asks, a deal arrives, a neighbour passes a piece on."""

    def __init__(self, seed: int, loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.dealer = Dealer([PIECE_BYTES] * PIECES)
        self.have: dict[str, set[int]] = {f"h{index:02}": set() for index in range(HOSTS)}
        self.dead: set[str] = set()
        self.queue: list[tuple[float, int, str, int]] = []  # piece -1: ask, -2: gossip
        self.serial = 0
        self.now = 0.0
        for host in self.have:
            for _ in range(2):
                self.at(self.random.random() / 10, host, -1)
            self.at(self.random.random() / 10, host, -2)

    def at(self, when: float, host: str, piece: int) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (when, self.serial, host, piece))

    def run(self, until: float) -> None:
        while self.queue and self.queue[0][0] <= until:
            self.now, _, host, piece = heapq.heappop(self.queue)
            if host in self.dead:
                continue
            if piece == -1:
                self.ask(host)
            elif piece == -2:
                self.pass_on(host)
            else:
                self.have[host].add(piece)

    def ask(self, host: str) -> None:
        mine = self.have[host]
        reply = self.dealer.handle(
            DealRequest(
                cell=CellId("lab.web.c0"),
                manifest_digest=Digest("00" * 32),
                host=HostName(host),
                have=bitmap_of([piece in mine for piece in range(PIECES)]),
                completed=len(mine) == PIECES,
            ),
            self.now,
        )
        match reply:
            case Deal():
                for dealt in reply.pieces:
                    if self.random.random() >= self.loss:
                        self.at(self.now + DEAL_S, host, dealt.piece)
                self.at(self.now + DEAL_S, host, -1)
            case WaitDeal():
                self.at(self.now + reply.retry_after_s, host, -1)
            case AllDealt():
                if len(mine) < PIECES:
                    self.at(self.now + 1.0, host, -1)
            case _:
                raise AssertionError(reply)

    def pass_on(self, host: str) -> None:
        """Give a random neighbour one piece it lacks, every 10 ms."""
        others = sorted(set(self.have) - self.dead - {host})
        other = self.random.choice(others)
        lacking = sorted(self.have[host] - self.have[other])
        if lacking:
            self.at(self.now + 0.02, other, self.random.choice(lacking))
        self.at(self.now + 0.01, host, -2)

    def missing(self) -> int:
        return sum(PIECES - len(self.have[host]) for host in self.have if host not in self.dead)


@pytest.mark.parametrize("seed", range(2))
def test_without_faults_each_piece_leaves_the_origin_exactly_once(seed: int):
    cell = Cell(seed)
    cell.run(60.0)
    assert cell.missing() == 0
    assert cell.dealer.statistics().deals == PIECES
    assert cell.dealer.statistics().planted == PIECES


@pytest.mark.parametrize("seed", range(2))
def test_lost_deals_cost_at_most_a_tenth_and_everything_is_planted(seed: int):
    cell = Cell(seed, loss=0.04)
    cell.run(120.0)
    assert cell.missing() == 0
    assert cell.dealer.statistics().planted == PIECES
    assert PIECES < cell.dealer.statistics().deals <= 1.1 * PIECES


@pytest.mark.parametrize("seed", range(2))
def test_dying_hosts_take_no_piece_with_them(seed: int):
    cell = Cell(seed)
    for step, host in enumerate(("h00", "h05", "h11")):
        cell.run(0.1 * (step + 1))
        cell.dead.add(host)
    cell.run(180.0)
    assert cell.missing() == 0
    assert cell.dealer.statistics().deals <= 1.1 * PIECES


def test_the_same_seed_gives_the_same_deals():
    first, second = Cell(7, loss=0.05), Cell(7, loss=0.05)
    first.run(60.0)
    second.run(60.0)
    assert first.dealer.statistics() == second.dealer.statistics()


def test_a_dealer_that_restarts_half_way_deals_little_twice():
    cell = Cell(3)
    cell.run(0.3)
    before = cell.dealer.statistics().deals
    assert 0 < before < PIECES
    cell.dealer = Dealer([PIECE_BYTES] * PIECES, DealConfig(settle_s=2.0))
    cell.run(60.0)
    assert cell.missing() == 0
    assert before + cell.dealer.statistics().deals <= 1.05 * PIECES
