"""A delegate's sync over HTTP: what hosts say is believed, kept and shown; forgeries are not."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.gossip.anti_entropy import admit, answer_diff, offer
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import CellId, FaultDomain, HostName, ServiceName, Version
from p2pdeploy.limits import ENROLMENT_MAX, NUMBER_MAX
from p2pdeploy.messages.api import HostView, VersionsView, WhereRow
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Status
from p2pdeploy.messages.orders import Abort, Go
from p2pdeploy.messages.sync import (
    HELD_S_MAX,
    MemberView,
    SyncAnswer,
    SyncDiff,
    SyncExchange,
    SyncItems,
    SyncOffer,
)
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.trust.envelope import Sealed
from p2pdeploy.trust.revocations import Revocations
from p2ptracker.storage.rollouts import save_orders

CELL = CellId("lab.web.c0")
HELLO = ServiceName("hello")


class Delegate:
    """One host's replica, talking to the control plane as a daemon does."""

    def __init__(self, tracker, name: str = "h01", *, keys: FleetKeys | None = None) -> None:
        self.tracker = tracker
        self.name = HostName(name)
        self.speaks_as = name
        self.state = CellState(CELL)
        trust = tracker.plane.trust
        self.keys = keys or FleetKeys(trust.fleet, trust.keys)
        self.members = tuple(MemberView(HostName(f"h0{n}"), Status.ALIVE, 0) for n in (1, 2))

    def attest(self, host: str = "h01", **changes: Any) -> None:
        fields: dict[str, Any] = {
            "cell": CELL,
            "host": HostName(host),
            "service": HELLO,
            "fault_domain": FaultDomain("fd1"),
            "epoch": 1,
            "seq": 1,
            "state": "healthy",
            "version": Version("1.0.0"),
            "port": 8080,
            "since": 1_700_000_000.5,
        }
        word = Attestation(**{**fields, **changes})
        envelope = self.keys.seal(word)
        self.state.merge(item_of(word, envelope))

    async def post(self, message: SyncOffer | SyncExchange, cell: str = CELL):
        http = self.tracker.as_host(self.speaks_as)
        return await http.post(f"/v1/cells/{cell}/sync", content=encode(message))

    async def offer(self, **changes: Any):
        fields: dict[str, Any] = {
            "cell": CELL,
            "host": self.name,
            "members": self.members,
            "offer": offer(self.state),
        }
        return await self.post(SyncOffer(**{**fields, **changes}))

    async def sync(self) -> None:
        answer = await self.offer()
        assert answer.status_code == 200, answer.text
        diff = decode(answer.content, SyncAnswer, bytes_max=10**6)
        assert isinstance(diff, SyncDiff)
        if not diff.diff.buckets:
            return
        exchange = answer_diff(self.state, diff.diff)
        answer = await self.post(SyncExchange(cell=CELL, host=self.name, exchange=exchange))
        items = decode(answer.content, SyncAnswer, bytes_max=10**6)
        assert isinstance(items, SyncItems)
        admit(self.state, items.items.items, self.keys.open)


async def hosts(tracker) -> dict[str, HostView]:
    answer = await tracker.http.get("/v1/hosts")
    return {h.name: h for h in msgspec.json.decode(answer.content, type=list[HostView])}


async def test_what_a_host_attests_is_shown_with_its_age(tracker) -> None:
    delegate = Delegate(tracker)
    delegate.attest()
    await delegate.sync()
    shown = await hosts(tracker)
    assert {name: host.alive for name, host in shown.items()} == {
        "h01": True,
        "h02": True,
        "h03": False,
        "h04": False,
    }
    service = shown["h01"].services[0]
    assert (service.service, service.version, service.state) == ("hello", "1.0.0", "healthy")
    assert service.address == f"{shown['h01'].address}:8080"
    assert service.age_s is not None
    assert 0 <= service.age_s < 5
    versions = await tracker.http.get("/v1/fleet/hello/versions")
    assert msgspec.json.decode(versions.content, type=VersionsView) == VersionsView(
        service=HELLO, versions={"1.0.0": 1}, unknown=3
    )
    where = await tracker.http.get("/v1/fleet/hello/where/1.0.0")
    rows = msgspec.json.decode(where.content, type=list[WhereRow])
    assert [(row.host, row.state) for row in rows] == [("h01", "healthy")]


