"""Rollouts over real cells: they go on, end, turn round and pause as the hosts' words say."""

from __future__ import annotations

from p2pdeploy.ids import RolloutId
from p2pdeploy.limits import LEASE_RENEW_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Retry, Roster
from tests.p2ptracker.rollout_bench import EVERYBODY, World

HELLO_1, HELLO_2 = RolloutId("hello-1"), RolloutId("hello-2")


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
    settled = world.settled()
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
    assert world.settled().build == plan.baseline
    assert world.settled().plan_seq == back


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
    settled = world.settled().build
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
