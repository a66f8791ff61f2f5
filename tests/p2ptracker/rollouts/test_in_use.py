"""Releases that hosts run, come to or go back to stay signed, however many are published."""

from __future__ import annotations

import pytest

from p2ptracker.rollouts.in_use import versions_in_use
from tests.p2ptracker.rollout_bench import API, HELLO, World

pytestmark = pytest.mark.usefixtures("few_live")


@pytest.fixture
def few_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pdeploy.trust.releases.proposals.RELEASES_LIVE_MAX", 3)


async def test_what_a_rollout_brings_and_goes_back_to_stays_signed(world: World) -> None:
    await world.complete("1")
    assert world.desk.versions_in_use(HELLO) == {"1"}, "it settled, and hosts run it"
    await world.apply("2")
    assert world.desk.versions_in_use(HELLO) == {"1", "2"}, "and may have to go back"
    for version in ("3", "4", "5"):
        await world.publish(version)
    assert set(world.plane.repository.live(HELLO)) == {"1", "2", "5"}
    assert world.desk.versions_in_use(API) == frozenset()


async def test_a_host_that_was_away_finds_what_settled_still_signed(world: World) -> None:
    """It comes back after many releases, and converges by SETTLED to one that it can verify."""
    await world.complete("1")
    for version in ("3", "4", "5", "6"):
        await world.publish(version)
    live = world.plane.repository.live(HELLO)
    assert set(live) == {"1", "5", "6"}
    settled = world.settled()
    assert settled.build is not None
    assert live[settled.build.version].manifest_digest == settled.build.digest


def test_nobody_uses_a_service_that_nobody_knows() -> None:
    assert versions_in_use(HELLO, []) == frozenset()
