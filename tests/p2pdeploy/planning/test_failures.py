"""Why hosts failed is known as long as the rollout is, in their own words."""

from __future__ import annotations

from p2pdeploy.messages.attestation import Rank
from p2pdeploy.planning.cell_rollout import FAILURES_TOLD_MAX
from p2pdeploy.testing.cell_bench import names, opened
from p2pdeploy.testing.orders import a_plan


def test_a_failure_is_told_after_the_host_went_back() -> None:
    cell, cell_plan = opened()
    first, seq = names(cell_plan)[0], cell_plan.plan.plan_seq
    cell.say([first], seq, Rank.FAILED)
    cell.tick(1)
    cell.say(names(cell_plan), seq + 1, Rank.HEALTHY)
    cell.tick(1)
    rollout = cell.rollout()
    assert rollout.phase == "done"
    assert [(reason.host, reason.code) for reason in rollout.failures] == [(first, "exited")]


def test_of_a_cell_that_fails_as_a_whole_some_failures_are_told() -> None:
    count = FAILURES_TOLD_MAX + 8
    cell, cell_plan = opened(a_plan(hosts=count), hosts=count)
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.FAILED)
    cell.tick(1)
    assert len(cell.rollout().failed) == count
    assert len(cell.rollout().failures) == FAILURES_TOLD_MAX
