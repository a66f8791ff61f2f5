"""A control plane whose database was restored from before a revocation: its cells still know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from p2pdeploy.gossip.state import REVOCATIONS_KEY, item_of
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import Exchange, Item
from p2pdeploy.messages.sync import SyncExchange
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX, Revocations
from p2ptracker.enrolment.inventory import Inventory
from p2ptracker.enrolment.revoking import forgotten
from p2ptracker.enrolment.standing import Standing
from p2ptracker.storage.enrolment import Enrolment, Refusals, stored_refusals
from tests.p2ptracker.enrolment.joined import join_as
from tests.p2ptracker.tracker_bench import CELL

H1, H2, H3 = HostName("h01"), HostName("h02"), HostName("h03")


def held(tracker) -> tuple[Item, Revocations]:
    """What the cell's replica has."""
    cell = tracker.plane.cells.get(CELL)
    item, word = cell.state.get(REVOCATIONS_KEY), cell.order(REVOCATIONS_KEY)
    assert item is not None
    assert isinstance(word, Revocations)
    return item, word


def hear_from_cell(tracker, item: Item) -> None:
    """As the daemon of a delegate brings it."""
    exchange = Exchange(items=(item,), wants=())
    request = SyncExchange(cell=CELL, host=H3, exchange=exchange)
    tracker.plane.cells.get(CELL).sync(request, now=trio.current_time(), wall_s=0.0)


async def until(told) -> None:
    with trio.fail_after(10):
        while True:
            if told():
                return
            await trio.sleep(0.05)


@pytest.fixture
async def after_backup(fleet_dir: Path, started, config_of, token_for) -> Item:
    """The database is as before h02 was revoked and h01 joined anew; what the cell heard."""
    data, backup = fleet_dir / "tracker", fleet_dir / "backup"
    async with (
        started(fleet_dir) as tracker,
        join_as(tracker, config_of, token_for, H1),
        join_as(tracker, config_of, token_for, H2),
    ):
        pass
    shutil.copytree(data, backup)
    async with started(fleet_dir) as tracker:
        await tracker.plane.revoker.revoke_host(H2, "stolen")
        async with join_as(tracker, config_of, token_for, H1, again=True):
            await until(lambda: held(tracker)[1].floors == {H1: 3, H2: 3})
        item, word = held(tracker)
        assert set(word.refused) == {H2}
    shutil.rmtree(data)
    backup.rename(data)
    return item


async def test_a_restored_backup_brings_no_revoked_host_back(
    fleet_dir: Path, started, after_backup: Item
) -> None:
    async with started(fleet_dir) as tracker:
        standing = tracker.plane.standing
        assert standing.is_believed(H2, 2), "the database does not know"
        hear_from_cell(tracker, after_backup)
        await until(lambda: not standing.is_believed(H2, 2))
        assert not standing.is_believed(H1, 2), "nor the old disk of h01"
        assert standing.is_believed(H1, 3)
        assert standing.enrolments[H2].is_revoked
        assert held(tracker)[0] == after_backup, "the cell hears nothing that it knows already"
    async with started(fleet_dir) as tracker:
        assert not tracker.plane.standing.is_believed(H2, 2), "it was stored"
        assert tracker.plane.inventory.get(H1).enrolment == 3


async def test_what_a_restored_control_plane_says_is_newer_than_what_its_cells_hold(
    fleet_dir: Path, started, after_backup: Item, config_of, token_for
) -> None:
    """It counts changes, and its database has seen fewer of them."""
    async with started(fleet_dir) as tracker:
        hear_from_cell(tracker, after_backup)
        await until(lambda: not tracker.plane.standing.is_believed(H2, 2))
        await tracker.plane.revoker.revoke_host(H3, "lost")
        item, word = held(tracker)
        assert word.floors == {H1: 3, H2: 3, H3: 2}
        assert set(word.refused) == {H2, H3}
        assert item.version > after_backup.version
        async with join_as(tracker, config_of, token_for, H2, again=True) as host:
            assert host.identity.credential.enrolment == 3, "above what was revoked"
            await until(lambda: set(held(tracker)[1].refused) == {H3})


async def test_a_cell_that_counted_further_with_less_in_it_is_told_the_rest(
    fleet_dir: Path, started, after_backup: Item
) -> None:
    """Other cells made that database count further; what is said here must win all the same."""
    async with started(fleet_dir) as tracker:
        key = tracker.plane.trust.keys["enrol"]
        poor = Revocations(fleet="lab", cell=CELL, seq=500, floors={H1: 2}, refused={})
        hear_from_cell(tracker, item_of(poor, seal(poor, key)))
        await until(lambda: held(tracker)[1].floors == {H1: 2, H2: 2})
        assert held(tracker)[1].seq == 501


async def test_no_more_is_learnt_from_cells_than_hosts_can_be_told_of(fleet_dir, started) -> None:
    """One serial number more, and no host would take any revocation that comes after."""
    async with started(fleet_dir) as tracker:
        key = tracker.plane.trust.keys["enrol"]

        def hear(seq: int, serials: range) -> None:
            named = tuple(f"A{number:039X}" for number in serials)
            word = Revocations(
                fleet="lab", cell=CELL, seq=seq, floors={}, refused={}, serials=named
            )
            hear_from_cell(tracker, item_of(word, seal(word, key)))

        hear(5_000, range(400))
        await until(lambda: len(tracker.plane.standing.serials) == 400)
        hear(9_000, range(400, 800))
        await until(lambda: held(tracker)[1].seq > 9_000)
        item, word = held(tracker)
        assert len(word.serials) == REFUSED_SERIALS_MAX
        assert open_envelope(item.envelope, tracker.plane.verifier) == word, "hosts take it"
        stored = await tracker.plane.database.read(stored_refusals)
        assert stored.serials.keys() == tracker.plane.standing.serials == set(word.serials)


def test_nothing_that_a_cell_says_lowers_a_floor() -> None:
    standing = Standing(
        Refusals(enrolments=(Enrolment(host=H1, enrolment=5, floor=5),), serials={"AA": 0.0}),
        Inventory([]),
    )
    word = Revocations(
        fleet="lab", cell=CELL, seq=99, floors={H1: 4, H2: 7}, refused={H1: "a", H2: "b"}
    )
    known, serials = forgotten(word, standing, now=1.0)
    assert [(each.host, each.enrolment, each.floor) for each in known] == [(H2, 6, 7)]
    assert serials == []