async def test_an_older_word_never_replaces_a_newer_one(tracker) -> None:
    delegate, late = Delegate(tracker), Delegate(tracker, "h02")
    delegate.attest(seq=5, version=Version("2.0.0"))
    late.attest(seq=4, version=Version("1.0.0"))
    await delegate.sync()
    await late.sync()
    assert (await hosts(tracker))["h01"].services[0].version == "2.0.0"
    item = late.state.get("att/hello/h01")
    assert item is not None
    assert item.version == (1, 5), "the delegate learnt it too"


async def test_nobody_is_alive_when_no_delegate_calls(tracker) -> None:
    cell = tracker.plane.cells.get(CELL)
    await Delegate(tracker).offer()
    now = trio.current_time()
    assert cell.alive(now) == {"h01", "h02"}
    assert cell.alive(now + 60) == frozenset()


async def test_forged_items_are_counted_and_not_believed(tracker) -> None:
    stranger = Delegate(tracker, keys=FleetKeys("another"))
    stranger.attest()
    await stranger.sync()
    assert (await hosts(tracker))["h01"].services == []
    assert tracker.plane.cells.get(CELL).refused_items == 1


async def test_a_host_cannot_speak_for_another_cell_or_from_outside(tracker) -> None:
    delegate = Delegate(tracker)
    assert (await delegate.offer(cell=CellId("lab.db.c0"))).status_code == 400
    for other in ("h02", "stranger"):
        assert (await delegate.offer(host=HostName(other))).status_code == 403
    assert tracker.plane.cells.get(CELL).alive(trio.current_time()) == frozenset()
    answer = await delegate.post(
        SyncOffer(cell=CELL, host=delegate.name, members=(), offer=offer(delegate.state)), "none"
    )
    assert answer.status_code == 404


async def test_an_order_reaches_the_cell_and_survives_a_restart(fleet_dir, started) -> None:
    go = Go(cell=CELL, lease_seq=7, issued_at=1.0, not_after=31.0, grants=())
    abort = Abort(cell=CELL, service=HELLO, watermark=4, rollout_seq=1, code="bad", reason="")
    async with started(fleet_dir) as tracker:
        sealed = tracker.plane.cells.seal(CELL, [go, abort])
        await tracker.plane.database.write(lambda c: save_orders(c, sealed.rows))
        tracker.plane.cells.issue(sealed)
    async with started(fleet_dir) as tracker:
        cell = tracker.plane.cells.get(CELL)
        assert cell.order("go") == go
        assert cell.plan_seq_max(HELLO) == 4
        delegate = Delegate(tracker)
        await delegate.sync()
        assert {item.key for item in delegate.state.items()} == {"go", "abort/hello", "revocations"}


async def test_an_offer_is_held_until_an_order_is_issued(tracker) -> None:
    cells, delegate = tracker.plane.cells, Delegate(tracker)
    news = cells.get(CELL).news
    go = Go(cell=CELL, lease_seq=7, issued_at=1.0, not_after=31.0, grants=())
    answers: list[SyncDiff] = []

    async def ask(seen: int) -> None:
        answer = await delegate.offer(seen=seen, wait_s=HELD_S_MAX)
        answers.append(decode(answer.content, SyncDiff, bytes_max=10**6))

    with trio.fail_after(HELD_S_MAX / 2):
        await ask(seen=0)
        assert answers[0].revision == news.revision, "who has seen nothing is answered at once"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, news.revision)
            while not len(tracker.plane.held_offers):  # noqa: ASYNC110 the request's task tells nobody
                await trio.sleep(0.01)
            cells.issue(cells.seal(CELL, [go]))
    assert len(tracker.plane.held_offers) == 0
    assert answers[1].revision == answers[0].revision + 1
    assert "go" in [key for key, _ in answers[1].diff.versions]


async def test_a_delegate_whose_offer_is_held_is_heard_from_the_start(tracker) -> None:
    delegate, cell = Delegate(tracker), tracker.plane.cells.get(CELL)
    with trio.fail_after(HELD_S_MAX / 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(delegate.offer, seen=cell.news.revision, wait_s=HELD_S_MAX))
            while not len(tracker.plane.held_offers):  # noqa: ASYNC110 the request's task tells nobody
                await trio.sleep(0.01)
            assert cell.alive(trio.current_time()) == {"h01", "h02"}
            cell.news.tell_order()


