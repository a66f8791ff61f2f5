"""Hosts that are not waited for, by a person or because they were lost for long."""

from __future__ import annotations

from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Excuse
from p2pdeploy.planning.planner import CellPlan, Limits
from p2pdeploy.planning.steering import excuse
from p2pdeploy.testing.cell_bench import Cell, names, opened
from p2pdeploy.testing.orders import a_plan


def tolerant() -> tuple[Cell, CellPlan]:
    """Two hosts per fault domain, one of which may fail."""
    return opened(a_plan(limits=Limits(failure_fraction_max=0.5)))


def test_excused_and_failed_hosts_together_stay_within_what_is_tolerated() -> None:
    cell, cell_plan = tolerant()
    hosts = [m.host for m in cell_plan.roster.members if m.fault_domain == 1]
    cell.say(hosts[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    _, orders, refusal = excuse(cell.rollout(), (hosts[1],), "repair", cell.view)
    assert orders == []
    assert "tolerates 1" in refusal
    _, orders, refusal = excuse(cell.rollout(), (hosts[0],), "repair", cell.view)
    assert refusal == ""
    assert [order.hosts for order in orders if isinstance(order, Excuse)] == [(hosts[0],)]


def test_a_host_that_may_be_changing_is_not_excused_while_others_wait_behind_it() -> None:
    cell, cell_plan = tolerant()
    first, *_, last = names(cell_plan)
    cell.say([first, last], cell_plan.plan.plan_seq, Rank.STARTED)
    _, orders, refusal = excuse(cell.rollout(), (first,), "asked", cell.view)
    assert (orders, "may be changing" in refusal) == ([], True)
    _, orders, refusal = excuse(cell.rollout(), (last,), "asked", cell.view)
    assert (len(orders), refusal) == (1, "")


def test_a_host_that_is_going_back_right_now_is_not_excused_while_others_wait_behind_it() -> None:
    cell, cell_plan = tolerant()
    first = names(cell_plan)[0]
    cell.abort()
    cell.say([first], cell_plan.plan.plan_seq + 1, Rank.STARTED)
    _, _, refusal = excuse(cell.rollout(), (first,), "asked", cell.view)
    assert "may be changing" in refusal


def test_nobody_is_excused_where_no_failure_is_tolerated() -> None:
    cell, cell_plan = opened()
    _, orders, refusal = excuse(cell.rollout(), (names(cell_plan)[0],), "repair", cell.view)
    assert orders == []
    assert refusal


def test_a_newer_excuse_lists_the_older_hosts_as_well() -> None:
    cell, cell_plan = tolerant()
    one, other = (
        next(m.host for m in cell_plan.roster.members if m.fault_domain == k) for k in (1, 2)
    )
    rollout, _, _ = excuse(cell.rollout(), (one,), "repair", cell.view)
    _, orders, _ = excuse(rollout, (other,), "repair", cell.view)
    assert [(o.excuse_seq, set(o.hosts)) for o in orders if isinstance(o, Excuse)] == [
        (2, {one, other})
    ]


def test_a_lost_host_is_excused_only_when_nothing_it_began_can_be_under_way() -> None:
    cell, cell_plan = tolerant()
    plan = cell_plan.plan
    lost = names(cell_plan)[-1]
    cell.say(names(cell_plan)[:-1], plan.plan_seq, Rank.HEALTHY)
    cell.lose(lost)
    cell.tick(1)
    quiet_s = plan.lease_s + plan.clock_error_s + plan.activation_max_s
    assert not any(isinstance(order, Excuse) for order in cell.tick(quiet_s - 1))
    assert cell.rollout().reasons[0].code == "host-unreachable"
    excuses = [order for order in cell.tick(1) if isinstance(order, Excuse)]
    assert [order.hosts for order in excuses] == [(lost,)]
    cell.tick(1)
    assert cell.rollout().result == "complete"


def test_a_host_that_comes_back_in_between_is_not_excused() -> None:
    cell, cell_plan = tolerant()
    plan = cell_plan.plan
    lost = names(cell_plan)[-1]
    everybody = cell.alive
    cell.say(names(cell_plan)[:-1], plan.plan_seq, Rank.HEALTHY)
    cell.lose(lost)
    cell.tick(60)
    cell.alive = everybody
    cell.tick(60)
    cell.lose(lost)
    assert not any(isinstance(order, Excuse) for order in cell.tick(60))


def test_where_no_failure_is_tolerated_a_lost_host_waits_for_a_person() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan)[:-1], cell_plan.plan.plan_seq, Rank.HEALTHY)
    cell.lose(names(cell_plan)[-1])
    for _ in range(20):
        cell.tick(60)
    assert cell.rollout().phase == "activating"
    assert cell.rollout().reasons[0].code == "host-unreachable"
