"""Rollouts begin only as people signed them: by their number, time, baseline and bytes."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from p2pdeploy.ids import RolloutId, Version
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Rollout
from p2ptracker.storage.release_tables import releases
from p2ptracker.storage.releases import find_release
from tests.p2ptracker.approvers import Approvers, reason
from tests.p2ptracker.rollout_bench import HELLO, World


async def test_the_plan_ends_when_the_approval_does(world: World, approvers: Approvers) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    await world.look(3600)
    world.sync()
    await approvers.sign("hello-1", 1)
    rollout = world.order("rollout/hello")
    assert isinstance(rollout, Rollout)
    assert world.plan().expires_at == rollout.expires_at


async def test_a_number_that_people_signed_under_is_not_used_again(
    world: World, approvers: Approvers
) -> None:
    numbers: list[int] = []
    for rollout in ("hello-1", "hello-2", "hello-3"):
        await world.apply("1")
        payload = (await approvers.proposal(rollout)).payloads[0]
        numbers.append(msgspec.msgpack.decode(payload, type=Rollout).rollout_seq)
        await approvers.sign(rollout, 0)
        await world.desk.steer(RolloutId(rollout), "abort")
    assert numbers == sorted(set(numbers))


async def test_what_would_go_back_to_another_version_than_was_signed_is_not_started(
    world: World, approvers: Approvers
) -> None:
    await world.apply("2")
    await approvers.sign("hello-1", 0)
    world.say(["w1", "w2", "w3", "w4"], 0, Rank.HEALTHY, runs="1")
    view = await approvers.sign("hello-1", 1)
    assert (view.state, view.reasons[0].code) == ("failed", "stale-approval")
    assert world.order("plan/hello") is None


async def test_a_release_that_cannot_be_read_any_more_ends_it_and_nothing_else(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    for file in world.folder.rglob(world.digests[HELLO, "1"]):
        file.unlink()
    approvers.use(approvers.people, threshold=1)
    await world.look()
    assert await reason(world) == ("failed", "stale-approval")


async def test_a_release_that_changed_since_is_not_started(
    world: World, approvers: Approvers
) -> None:
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    await _replace_release(world, by="2")
    view = await approvers.sign("hello-1", 1)
    assert (view.state, view.reasons[0].code) == ("failed", "stale-approval")
    assert "apply it again" in view.reasons[0].message
    assert world.order("plan/hello") is None
    assert world.order("rollout/hello") is None


async def _replace_release(world: World, *, by: str) -> None:
    """The registry says that version 1 has other bytes now."""
    other = await world.plane.database.read(lambda c: find_release(c, HELLO, Version(by)))
    assert other is not None
    row = sa.and_(releases.c.service == HELLO, releases.c.version == "1")
    change = sa.update(releases).where(row).values(manifest_digest=other.manifest_digest)
    await world.plane.database.write(lambda c: c.execute(change))
