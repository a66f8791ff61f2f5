"""Hosts that cannot be seen may still hear: no GO covers them before they count as quiet."""

from __future__ import annotations

from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Excuse, Go, Order
from p2pdeploy.planning.left_out import count_anew
from p2pdeploy.planning.planner import CellPlan, Limits
from p2pdeploy.testing.cell_bench import Cell, names, opened
from p2pdeploy.testing.orders import NEW, a_plan


def one_left() -> tuple[Cell, CellPlan, HostName]:
    """All are healthy but the last host; one per fault domain may fail."""
    cell, cell_plan = opened(a_plan(limits=Limits(failure_fraction_max=0.5)))
    *others, last = names(cell_plan)
    cell.say(others, cell_plan.plan.plan_seq, Rank.HEALTHY)
    return cell, cell_plan, last


def quiet_s(cell_plan: CellPlan) -> float:
    """How long after its last lease something that a host began may be under way."""
    plan = cell_plan.plan
    return plan.lease_s + plan.clock_error_s + plan.activation_max_s


def excuses_in(orders: list[Order]) -> list[tuple[HostName, ...]]:
    return [order.hosts for order in orders if isinstance(order, Excuse)]


def without(cell: Cell) -> tuple[HostName, ...]:
    grant = cell.granted("activate")
    assert grant is not None
    return grant.without


def test_no_go_covers_a_lost_host_until_it_is_seen_again() -> None:
    cell, _, last = one_left()
    cell.tick(1)
    assert without(cell) == ()
    everybody = cell.alive
    cell.lose(last)
    cell.tick(1)
    assert without(cell) == (last,)
    cell.alive = everybody
    cell.tick(1)
    assert without(cell) == ()


def test_a_host_is_excused_a_whole_quiet_time_after_the_last_go_that_covered_it() -> None:
    cell, cell_plan, last = one_left()
    cell.lose(last)
    excused_at = 0.0
    while not excused_at:
        if excuses_in(cell.tick(1)):
            excused_at = cell.now
    covering = [
        order.issued_at
        for order in cell.issued
        if isinstance(order, Go) and order.grants and last not in order.grants[0].without
    ]
    assert excused_at - max(covering) >= quiet_s(cell_plan)
    assert max(order.issued_at for order in cell.issued if isinstance(order, Go)) > max(covering)


def test_the_quiet_time_of_a_lost_host_begins_anew_with_a_restart() -> None:
    cell, cell_plan, last = one_left()
    cell.lose(last)
    cell.tick(1)
    cell.now += quiet_s(cell_plan) - 1
    cell.conducted = count_anew(cell.conducted)
    cell.tick()
    assert excuses_in(cell.tick(quiet_s(cell_plan) - 1)) == []
    assert excuses_in(cell.tick(1)) == [(last,)]


def test_a_control_plane_that_sees_nobody_leaves_nobody_out() -> None:
    cell, _, _ = one_left()
    cell.tick(1)
    cell.alive = frozenset()
    cell.tick(1)
    assert without(cell) == ()


def going_back() -> tuple[Cell, CellPlan, HostName, HostName]:
    """Two hosts go back, one at a time, and the first is named."""
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=1)))
    seq = cell_plan.plan.plan_seq
    first, second, *others = names(cell_plan)
    cell.say([first, second], seq, Rank.HEALTHY, runs=NEW)
    cell.abort()
    cell.say(others, seq + 1, Rank.HEALTHY)
    cell.say([first, second], seq + 1, Rank.STAGED, runs=NEW)
    cell.tick(1)
    assert named(cell) == (first,)
    return cell, cell_plan, first, second


def named(cell: Cell) -> tuple[HostName, ...]:
    grant = cell.granted("revert")
    return grant.hosts if grant else ()


def test_a_lost_host_is_not_named_to_go_back_and_keeps_its_place_until_it_is_quiet() -> None:
    cell, cell_plan, first, second = going_back()
    cell.tick(60)
    assert named(cell) == (first,)
    cell.lose(first)
    cell.tick(1)
    assert named(cell) == ()
    cell.tick(quiet_s(cell_plan) - 1)
    assert named(cell) == ()
    cell.tick(1)
    assert named(cell) == (second,)


def test_a_host_that_does_not_go_back_when_named_gives_way_to_the_next_when_it_is_quiet() -> None:
    cell, cell_plan, first, second = going_back()
    last_named_at, turns = cell.now, [(first,)]
    while len(turns) < 4:
        cell.tick(1)
        if named(cell) == (first,) and len(turns) == 1:
            last_named_at = cell.now
        if named(cell) == (second,) and len(turns) == 2:
            assert cell.now - last_named_at >= quiet_s(cell_plan)
        if named(cell) != turns[-1]:
            turns.append(named(cell))
    assert turns == [(first,), (), (second,), ()]
