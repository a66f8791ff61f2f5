"""Rollouts that people sign while hosts come and go: they wait for hosts as long as they hold."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.api import RolloutRequest
from p2pdeploy.messages.orders import Rollout
from p2ptracker.cells.replica import DELEGATE_SILENT_S
from p2ptracker.rollouts.survey import Survey, Surveyor
from tests.p2ptracker.approvers import Approvers, reason
from tests.p2ptracker.rollout_bench import DB_CELL, WEB_CELL, World, asks

HELLO_1 = RolloutId("hello-1")
DAY_S = 86_400.0


async def sign_unheard(world: World, approvers: Approvers, mock_clock: MockClock) -> None:
    """Two sign hello-1; before the second does, the last host has fallen silent."""
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    view = await approvers.sign("hello-1", 1)
    assert (view.state, view.reasons[0].code) == ("unsigned", "none-alive")


async def test_a_host_that_came_back_meanwhile_takes_part_within_the_signed_limit(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    mock_clock.jump(DELEGATE_SILENT_S + 1)  # what delegates saw before is forgotten
    world.sync("w1", "w2")  # one of each fault domain
    await world.apply("1")
    await approvers.sign("hello-1", 0)
    world.sync()
    assert (await approvers.sign("hello-1", 1)).state == "running"
    plan, rollout = world.plan(), world.order("rollout/hello")
    assert isinstance(rollout, Rollout)
    assert sum(domain.size for domain in plan.fault_domains) == 4
    assert plan.max_unavailable == rollout.max_unavailable == 1


async def test_a_cell_in_which_nobody_is_left_alive_is_left_out(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    world.sync(cell=DB_CELL)
    await world.desk.apply(asks(hosts=("w1", "d1")))
    await approvers.sign("hello-1", 0)
    mock_clock.jump(DELEGATE_SILENT_S + 1)
    world.sync()
    view = await approvers.sign("hello-1", 1)
    assert view.state == "running"
    assert {domain.cell for domain in view.fault_domains} == {WEB_CELL}
    assert world.order("rollout/hello", DB_CELL) is None


async def test_it_waits_with_its_signatures_while_nobody_is_alive(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await sign_unheard(world, approvers, mock_clock)
    await world.look(60)
    await world.restart()  # a control plane that starts has heard nobody yet, either
    approvers.tell()
    await world.look()
    assert await reason(world) == ("unsigned", "none-alive")
    world.sync()
    await world.look()
    assert await world.state("hello-1") == "running"
    assert isinstance(world.order("rollout/hello"), Rollout)


async def test_another_signature_opens_what_waits_for_hosts(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await sign_unheard(world, approvers, mock_clock)
    world.sync()
    assert (await approvers.sign("hello-1", 2)).state == "running"


async def test_what_waits_for_hosts_ends_when_the_approval_lapses(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await sign_unheard(world, approvers, mock_clock)
    await world.look(DAY_S)
    view = await world.desk.get(HELLO_1)
    assert (view.state, view.reasons[0].code) == ("failed", "approval-lapsed")
    assert "no target host was alive" in view.reasons[0].message
    world.sync()
    await world.look()
    assert world.order("rollout/hello") is None


async def test_what_waits_for_hosts_can_be_aborted_and_keeps_only_signatures_that_count(
    world: World, approvers: Approvers, mock_clock: MockClock
) -> None:
    await sign_unheard(world, approvers, mock_clock)
    approvers.use(approvers.people[1:], threshold=2)
    assert await reason(world) == ("unsigned", "unsigned")
    world.sync()
    await world.look()
    assert await world.state("hello-1") == "unsigned"
    assert (await world.desk.steer(HELLO_1, "abort")).state == "aborted"


async def test_while_nobody_is_alive_no_look_plans_anything(
    world: World, approvers: Approvers, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_unheard(world, approvers, mock_clock)
    surveys: list[RolloutRequest] = []
    survey = Surveyor.survey

    async def and_count(self: Surveyor, request: RolloutRequest) -> Survey:
        surveys.append(request)
        return await survey(self, request)

    monkeypatch.setattr(Surveyor, "survey", and_count)
    await world.look(1)
    assert surveys == []
    world.sync()
    await world.look(1)
    assert len(surveys) == 1
