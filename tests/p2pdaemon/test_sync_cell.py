"""A delegate's exchange: orders come when they are issued, news goes up at once, nobody hammers."""

from __future__ import annotations

import itertools
import random
from functools import partial

import pytest
import trio

from p2pdaemon.cell_feed import make_gossip
from p2pdaemon.sync_cell import SYNC_BUSY_S, SYNC_IDLE_S, SYNC_NEXT_S, CellSync
from p2pdaemon.tries import RETRY_MAX_S, Tries
from p2pdeploy.errors import UnavailableError
from p2pdeploy.gossip.anti_entropy import EXCHANGE_BYTES_MAX, answer_exchange, answer_offer, offer
from p2pdeploy.gossip.effects import ItemMerged
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Item, Member
from p2pdeploy.messages.orders import Abort, Roster, RosterMember
from p2pdeploy.messages.sync import HELD_S_MAX, SyncDiff, SyncItems, SyncOffer
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.cell_keys import first_cell_keys
from p2pdeploy.trust.envelope import Sealed, seal

KEYS = HmacKeyring(b"fleet")


def aborted(cell: CellId, number: int) -> Abort:
    return Abort(
        cell=cell,
        service=ServiceName(f"s{number}"),
        watermark=1,
        rollout_seq=1,
        code="c",
        reason="r",
    )


class ControlPlaneStandIn:
    """One cell's replica, which holds offers as the control plane does, or as it is told to."""

    def __init__(self, cell: CellId, *, holds: bool = True, revision: int = 1) -> None:
        self.state = CellState(cell)
        self.holds, self.revision = holds, revision
        self.down = False
        self.asked: list[float] = []  # when each offer came
        self.offers: list[SyncOffer] = []
        self.held_s: list[float] = []
        self._issued = trio.Event()

    def issue(self, message: Sealed) -> None:
        self.put(item_of(message, seal(message, KEYS.named("deployer"))))

    def put(self, *items: Item) -> None:
        for item in items:
            self.state.merge(item)
        self.revision += bool(self.revision)
        self._issued.set()
        self._issued = trio.Event()

    async def sync(self, cell: CellId, request):
        await trio.lowlevel.checkpoint()
        if self.down:
            raise UnavailableError("the control plane is down")
        if not isinstance(request, SyncOffer):
            for item in request.exchange.items:
                self.state.merge(item)
            return SyncItems(cell=cell, items=answer_exchange(self.state, request.exchange))
        self.asked.append(trio.current_time())
        self.offers.append(request)
        if self.holds and request.wait_s and request.seen == self.revision:
            with trio.move_on_after(request.wait_s):
                await self._issued.wait()
            self.held_s.append(trio.current_time() - self.asked[-1])
        diff = answer_offer(self.state, request.offer)
        return SyncDiff(cell=cell, diff=diff, revision=self.revision)

    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.asked)]


class Bench:
    """One host's two tasks, its gossip never started: a replica and a member table."""

    def __init__(self, config, control: ControlPlaneStandIn | None = None, seed: int = 1) -> None:
        self.cell = config.cell
        self.gossip = make_gossip(config, first_cell_keys(config.cell, bytes(32)), KEYS)
        self.control = control or ControlPlaneStandIn(config.cell)
        self.tries = Tries(random.Random(seed), lambda: None)
        self.sync = CellSync(config, self.control, self.gossip, self.tries, random.Random(seed))
        self.gossip.subscribe(self.sync.hear)
        self.heard: dict[str, float] = {}
        self.gossip.subscribe(self._note)

    def _note(self, notice) -> None:
        if isinstance(notice, ItemMerged):
            self.heard[notice.item.key] = trio.current_time()

    def attest(self, seq: int = 1, reason: str = "") -> None:
        word = Attestation(
            cell=self.cell,
            host=HostName("h01"),
            service=ServiceName("web"),
            fault_domain=FaultDomain("fd0"),
            epoch=1,
            seq=seq,
            state="healthy",
            reason=reason,
        )
        self.gossip.publish(seal(word, KEYS.named("host/h01")))


@pytest.fixture
def bench(config) -> Bench:
    return Bench(config)


async def run_for(seconds: float, *tasks) -> None:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)


async def at(seconds: float, act) -> None:
    await trio.sleep(seconds)
    act()


async def test_an_order_is_in_the_cell_when_it_is_issued_and_so_is_the_next(bench, autojump_clock):
    start, moments = trio.current_time(), (20.0, 20.5, 41.0, 43.3)
    acts = [
        partial(at, moment, partial(bench.control.issue, aborted(bench.cell, number)))
        for number, moment in enumerate(moments)
    ]
    await run_for(60, bench.sync.hear_orders, *acts)
    late_s = [bench.heard[f"abort/s{n}"] - start - moment for n, moment in enumerate(moments)]
    assert max(late_s) <= SYNC_NEXT_S


async def test_orders_one_after_the_other_are_not_asked_for_in_a_busy_loop(bench, autojump_clock):
    acts = [
        partial(at, 5 + n / 1000, partial(bench.control.issue, aborted(bench.cell, n % 60)))
        for n in range(1000)
    ]
    await run_for(10, bench.sync.hear_orders, *acts)
    assert len(bench.control.asked) <= 4 + 1 / SYNC_NEXT_S
    assert min(bench.control.gaps()) >= SYNC_NEXT_S - 0.001


