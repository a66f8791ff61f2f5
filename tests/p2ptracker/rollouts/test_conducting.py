"""Rollouts as they go on: what hosts say leads to orders, and a restart goes on from there."""

from __future__ import annotations

import shutil

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.limits import LEASE_RENEW_S, LEASE_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Retry, Roster, Settled
from tests.p2ptracker.rollout_bench import API, DB_CELL, HELLO, World, inventory

HELLO_1, HELLO_2, API_1 = RolloutId("hello-1"), RolloutId("hello-2"), RolloutId("api-1")
EVERYBODY = ("w1", "w2", "w3", "w4")


def settled_in(world: World, service: str = "hello") -> Settled:
    order = world.order(f"settled/{service}")
    assert isinstance(order, Settled)
    return order


async def finished(world: World, rollout: RolloutId) -> dict[str, float | None]:
    """When each fault domain was finished, in seconds since the epoch."""
    domains = (await world.desk.get(rollout)).fault_domains
    return {d.name: d.finished_at.timestamp() if d.finished_at else None for d in domains}


async def test_a_rollout_whose_hosts_are_healthy_is_complete_and_settles(world: World) -> None:
    await world.apply("1")
    await world.look()
    plan = world.plan()
    world.say(EVERYBODY[:3], plan.plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "running"
    assert world.order("settled/hello") is None
    world.say(EVERYBODY, plan.plan_seq, Rank.HEALTHY, runs="1")
    await world.look(3)
    view = await world.desk.get(HELLO_1)
    assert view.state == "complete"
    assert view.finished_at is not None
    assert view.finished_at.timestamp() == world.now
    settled = settled_in(world)
    assert (settled.build, settled.plan_seq, settled.hosts) == (plan.build, plan.plan_seq, ())
    await world.look(1)
    assert world.go().grants == ()


async def test_a_host_that_fails_aborts_the_plan_and_everybody_goes_back(world: World) -> None:
    await world.complete("1")
    await world.apply("2")
    await world.look()
    plan = world.plan()
    assert plan.baseline is not None
    assert plan.baseline.version == "1"
    world.say(EVERYBODY, plan.plan_seq, Rank.ACCEPTED, runs="1")
    world.say(("w2",), plan.plan_seq, Rank.FAILED, runs="1")
    await world.look()
    view = await world.desk.get(HELLO_2)
    assert view.state == "rolling-back"
    assert [(reason.code, reason.host) for reason in view.reasons] == [("exited", "w2")]
    abort = world.order("abort/hello")
    assert isinstance(abort, Abort)
    assert (abort.watermark, abort.code) == (plan.plan_seq, "exited")
    back = plan.plan_seq + 1
    world.say(EVERYBODY, back, Rank.ACCEPTED, runs="1")
    await world.look()
    assert world.granted() == {("hello", "revert")}
    assert len(world.go().grants[0].hosts) <= plan.max_unavailable
    world.say(("w1", "w3"), back, Rank.HEALTHY, runs="1")
    await world.look(5)
    assert await finished(world, HELLO_2) == {"fd0": None, "fd1": world.now}
    first_at = world.now
    world.say(EVERYBODY, back, Rank.HEALTHY, runs="1")
    await world.look(7)
    assert await world.state(HELLO_2) == "rolled-back"
    assert await finished(world, HELLO_2) == {"fd0": first_at + 7, "fd1": first_at}
    assert settled_in(world).build == plan.baseline
    assert settled_in(world).plan_seq == back


async def test_hosts_that_failed_try_again_when_an_operator_says_so(world: World) -> None:
    await world.apply("1", failure_fraction_max=0.5)
    await world.look()
    plan = world.plan()
    tolerant = next(k for k, d in enumerate(plan.fault_domains) if max(d.batches) > 1)
    roster = world.order("roster/hello")
    assert isinstance(roster, Roster)
    failing = next(m.host for m in roster.members if m.fault_domain == tolerant)
    world.say(EVERYBODY, plan.plan_seq, Rank.ACCEPTED)
    world.say((failing,), plan.plan_seq, Rank.FAILED)
    await world.look()
    assert (await world.desk.steer(HELLO_1, "retry")).state == "running"
    retry = world.order("retry/hello")
    assert isinstance(retry, Retry)
    assert (retry.plan_seq, retry.attempt) == (plan.plan_seq, 1)
    world.say(EVERYBODY, plan.plan_seq, Rank.HEALTHY, runs="1", attempt=1)
    await world.look()
    assert await world.state(HELLO_1) == "complete"


async def test_an_operators_abort_reaches_the_hosts_at_once(world: World) -> None:
    await world.apply("1")
    await world.look()
    assert (await world.desk.steer(HELLO_1, "abort")).state == "rolling-back"
    abort = world.order("abort/hello")
    assert isinstance(abort, Abort)
    assert abort.watermark == world.plan().plan_seq
    world.say(EVERYBODY, abort.watermark + 1, Rank.HEALTHY)
    await world.look()
    assert await world.state(HELLO_1) == "aborted"
    assert set((await finished(world, HELLO_1)).values()) == {world.now}


async def test_a_complete_rollout_is_reverted_to_what_was_there_before(world: World) -> None:
    await world.complete("1")
    await world.complete("2")
    assert (await world.desk.steer(HELLO_2, "revert")).state == "rolling-back"
    back = world.plan().plan_seq + 1
    world.say(EVERYBODY, back, Rank.ACCEPTED, runs="2")
    await world.look()
    world.say(EVERYBODY, back, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_2) == "rolled-back"
    settled = settled_in(world).build
    assert settled is not None
    assert settled.version == "1"


async def test_a_pause_takes_the_lease_back_until_it_is_resumed(world: World) -> None:
    await world.apply("1")
    await world.look()
    before = world.go()
    assert (await world.desk.steer(HELLO_1, "pause")).state == "paused"
    await world.look()
    paused = world.go()
    assert paused.grants == ()
    assert paused.lease_seq == before.lease_seq + 1
    await world.look(3 * LEASE_RENEW_S)
    assert world.go() == paused, "nothing is left to renew"
    assert [r.code for r in (await world.desk.get(HELLO_1)).reasons] == ["paused"]
    assert (await world.desk.steer(HELLO_1, "resume")).state == "running"
    await world.look()
    assert world.granted() == {("hello", "activate")}
    assert world.go().lease_seq == paused.lease_seq + 1


async def test_the_answer_of_a_pause_and_of_a_resume_says_so_before_the_next_look(
    world: World,
) -> None:
    await world.apply("1")
    await world.look()
    paused = await world.desk.steer(HELLO_1, "pause")
    assert [(paused.state, r.code) for r in paused.reasons] == [("paused", "paused")]
    resumed = await world.desk.steer(HELLO_1, "resume")
    assert [(resumed.state, r.code) for r in resumed.reasons] == [("running", "resumed")]
    why = [r.code for r in await world.desk.why(HELLO_1, "")]
    assert why[0] == "resumed"
    await world.look()
    assert "resumed" not in [r.code for r in (await world.desk.get(HELLO_1)).reasons]


async def test_a_lease_is_renewed_while_the_rollout_goes_on(world: World) -> None:
    await world.apply("1")
    await world.look()
    first = world.go()
    await world.look(LEASE_RENEW_S - 1)
    assert world.go() == first
    await world.look(1)
    renewed = world.go()
    assert (renewed.lease_seq, renewed.grants) == (first.lease_seq + 1, first.grants)
    assert renewed.not_after == world.now + 30


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


async def test_the_second_service_of_a_cell_waits_for_the_first_and_says_so(
    world: World,
) -> None:
    await world.apply("1")
    await world.look()
    await world.apply("1", API)
    await world.look()
    assert world.granted() == {("hello", "activate")}
    view = await world.desk.get(API_1)
    assert (view.state, view.reasons[0].code) == ("planned", "waits-for")
    assert HELLO_1 in view.reasons[0].message
    assert (await world.desk.why(API_1, ""))[0] == view.reasons[0]
    assert "waits-for" not in {r.code for r in (await world.desk.get(HELLO_1)).reasons}
    world.say(EVERYBODY, world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert world.granted() == {("api", "activate")}
    assert await world.state(API_1) == "running"
    assert "waits-for" not in {r.code for r in (await world.desk.get(API_1)).reasons}


async def test_what_settles_concerns_only_the_hosts_that_were_named(world: World) -> None:
    world.sync("w4")
    await world.apply("1", hosts=("w1", "w4"))
    await world.look()
    world.say(("w1",), world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "complete"
    assert settled_in(world).hosts == ("w1", "w4"), "w4 was down and is to catch up"


async def test_a_rollout_over_two_cells_ends_with_the_last_of_them(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=(*EVERYBODY, "d1"))
    await world.look()
    web, db = world.plan(), world.plan(cell=DB_CELL)
    world.say(EVERYBODY, web.plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    assert await world.state(HELLO_1) == "running"
    world.say(("d1",), db.plan_seq, Rank.HEALTHY, runs="1", cell=DB_CELL)
    await world.look()
    assert await world.state(HELLO_1) == "complete"


async def test_an_order_names_the_targets_of_its_own_cell_only(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=("d1", "w1"))
    for cell, host in ((DB_CELL, "d1"), (world.plan().cell, "w1")):
        rollout = world.order("rollout/hello", cell)
        assert rollout is not None
        assert rollout.target.hosts == (host,)  # pyright: ignore[reportAttributeAccessIssue]


async def test_a_verb_that_one_cell_refuses_changes_no_other(world: World) -> None:
    world.sync(cell=DB_CELL)
    await world.apply("1", hosts=(*EVERYBODY, "d1"))
    await world.look()
    world.say(EVERYBODY, world.plan().plan_seq, Rank.HEALTHY, runs="1")
    seq = world.plan(cell=DB_CELL).plan_seq
    world.say(("d1",), seq, Rank.HEALTHY, runs="1", cell=DB_CELL)
    await world.look()
    await world.complete("2", HELLO)
    with pytest.raises(RefusedError):
        await world.desk.steer(HELLO_1, "revert")
    assert world.order("abort/hello", DB_CELL) is None
    await world.look()
    assert await world.state(HELLO_1) == "complete"


async def test_a_rollout_whose_cell_left_the_inventory_is_shown_as_it_was(world: World) -> None:
    world.sync(cell=DB_CELL)
    view = await world.apply("1", hosts=("d1",))
    await world.stop()
    kept = [host for host in inventory() if host.cell != DB_CELL]
    (world.folder / "inventory.json").write_bytes(msgspec.json.encode(kept))
    await world.start()
    assert (await world.desk.get(HELLO_1)).state == view.state
    assert [v.id for v in await world.desk.history(service="", limit=5, after="")] == [HELLO_1]
    await world.look()
