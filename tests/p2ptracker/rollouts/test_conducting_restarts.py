"""A rollout in the middle of which the control plane stops, is restored, or cannot store."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy.exc import OperationalError

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.limits import LEASE_RENEW_S, LEASE_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort
from tests.p2ptracker.rollout_bench import EVERYBODY, World

HELLO_1 = RolloutId("hello-1")


async def test_a_restart_in_the_middle_goes_on_with_the_same_plan_and_a_higher_lease(
    world: World,
) -> None:
    await world.apply("1")
    await world.look()
    world.say(("w2",), world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    before, plan, go = await world.desk.get(HELLO_1), world.plan(), world.go()
    await world.restart()
    world.sync()
    assert await world.desk.get(HELLO_1) == before
    await world.look(LEASE_RENEW_S)
    assert world.plan() == plan
    assert world.go().lease_seq > go.lease_seq
    assert world.granted() == {("hello", "activate")}
    with pytest.raises(RefusedError):
        await world.apply("2")
    world.say(EVERYBODY, plan.plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "complete"
    await world.restart()
    assert await world.state(HELLO_1) == "complete"


async def test_a_restored_database_issues_leases_above_the_one_that_the_cell_holds(
    world: World,
) -> None:
    await world.apply("1")
    await world.look()
    data, backup = world.folder / "tracker", world.folder / "backup"
    await world.stop()
    shutil.copytree(data, backup)
    await world.start()
    world.sync()
    for _ in range(5):
        await world.look(LEASE_RENEW_S)
        world.sync()
    held = world.go().lease_seq
    await world.stop()
    shutil.rmtree(data)
    backup.rename(data)
    await world.start()
    await world.look(LEASE_RENEW_S)
    world.sync()
    assert world.go().lease_seq == held, "what the cell holds is newer than the backup"
    await world.look()
    assert world.go().lease_seq == held + 1
    assert world.go().not_after == world.now + LEASE_S


async def test_a_restart_on_the_way_back_does_not_turn_round(world: World) -> None:
    await world.apply("1")
    await world.look()
    await world.desk.steer(HELLO_1, "abort")
    await world.restart()
    world.sync()
    assert await world.state(HELLO_1) == "rolling-back"
    assert isinstance(world.order("abort/hello"), Abort)
    await world.look(LEASE_RENEW_S)
    assert ("hello", "activate") not in world.granted()


async def test_orders_that_were_stored_and_not_issued_are_issued_by_the_next_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the transaction and the first delegate that calls."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(world.plane.cells, "issue", killed)
        with pytest.raises(KeyboardInterrupt):
            await world.apply("1")
    assert world.order("plan/hello") is None
    await world.restart()
    world.sync()
    assert await world.state(HELLO_1) == "running"
    assert world.plan().rollout_id == HELLO_1
    for kind in ("rollout", "roster", "revert"):
        assert world.order(f"{kind}/hello") is not None, kind


async def test_what_could_not_be_stored_has_not_happened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, OSError("disk full"))

    with monkeypatch.context() as patched:
        patched.setattr(world.plane.database, "write", full)
        with pytest.raises(OperationalError):
            await world.apply("1")
    assert await world.desk.history(service="", limit=10, after="") == []
    await world.look()
    assert world.order("plan/hello") is None
    assert (await world.apply("1")).id == HELLO_1