@pytest.mark.parametrize("wait_s", [-1.0, HELD_S_MAX + 1, float("nan"), float("inf")])
async def test_nobody_makes_an_offer_wait_for_longer_than_is_said(tracker, wait_s) -> None:
    delegate, cell = Delegate(tracker), tracker.plane.cells.get(CELL)
    answer = await delegate.offer(seen=cell.news.revision, wait_s=wait_s)
    assert answer.status_code == 400, answer.text


async def test_an_order_that_is_not_newer_than_what_the_cell_holds_is_logged(tracker) -> None:
    cells = tracker.plane.cells
    newer = Go(cell=CELL, lease_seq=7, issued_at=1.0, not_after=31.0, grants=())
    issued = cells.seal(CELL, [newer])
    older = cells.seal(CELL, [msgspec.structs.replace(newer, lease_seq=6)])
    with capture_logs() as logs:
        cells.issue(issued)
        cells.issue(issued)
        assert logs == [], "the same order once more is no news"
        cells.issue(older)
    told = [(line["event"], line["log_level"], line["version"], line["held"]) for line in logs]
    assert told == [("order-not-taken", "error", (6, 0), (7, 0))]
    assert cells.get(CELL).order("go") == newer


async def test_observations_survive_a_restart(fleet_dir, started) -> None:
    async with started(fleet_dir) as tracker:
        delegate = Delegate(tracker)
        delegate.attest()
        delegate.attest("h02", seq=2**64 - 1)  # no database column holds it; nothing may break
        await delegate.sync()
    async with started(fleet_dir) as tracker:
        shown = await hosts(tracker)
        assert shown["h01"].services[0].version == "1.0.0"
        assert not shown["h01"].alive


async def test_a_host_that_claims_the_last_plan_number_leaves_room_for_the_next(tracker) -> None:
    delegate, cell = Delegate(tracker), tracker.plane.cells.get(CELL)
    delegate.attest(plan_seq=2**63 - 1)
    delegate.attest("h02", plan_seq=7)
    await delegate.sync()
    assert cell.evidence[HELLO]["h01"].plan_seq == 2**63 - 1, "it is heard"
    assert cell.plan_seq_max(HELLO) == 7


def last_words(fleet: str, number: int, *, enrolment: int) -> list[Sealed]:
    """What a thief of each key would say to leave nobody a number; the last one wins."""
    stop: dict[str, Any] = {"cell": CELL, "service": HELLO, "code": "x", "reason": ""}
    revoked: dict[str, Any] = {"fleet": fleet, "cell": CELL, "refused": {}}
    return [
        Go(cell=CELL, lease_seq=number, issued_at=1.0, not_after=31.0, grants=()),
        Abort(watermark=number, rollout_seq=1, **stop),
        Abort(watermark=1, rollout_seq=number, **stop),
        Revocations(seq=10**6, floors={HostName("h01"): enrolment}, **revoked),
        Revocations(seq=number, floors={HostName("h01"): 3}, **revoked),
    ]


async def test_numbers_that_nothing_could_follow_are_refused(tracker) -> None:
    delegate, cell = Delegate(tracker), tracker.plane.cells.get(CELL)
    for word in last_words(tracker.plane.trust.fleet, 2**64 - 1, enrolment=2**64 - 1):
        envelope = delegate.keys.seal(word)
        with pytest.raises(ProtocolError):
            delegate.keys.open(envelope)
        delegate.state = CellState(CELL)
        delegate.state.merge(item_of(word, envelope))
        before = cell.refused_items
        await delegate.sync()
        assert cell.refused_items == before + 1


async def test_the_control_plane_survives_the_highest_numbers_there_are(fleet_dir, started) -> None:
    for _ in range(2):  # what is stored is met again at the next start
        async with started(fleet_dir) as tracker:
            delegate, plane = Delegate(tracker), tracker.plane
            delegate.attest(plan_seq=2**62)
            fleet = plane.trust.fleet
            for word in last_words(fleet, NUMBER_MAX, enrolment=ENROLMENT_MAX):
                delegate.state.merge(item_of(word, delegate.keys.seal(word)))
                await delegate.sync()
                await plane.cells.store_unsaved()
                await plane.orchestrator.look()
                with trio.move_on_after(0.5):  # it tells at once, and again in two seconds
                    await plane.revoker.tell_cells()
            assert "h01" in await hosts(tracker)
            assert plane.cells.get(CELL).lease_seq_max() < NUMBER_MAX
