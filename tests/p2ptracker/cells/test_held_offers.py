"""Offers are held until their cell has news: how long, for whom, and how many."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, Gauge

from p2pdeploy.gossip.anti_entropy import offer
from p2pdeploy.gossip.state import CellState
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.sync import HELD_S_MAX, SyncOffer
from p2ptracker.cells import held_offers
from p2ptracker.cells.held_offers import OF_CELL_MAX, WORDS_AFTER_S, HeldOffers
from p2ptracker.cells.news import News

CELL = CellId("lab.web.c0")


class Bench:
    def __init__(self) -> None:
        self.gauge = Gauge("held", "Held", registry=CollectorRegistry())
        self.held = HeldOffers(self.gauge)
        self.news = News()
        self.took_s: dict[str, float] = {}
        self.was_held: dict[str, bool] = {}

    async def ask(
        self, host: str = "h01", *, cell: CellId = CELL, seen: int = 1, wait_s: float = HELD_S_MAX
    ) -> None:
        asked_s = trio.current_time()
        offered = SyncOffer(
            cell=cell,
            host=HostName(host),
            members=(),
            offer=offer(CellState(cell)),
            seen=seen,
            wait_s=wait_s,
        )
        self.was_held[host] = await self.held.hold(self.news, offered)
        self.took_s[host] = trio.current_time() - asked_s

    @property
    def count(self) -> int:
        return int(self.gauge._value.get())


@pytest.fixture
def bench() -> Bench:
    return Bench()


@asynccontextmanager
async def asking(*calls, after_s: float = 0.0):
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(after_s)
        yield


async def test_an_order_ends_the_waiting_of_its_cell_at_once(bench, autojump_clock) -> None:
    async with asking(bench.ask, after_s=5.0):
        bench.news.tell_order()
    assert bench.took_s["h01"] == pytest.approx(5.0)
    await bench.ask()  # which has seen an older revision now
    assert bench.took_s["h01"] == 0.0
    assert not bench.was_held["h01"]


async def test_words_of_hosts_end_it_after_a_while_only(bench, autojump_clock) -> None:
    async with asking(bench.ask, after_s=0.5):
        for _ in range(20):
            bench.news.tell_word()
    assert bench.took_s["h01"] == pytest.approx(WORDS_AFTER_S)
    async with asking(bench.ask, after_s=5.0):
        bench.news.tell_word()
    assert bench.took_s["h01"] == pytest.approx(5.0)


async def test_without_news_it_ends_when_the_offer_says(bench, autojump_clock) -> None:
    async with asking(lambda: bench.ask(wait_s=3.0)):
        assert bench.count == 1
    assert bench.took_s["h01"] == pytest.approx(3.0)
    assert bench.was_held["h01"]
    assert bench.count == 0


async def test_a_host_holds_one_place_and_gives_it_back_when_its_call_is_cut(
    bench, autojump_clock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask)
        await trio.testing.wait_all_tasks_blocked()
        await bench.ask()
        assert not bench.was_held["h01"], "it is answered at once, and asks at its own pace"
        nursery.cancel_scope.cancel()
    assert bench.count == 0
    async with asking(bench.ask):
        assert bench.count == 1


async def test_a_cell_has_a_bounded_share_of_the_places(bench, autojump_clock) -> None:
    calls = [lambda n=n: bench.ask(f"h{n}") for n in range(50)]
    async with asking(*calls):
        assert bench.count == OF_CELL_MAX
        async with asking(lambda: bench.ask("h99", cell=CellId("lab.db.c0"))):
            assert bench.count == OF_CELL_MAX + 1
    assert sum(bench.was_held.values()) == OF_CELL_MAX + 1


async def test_all_cells_together_are_bounded(bench, autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(held_offers, "HELD_MAX", 20)
    calls = [
        lambda n=n, c=c: bench.ask(f"c{c}h{n}", cell=CellId(f"lab.web.c{c}"))
        for n in range(4)
        for c in range(10)
    ]
    async with asking(*calls):
        assert bench.count == 20
    assert sum(bench.was_held.values()) == 20
