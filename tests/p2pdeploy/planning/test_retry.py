"""A rollout is tried again: failures of before count no more, and everybody says so anew."""

from __future__ import annotations

import msgspec

from p2pdeploy.limits import ATTEMPTS_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Order, Retry
from p2pdeploy.planning.conducted import replace_rollout
from p2pdeploy.planning.planner import CellPlan, Limits
from p2pdeploy.planning.steering import retry
from p2pdeploy.testing.cell_bench import Cell, names, opened
from p2pdeploy.testing.orders import CELL, NEW, WEB, a_plan, a_word

LENIENT = a_plan(limits=Limits(failure_fraction_max=0.5))
SEQ = LENIENT.plan.plan_seq


def tried_again(cell: Cell) -> list[Order]:
    rollout, orders = retry(cell.rollout(), cell.view)
    cell.conducted = replace_rollout(cell.conducted, rollout)
    return orders


def with_a_failure() -> tuple[Cell, CellPlan]:
    """One of two hosts of the second fault domain failed, which is tolerated."""
    cell, cell_plan = opened(LENIENT)
    cell.say(["h1"], SEQ, Rank.HEALTHY, runs=NEW)
    cell.say(["h5"], SEQ, Rank.FAILED)
    cell.tick()
    assert cell.rollout().phase == "activating"
    return cell, cell_plan


def enter(cell: Cell, hosts: list[str], rank: Rank) -> None:
    for host in hosts:
        word = a_word(host, SEQ, rank, runs=NEW, attempt=1)
        cell.evidence[WEB][word.host] = word


def test_a_rollout_with_a_failure_is_tried_again() -> None:
    cell, _ = with_a_failure()
    assert tried_again(cell) == [Retry(cell=CELL, service=WEB, plan_seq=SEQ, attempt=1)]


def test_what_failed_before_stops_it_no_more() -> None:
    cell, cell_plan = with_a_failure()
    tried_again(cell)
    assert cell_plan.plan.brakes_max == 2
    enter(cell, ["h2"], Rank.FAILED)  # beside h5, whose failure was in the attempt before
    assert not any(isinstance(order, Abort) for order in cell.tick())
    enter(cell, ["h5"], Rank.FAILED)
    assert any(isinstance(order, Abort) for order in cell.tick()), "two in this attempt"


def test_it_is_complete_when_everybody_is_healthy_in_this_attempt() -> None:
    cell, cell_plan = with_a_failure()
    others = [host for host in names(cell_plan) if host not in ("h5", "h6")]
    cell.say(others, SEQ, Rank.HEALTHY, runs=NEW)
    tried_again(cell)
    cell.say(["h6"], SEQ, Rank.HEALTHY, runs=NEW)
    cell.tick()
    assert cell.rollout().phase == "activating", "that was in the attempt before"
    enter(cell, [*names(cell_plan)], Rank.HEALTHY)
    cell.tick()
    assert (cell.rollout().phase, cell.rollout().result) == ("done", "complete")


def test_there_is_nothing_to_try_again_where_nobody_failed() -> None:
    cell, _ = opened(LENIENT)
    assert tried_again(cell) == []


def test_a_rollout_that_goes_back_is_not_tried_again() -> None:
    cell, _ = with_a_failure()
    cell.abort()
    assert tried_again(cell) == []


def test_a_rollout_is_not_tried_for_ever() -> None:
    cell, _ = with_a_failure()
    rollout = msgspec.structs.replace(cell.rollout(), attempt=ATTEMPTS_MAX)
    cell.conducted = replace_rollout(cell.conducted, rollout)
    word = a_word("h5", SEQ, Rank.FAILED, attempt=ATTEMPTS_MAX)
    cell.evidence[WEB][word.host] = word
    assert tried_again(cell) == []


def test_it_is_not_tried_again_beside_an_excused_host_that_may_be_changing() -> None:
    cell, cell_plan = with_a_failure()
    last = cell_plan.roster.members[-1].host
    excused = msgspec.structs.replace(cell.rollout(), excused=(last,))
    cell.conducted = replace_rollout(cell.conducted, excused)
    cell.say([last], SEQ, Rank.STARTED)
    assert tried_again(cell) == []
    cell.say([last], SEQ, Rank.HEALTHY)
    assert tried_again(cell) != []
