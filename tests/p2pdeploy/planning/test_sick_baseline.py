"""A baseline that is not healthy: whose failure is the rollout's, and whose was there before."""

from __future__ import annotations

import pytest

from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.testing.cell_bench import Cell, names, opened
from p2pdeploy.testing.orders import NEW, OLD


def gone_back(*moved: Rank) -> tuple[Cell, HostName]:
    """All but one host are back on the baseline; that one first attested *moved* under the plan."""
    cell, cell_plan = opened()
    sick, *others = names(cell_plan)
    for rank in moved:
        cell.say([sick], cell_plan.plan.plan_seq, rank)
        cell.tick(1)
    cell.abort()
    cell.say(others, cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    return cell, sick


def test_a_host_that_was_sick_on_the_baseline_all_the_time_fails_no_rollout() -> None:
    cell, sick = gone_back()
    cell.say([sick], cell.rollout().plan.plan_seq + 1, Rank.FAILED, runs=OLD)
    cell.tick(1)
    assert (cell.rollout().phase, cell.rollout().result) == ("done", "aborted")
    told = [(r.code, r.message) for r in cell.rollout().reasons if r.host == sick]
    assert told == [("baseline-unhealthy", "unhealthy on the baseline, which it never left")]


@pytest.mark.parametrize("rank", [Rank.STARTED, Rank.HEALTHY, Rank.FAILED])
def test_a_host_that_left_the_baseline_and_fails_on_it_fails_the_rollout(rank: Rank) -> None:
    cell, sick = gone_back(rank)
    cell.say([sick], cell.rollout().plan.plan_seq + 1, Rank.FAILED, runs=OLD)
    cell.tick(1)
    assert (cell.rollout().phase, cell.rollout().result) == ("done", "failed")


def test_a_host_that_runs_something_else_fails_the_rollout_though_nobody_saw_it_start() -> None:
    cell, sick = gone_back()
    cell.say([sick], cell.rollout().plan.plan_seq + 1, Rank.FAILED, runs=NEW)
    cell.tick(1)
    assert cell.rollout().result == "failed"
