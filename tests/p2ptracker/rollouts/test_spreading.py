"""How a rollout's release spreads, as the control plane records, keeps and shows it."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from p2pdeploy.errors import NotFoundError
from p2pdeploy.ids import HostName, RolloutId
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.deal import DealRequest
from p2pdeploy.messages.swarm import FetchProgress, SourceBytes
from tests.p2ptracker.rollout_bench import EVERYBODY, HELLO, WEB_CELL, World


def tell(world: World, host: str, share: float, *, complete: bool = False) -> None:
    """*host* draws a deal and says how far it is."""
    progress = FetchProgress(
        have_bytes=int(100 * share),
        received=SourceBytes(origin=int(40 * share), rack=int(60 * share)),
        down_peak_bytes_per_s=100,
        up_peak_bytes_per_s=100,
        began_ago_s=1.0,
        ended_ago_s=0.0 if complete else None,
    )
    world.plane.spreads.hear(
        DealRequest(
            cell=WEB_CELL,
            manifest_digest=world.digests[HELLO, "1"],
            host=HostName(host),
            have=b"",
            completed=complete,
            progress=progress,
        )
    )


async def begin(world: World) -> RolloutId:
    view = await world.apply("1")
    await world.look()
    await world.desk.spreads.look()
    return view.id


async def look(world: World, seconds: float = 1.0) -> None:
    world.now += seconds
    await world.desk.spreads.look()


async def test_figures_stand_in_the_rollout_while_it_is_under_way(world: World) -> None:
    rollout = await begin(world)
    for host in EVERYBODY:
        tell(world, host, 0.0)
    tell(world, "w1", 1.0, complete=True)
    swarm = (await world.desk.get(rollout)).swarm
    assert swarm is not None
    assert (swarm.hosts, swarm.hosts_complete) == (4, 1)
    assert (swarm.received.origin, swarm.received.rack) == (40, 60)


async def test_who_is_behind_stands_in_why(world: World) -> None:
    rollout = await begin(world)
    for host in EVERYBODY[:3]:
        tell(world, host, 1.0, complete=True)
    reasons = {reason.host: reason for reason in await world.desk.why(rollout, "")}
    assert reasons["w4"].code == "behind-control"
    assert "has not begun" in reasons["w4"].message
    await look(world)
    text = generate_latest(world.plane.metrics.registry).decode()
    assert 'p2p_swarm_stragglers{cause="control"} 1.0' in text


async def test_a_host_that_staged_without_a_word_counts_as_complete(world: World) -> None:
    rollout = await begin(world)
    world.say(EVERYBODY, world.plan().plan_seq, Rank.STAGED)
    await look(world)
    swarm = (await world.desk.get(rollout)).swarm
    assert swarm is not None
    assert (swarm.hosts_complete, swarm.coverage) == (4, 1.0)


async def test_figures_and_curve_are_kept_over_the_end_and_a_restart(world: World) -> None:
    rollout = await begin(world)
    for host in EVERYBODY:
        tell(world, host, 0.0)
    for second in range(1, 21):
        for host in EVERYBODY:
            tell(world, host, second / 20, complete=second == 20)
        await look(world)
    world.say(EVERYBODY, world.plan().plan_seq, Rank.HEALTHY, runs="1")
    await world.look()
    await look(world)
    assert await world.state(rollout) == "complete"
    kept = await world.desk.spread(rollout)
    await world.restart()
    assert await world.desk.spread(rollout) == kept
    assert (await world.desk.get(rollout)).swarm == kept.swarm
    assert kept.swarm.hosts_complete == 4
    assert kept.points[-1].least == 1
    assert [point.coverage for point in kept.points] == sorted(
        point.coverage for point in kept.points
    )


async def test_a_killed_control_plane_loses_seconds_of_a_curve_at_most(world: World) -> None:
    rollout = await begin(world)
    for second in range(30):
        for host in EVERYBODY:
            tell(world, host, second / 100)
        await look(world)
    before = await world.desk.spread(rollout)
    await world.restart()
    world.sync()
    await look(world)
    after = await world.desk.spread(rollout)
    assert after.began_at == before.began_at
    kept = after.points[:-1]  # the last one is of the new process
    assert len(before.points) - len(kept) <= 5
    assert kept == before.points[: len(kept)]


async def test_a_rollout_that_nothing_was_recorded_of_says_so(world: World) -> None:
    view = await world.apply("1")
    with pytest.raises(NotFoundError, match="nothing was recorded"):
        await world.desk.spread(view.id)
    assert (await world.desk.get(view.id)).swarm is None
    with pytest.raises(NotFoundError):
        await world.desk.spread(RolloutId("hello-99"))
