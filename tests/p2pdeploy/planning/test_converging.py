"""Hosts that come late to what settled: as many at a time as may be down, and no others."""

from __future__ import annotations

from p2pdeploy.ids import HostName
from p2pdeploy.limits import CLOCK_ERROR_S, LEASE_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.planning.conductor import replace_rollout
from p2pdeploy.planning.left_out import count_anew
from p2pdeploy.planning.planner import Limits
from p2pdeploy.planning.reverting import LOST_S
from p2pdeploy.planning.steering import excuse
from p2pdeploy.testing.cell_bench import Cell, names, opened
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_plan


def one_at_a_time(*late: str) -> Cell:
    """Everybody runs NEW, but for *late*; one host may be down."""
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=1)))
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    arrive(cell, *late)
    cell.tick(1)
    cell.tick(1)
    return cell


def arrive(cell: Cell, *late: str) -> None:
    cell.say(late, 0, Rank.NONE, runs=OLD)
    cell.alive |= {HostName(host) for host in late}


def named(cell: Cell) -> tuple[HostName, ...]:
    grant = cell.granted("converge")
    return grant.hosts if grant else ()


def quiet_s(cell: Cell) -> float:
    return LEASE_S + CLOCK_ERROR_S + cell.conducted.settled[WEB].activation_max_s


def test_a_named_host_that_is_lost_keeps_its_place_until_it_can_have_nothing_under_way() -> None:
    cell = one_at_a_time("h7", "h8")
    assert named(cell) == ("h7",)
    cell.lose("h7")
    cell.tick(1)
    assert named(cell) == ()
    cell.tick(quiet_s(cell) - 1)
    assert named(cell) == ()
    cell.tick(1)
    assert named(cell) == ("h8",)


def test_a_host_that_comes_later_does_not_take_the_place_of_one_that_was_named() -> None:
    cell = one_at_a_time("h8")
    assert named(cell) == ("h8",)
    arrive(cell, "h7")
    cell.tick(1)
    assert named(cell) == ("h8",)


def test_a_named_host_gives_its_place_away_when_it_has_arrived() -> None:
    cell = one_at_a_time("h7", "h8")
    cell.say(["h7"], cell.rollout().plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.tick(1)
    assert named(cell) == ("h8",)


def test_a_host_that_does_not_start_when_named_gives_way_to_the_next() -> None:
    cell = one_at_a_time("h7", "h8")
    turns = [named(cell)]
    for _ in range(4 * int(quiet_s(cell))):
        cell.tick(1)
        if named(cell) != turns[-1]:
            turns.append(named(cell))
    assert turns[:5] == [("h7",), (), ("h8",), (), ("h7",)]


def test_the_quiet_time_of_a_named_host_begins_anew_with_a_restart() -> None:
    cell = one_at_a_time("h7", "h8")
    cell.lose("h7")
    cell.tick(1)
    cell.tick(quiet_s(cell) / 2)
    cell.conducted = count_anew(cell.conducted)
    cell.tick()
    cell.tick(quiet_s(cell) - 1)
    assert named(cell) == ()
    cell.tick(1)
    assert named(cell) == ("h8",)


def test_who_still_goes_back_when_a_way_back_ends_takes_room_from_who_converges() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=1)))
    seq = cell_plan.plan.plan_seq
    first, second, *others = names(cell_plan)
    cell.say([first, second], seq, Rank.HEALTHY, runs=NEW)
    cell.abort()
    cell.say(others, seq + 1, Rank.HEALTHY)
    cell.say([first, second], seq + 1, Rank.STAGED, runs=NEW)
    cell.tick(1)
    cell.lose(first)
    cell.tick(1)
    lost_at = cell.now
    rollout, _, _ = excuse(cell.rollout(), (second,), "asked", cell.view)
    cell.conducted = replace_rollout(cell.conducted, rollout)
    cell.tick(LOST_S)
    assert cell.rollout().phase == "done"
    cell.tick(lost_at + quiet_s(cell) - cell.now - 1)
    assert named(cell) == ()
    cell.tick(1)
    assert named(cell) == (second,)
