"""From gossip to the core: nothing waits, nothing piles up, the urgent first."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2pdaemon.cell_feed import CellFeed
from p2pdeploy.activation.events import MembersChanged, MessageMerged, OrdersRefused
from p2pdeploy.gossip.effects import ItemMerged, ItemsDropped, MemberChanged
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName
from p2pdeploy.messages.gossip import Item, Member
from p2pdeploy.messages.orders import Abort, Go

CELL = CellId("lab.web.c0")
GO_KEY = f"go/{CELL}"
ME = Member(
    name=HostName("h01"),
    address="127.9.9.1",
    gossip_port=7946,
    swarm_port=6881,
    fault_domain=FaultDomain("fd0"),
)


class SlowCore:
    """Takes one event whenever it is told to."""

    def __init__(self) -> None:
        self.events = []
        self._send, self._receive = trio.open_memory_channel(0)

    async def send(self, event) -> None:
        await self._send.send(event)

    async def take_all(self):
        await wait_all_tasks_blocked()
        while True:
            try:
                self.events.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                return self.events
            await wait_all_tasks_blocked()


class Bench:
    def __init__(self) -> None:
        self.core = SlowCore()
        self.alive = frozenset({HostName("h01")})
        self.feed = CellFeed(lambda: self.alive, self.core.send)

    def hear_go(self, lease_seq: int) -> None:
        go = Go(cell=CELL, lease_seq=lease_seq, issued_at=0.0, not_after=1.0, grants=())
        self.feed.hear(ItemMerged(go, Item(GO_KEY, (1, lease_seq), b"")))

    def hear_abort(self) -> None:
        abort = Abort(
            cell=CELL,
            service=ServiceName("hello"),
            watermark=1,
            rollout_seq=1,
            code="stop",
            reason="told so",
        )
        self.feed.hear(ItemMerged(abort, Item(f"abort/{CELL}/hello", (1, 1), b"")))


@pytest.fixture
async def bench(nursery) -> Bench:
    made = Bench()
    nursery.start_soon(made.feed.feed_core)
    await made.core.take_all()
    made.core.events.clear()
    return made


async def test_the_first_thing_told_is_who_is_alive(nursery):
    bench = Bench()
    nursery.start_soon(bench.feed.feed_core)
    assert await bench.core.take_all() == [MembersChanged(frozenset({HostName("h01")}))]


async def test_only_the_newest_word_of_a_writer_reaches_a_core_that_is_behind(bench):
    for lease_seq in range(1, 10_001):
        bench.hear_go(lease_seq)
    events = await bench.core.take_all()
    assert [event.message.lease_seq for event in events] == [10_000]


async def test_an_abort_overtakes_what_was_heard_before_it(bench):
    bench.hear_go(1)
    bench.hear_abort()
    events = await bench.core.take_all()
    assert [type(event.message) for event in events] == [Abort, Go]


async def test_what_is_heard_while_the_core_takes_its_time_is_not_lost(bench):
    bench.hear_go(1)
    await wait_all_tasks_blocked()  # handed over, not yet taken
    bench.hear_go(2)
    bench.hear_abort()
    events = await bench.core.take_all()
    assert all(isinstance(event, MessageMerged) for event in events)
    assert [getattr(event.message, "lease_seq", "abort") for event in events] == [1, "abort", 2]


async def test_what_was_refused_meanwhile_does_not_reach_the_core(bench):
    bench.hear_abort()
    await wait_all_tasks_blocked()  # handed over, not yet taken
    bench.hear_go(1 << 40)
    bench.feed.hear(ItemsDropped((GO_KEY,)))
    abort, refused = await bench.core.take_all()
    assert isinstance(abort.message, Abort)
    assert refused == OrdersRefused((GO_KEY,))


async def test_a_refusal_comes_before_what_was_sealed_anew(bench):
    bench.hear_go(1)
    await wait_all_tasks_blocked()
    bench.feed.hear(ItemsDropped((GO_KEY,)))
    bench.hear_go(2)
    bench.feed.hear(ItemsDropped(("plan/hello",)))
    first, refused, honest = await bench.core.take_all()
    assert refused == OrdersRefused((GO_KEY, "plan/hello"))
    assert (first.message.lease_seq, honest.message.lease_seq) == (1, 2)


async def test_a_change_of_membership_that_changes_nobody_alive_is_not_told(bench):
    bench.feed.hear(MemberChanged(ME))
    assert await bench.core.take_all() == []
    bench.alive = frozenset({HostName("h01"), HostName("h02")})
    for _ in range(100):
        bench.feed.hear(MemberChanged(ME))
    assert await bench.core.take_all() == [MembersChanged(bench.alive)]