async def test_a_quiet_cell_asks_once_for_as_long_as_it_is_held(bench, autojump_clock):
    await run_for(600, bench.sync.hear_orders, bench.sync.tell_news)
    assert len(bench.control.asked) <= 2 + 600 / (HELD_S_MAX * 0.75)
    assert all(HELD_S_MAX * 0.7 <= held_s <= HELD_S_MAX for held_s in bench.control.held_s)
    assert max(bench.control.held_s) - min(bench.control.held_s) > 0.5, "not in a fixed beat"


async def test_what_a_host_says_goes_up_at_once_though_an_offer_is_held(bench, autojump_clock):
    key = "att/web/h01"
    told: list[bool] = []
    await run_for(
        20,
        bench.sync.hear_orders,
        bench.sync.tell_news,
        partial(at, 10.0, bench.attest),
        partial(at, 10.01, lambda: told.append(bench.control.state.get(key) is not None)),
    )
    assert told == [True]


async def test_news_upon_news_goes_up_a_few_times_a_second(bench, autojump_clock):
    said = [partial(at, 5 + n / 100, partial(bench.attest, n + 1)) for n in range(500)]
    await run_for(11, bench.sync.tell_news, *said)
    assert len(bench.control.asked) <= 1 + 6 / (SYNC_BUSY_S * 0.75)
    held = bench.control.state.get("att/web/h01")
    assert held is not None
    assert held.version == (1, 500)


async def test_news_that_could_not_be_told_is_told_when_the_control_plane_is_back(
    bench, autojump_clock
):
    bench.control.down = True
    bench.attest()
    back = partial(at, 60, partial(setattr, bench.control, "down", False))
    await run_for(60 + RETRY_MAX_S + 1, bench.sync.tell_news, back)
    assert bench.control.state.get("att/web/h01") is not None


async def test_an_order_is_no_news_for_the_control_plane_that_issued_it(bench, autojump_clock):
    issue = partial(bench.control.issue, aborted(bench.cell, 1))
    await run_for(5, bench.sync.hear_orders, bench.sync.tell_news, partial(at, 2.0, issue))
    assert bench.heard
    assert all(offered.wait_s for offered in bench.control.offers)


async def test_who_cannot_hold_offers_is_asked_calmly_and_never_in_a_fixed_beat(
    config, autojump_clock
):
    for control in (
        ControlPlaneStandIn(config.cell, holds=False),
        ControlPlaneStandIn(config.cell, holds=False, revision=0),  # as before there were revisions
    ):
        bench = Bench(config, control)
        await run_for(600, bench.sync.hear_orders)
        gaps = bench.control.gaps()[1:]  # the first question learns the revision
        assert all(SYNC_IDLE_S / 2 <= gap <= SYNC_IDLE_S + 0.001 for gap in gaps)
        assert max(gaps) - min(gaps) > SYNC_IDLE_S / 4


async def test_a_control_plane_that_restarted_is_not_told_of_a_revision_that_it_never_had(
    bench, autojump_clock
):
    def fail() -> None:
        bench.control.down = True

    def come_back() -> None:
        bench.control.down = False
        bench.control.issue(aborted(bench.cell, 1))
        bench.control.revision = 1  # the very number that this host saw

    restart = [partial(at, 9.9, fail), partial(at, 20.0, come_back)]
    await run_for(20 + 2 * RETRY_MAX_S, bench.sync.hear_orders, *restart)
    assert 0 in [offered.seen for offered in bench.control.offers[2:]]
    assert "abort/s1" in bench.heard


async def test_what_one_answer_cannot_hold_follows_without_another_order(bench, autojump_clock):
    members = tuple(
        RosterMember(HostName(f"host-of-a-long-name-{n:04}"), n % 3, 0) for n in range(1_000)
    )
    rosters = [
        Roster(cell=bench.cell, service=ServiceName(f"s{n}"), plan_seq=3, members=members)
        for n in range(60)
    ]
    items = [item_of(each, seal(each, KEYS.named("deployer"))) for each in rosters]
    assert sum(len(item.envelope) for item in items) > EXCHANGE_BYTES_MAX
    bench.control.put(*items)
    await run_for(3, bench.sync.hear_orders)
    assert len(bench.heard) == 60


async def test_a_delegate_does_not_report_hosts_that_it_never_heard(bench, autojump_clock):
    strange = Member(
        name=HostName("h02"),
        address="127.9.9.2",
        gossip_port=7946,
        swarm_port=6881,
        fault_domain=FaultDomain("fd0"),
    )
    bench.gossip.learn_seeds((strange,))
    await run_for(5, bench.sync.hear_orders)
    assert [m.name for m in bench.gossip.members()] == ["h01", "h02"]
    assert {view.name for each in bench.control.offers for view in each.members} == {"h01"}


async def test_an_order_that_does_not_verify_is_counted_and_the_delegate_goes_on(
    bench, autojump_clock
):
    bench.control.put(*(Item(f"go/{n}", (1, 1), b"forged") for n in range(3)))
    before = offer(bench.gossip.state)
    await run_for(60, bench.sync.hear_orders)
    assert bench.sync.refusals >= 3
    assert bench.sync.failures == 0
    assert offer(bench.gossip.state) == before, "nothing of it is in the cell's state"
    assert 5 < len(bench.control.asked) < 20


@pytest.mark.parametrize("task", ["hear_orders", "tell_news"])
async def test_a_host_that_is_no_delegate_does_not_ask(bench, monkeypatch, autojump_clock, task):
    monkeypatch.setattr(bench.sync, "is_delegate", partial(bool, 0))
    bench.attest()
    await run_for(600, getattr(bench.sync, task))
    assert bench.control.asked == []
