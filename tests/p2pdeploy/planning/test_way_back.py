"""Going back: who is named when, who holds the budget, and how it ends."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort
from p2pdeploy.planning.cell_rollout import (
    settled_of,
)
from p2pdeploy.planning.conducted import replace_rollout
from p2pdeploy.planning.planner import Limits
from p2pdeploy.planning.reverting import LOST_S, budget_holders
from p2pdeploy.planning.steering import excuse
from p2pdeploy.planning.views import fault_domain_views, utc
from p2pdeploy.testing.cell_bench import completed, names, opened
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_plan


def test_a_failure_above_what_is_tolerated_goes_back() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    orders = cell.tick(1)
    assert [o.watermark for o in orders if isinstance(o, Abort)] == [cell_plan.plan.plan_seq]
    assert cell.rollout().phase == "reverting"
    assert cell.rollout().reasons[0].host == names(cell_plan)[0]


def test_what_settles_after_a_way_back_leaves_bare_hosts_bare_and_draws_nobody_in() -> None:
    cell_plan = a_plan()
    bare = tuple(names(cell_plan)[1:])
    revert = msgspec.structs.replace(cell_plan.revert, bare=bare)
    concerned = (*names(cell_plan), HostName("h9"))
    cell_plan = msgspec.structs.replace(cell_plan, revert=revert, concerned=concerned)
    cell, _ = opened(cell_plan)
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    cell.tick(1)
    cell.say(names(cell_plan), revert.plan_seq, Rank.HEALTHY)
    cell.tick(1)
    settled = cell.conducted.settled[WEB]
    assert (settled.build, settled.bare, settled.hosts) == (OLD, bare, concerned)


def test_a_first_host_that_fails_goes_back_even_where_failures_are_tolerated() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(failure_fraction_max=0.5)))
    assert cell_plan.plan.fault_domains[0].failures_max == 1
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    cell.tick(1)
    assert cell.rollout().phase == "reverting"


def test_a_regression_during_the_rollout_goes_back() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan)[:3], cell_plan.plan.plan_seq, Rank.HEALTHY)
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.REGRESSED)
    cell.tick(1)
    assert cell.rollout().result == "rolled-back"


def test_no_more_hosts_are_named_to_go_back_than_may_be_down() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=2)))
    seq = cell_plan.plan.plan_seq
    cell.say(names(cell_plan), seq, Rank.HEALTHY, runs=NEW)
    cell.abort()
    cell.say(names(cell_plan), seq + 1, Rank.STAGED, runs=NEW)
    seen: set[HostName] = set()
    while cell.rollout().phase == "reverting":
        cell.tick(1)
        grant = cell.granted("revert")
        if grant is not None:
            assert len(grant.hosts) <= 2
            seen |= set(grant.hosts)
            cell.say(grant.hosts[:1], seq + 1, Rank.HEALTHY)
    assert seen == set(names(cell_plan))
    assert cell.rollout().result == "aborted"
    settled = settled_of(cell.rollout(), now=cell.now)
    assert settled is not None
    assert (settled.build, settled.plan_seq) == (OLD, seq + 1)


def test_hosts_that_may_be_busy_with_the_aborted_plan_take_their_place_in_the_budget() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=2)))
    seq = cell_plan.plan.plan_seq
    first, *_, busy1, busy2 = names(cell_plan)
    cell.say(names(cell_plan), seq, Rank.HEALTHY, runs=NEW)
    cell.say([busy1, busy2], seq, Rank.STARTED)
    cell.abort()
    cell.say([first], seq + 1, Rank.STAGED, runs=NEW)
    cell.tick(1)
    assert cell.granted("revert") is None
    cell.say([busy2], seq + 1, Rank.ACCEPTED, runs=NEW)
    cell.tick(1)
    assert cell.granted("revert") is not None


def test_a_way_back_says_which_host_holds_the_budget_and_until_when() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=1)))
    plan = cell_plan.plan
    *others, busy = names(cell_plan)
    cell.say(others, plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.say([busy], plan.plan_seq, Rank.STARTED)
    assert budget_holders(cell.rollout(), cell.view) == {}
    cell.abort()
    quiet_at = cell.now + plan.lease_s + plan.clock_error_s + plan.activation_max_s
    cell.tick(1)
    assert budget_holders(cell.rollout(), cell.view) == {busy: quiet_at}
    held = [reason for reason in cell.rollout().reasons if reason.code == "budget-held"]
    assert [reason.host for reason in held] == [busy]
    assert held[0].message == f"{busy} may still be busy until {utc(quiet_at):%H:%M:%S} UTC"
    cell.now = quiet_at
    cell.tick()
    assert "budget-held" not in {reason.code for reason in cell.rollout().reasons}


def test_who_held_the_budget_is_no_reason_any_more_when_the_way_back_has_ended() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=1)))
    plan_seq = cell_plan.plan.plan_seq
    *others, busy = names(cell_plan)
    cell.say(others, plan_seq, Rank.HEALTHY, runs=NEW)
    cell.say([busy], plan_seq, Rank.STARTED)
    cell.abort()
    cell.tick(1)
    assert "budget-held" in {reason.code for reason in cell.rollout().reasons}
    cell.say(names(cell_plan), plan_seq + 1, Rank.HEALTHY)
    cell.tick(1)
    assert cell.rollout().phase == "done"
    assert [reason.code for reason in cell.rollout().reasons] == ["operator"]


def test_a_fault_domain_that_goes_back_is_finished_with_its_last_host() -> None:
    cell, cell_plan = completed()
    assert all(view.finished_at for view in fault_domain_views(cell.rollout(), {}))
    cell.abort()
    *others, last = names(cell_plan)
    cell.say(others, cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    cell.tick(1)
    first_at = cell.now
    ends = [view.finished_at for view in fault_domain_views(cell.rollout(), cell.evidence[WEB])]
    assert ends == [utc(first_at), utc(first_at), None]
    cell.say([last], cell_plan.plan.plan_seq + 1, Rank.FAILED)
    cell.tick(1)
    ends = [view.finished_at for view in fault_domain_views(cell.rollout(), cell.evidence[WEB])]
    assert ends == [utc(first_at), utc(first_at), utc(cell.now)]


def test_a_fault_domain_is_finished_with_the_rollout_though_a_host_was_lost() -> None:
    cell, cell_plan = opened()
    cell.abort()
    *others, lost = names(cell_plan)
    cell.say(others, cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    cell.lose(lost)
    cell.tick(1)
    cell.tick(LOST_S)
    assert cell.rollout().phase == "done"
    assert cell.rollout().ended_at[-1] == cell.now


def test_a_baseline_that_is_unhealthy_is_called_a_failure() -> None:
    cell, cell_plan = opened()
    seq = cell_plan.plan.plan_seq
    cell.say(names(cell_plan)[:1], seq, Rank.STARTED)
    cell.tick(1)
    cell.abort()
    cell.say(names(cell_plan), seq + 1, Rank.HEALTHY)
    cell.say(names(cell_plan)[:1], seq + 1, Rank.FAILED)
    issued = cell.tick(1)
    assert cell.rollout().result == "failed"
    settled = settled_of(cell.rollout(), now=cell.now)
    assert settled in issued, "the others are there, and late hosts follow them"
    assert settled is not None
    assert (settled.build, settled.plan_seq) == (OLD, seq + 1)
    assert cell.rollout().reasons[-1].code == "baseline-unhealthy"


def test_lost_hosts_do_not_hold_up_the_way_back() -> None:
    cell, cell_plan = opened()
    cell.abort()
    last = names(cell_plan)[-1]
    cell.say(names(cell_plan)[:-1], cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    cell.lose(last)
    cell.tick(1)
    assert cell.rollout().phase == "reverting"
    cell.tick(LOST_S)
    assert cell.rollout().phase == "done"
    assert [r.host for r in cell.rollout().reasons if r.code == "host-unreachable"] == [last]


def test_a_way_back_from_which_nobody_came_is_called_a_failure_and_names_them() -> None:
    cell, cell_plan = completed()
    cell.abort("rolled-back")
    *excused, lost = names(cell_plan)
    cell.lose(lost)
    cell.tick(1)
    cell.excuse(*excused)
    cell.tick(LOST_S)
    rollout = cell.rollout()
    assert (rollout.phase, rollout.result) == ("done", "failed")
    told = {reason.host: reason for reason in rollout.reasons[1:]}
    assert told.keys() == set(names(cell_plan))
    assert {told[host].code for host in excused} == {"not-back"}
    assert told[lost].code == "host-unreachable"
    assert all(f"ran {NEW.version}" in reason.message for reason in told.values())
    assert cell.conducted.settled[WEB].build == OLD, "they go back when they can"


def test_a_way_back_from_which_somebody_came_is_one_and_names_the_others() -> None:
    cell, cell_plan = completed()
    cell.abort("rolled-back")
    first, *others = names(cell_plan)
    cell.say([first], cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    cell.excuse(*others)
    cell.tick(1)
    assert (cell.rollout().phase, cell.rollout().result) == ("done", "rolled-back")
    assert [r.host for r in cell.rollout().reasons if r.code == "not-back"] == sorted(others)


def test_a_way_back_without_a_host_that_never_began_is_one() -> None:
    cell, cell_plan = opened()
    cell.abort("rolled-back")
    cell.excuse(*names(cell_plan))
    cell.tick(1)
    assert (cell.rollout().phase, cell.rollout().result) == ("done", "rolled-back")
    assert "not-back" not in {reason.code for reason in cell.rollout().reasons}


def test_a_control_plane_that_sees_nobody_ends_no_way_back() -> None:
    cell, _ = opened()
    cell.abort()
    everybody, cell.alive = cell.alive, frozenset()
    cell.tick(1)
    cell.tick(10 * LOST_S)
    assert cell.rollout().phase == "reverting"
    cell.alive = everybody
    cell.tick(1)
    assert cell.rollout().phase == "reverting"


def test_a_host_that_cannot_go_back_says_why_and_can_be_excused() -> None:
    cell, cell_plan = opened()
    cell.abort()
    *others, stuck = names(cell_plan)
    back_seq = cell_plan.plan.plan_seq + 1
    cell.say(others, back_seq, Rank.HEALTHY)
    cell.say([stuck], back_seq, Rank.ACCEPTED)
    word = cell.evidence[WEB][stuck]
    cell.evidence[WEB][stuck] = msgspec.structs.replace(
        word, reason_code="disk-full", reason="no room"
    )
    cell.tick(1)
    assert [reason.code for reason in cell.rollout().reasons] == ["operator", "disk-full"]
    rollout, _, refusal = excuse(cell.rollout(), (stuck,), "replaced", cell.view)
    assert refusal == ""
    cell.conducted = replace_rollout(cell.conducted, rollout)
    cell.tick(1)
    assert cell.rollout().phase == "done"


def test_failures_are_counted_also_when_the_hosts_are_back() -> None:
    cell, cell_plan = opened()
    first = names(cell_plan)[0]
    cell.say([first], cell_plan.plan.plan_seq, Rank.FAILED)
    cell.tick(1)
    cell.say(names(cell_plan), cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    cell.tick(1)
    views = fault_domain_views(cell.rollout(), cell.evidence[WEB])
    assert [view.failed for view in views] == [1, *(0 for _ in views[1:])]


def test_a_paused_plan_is_not_given_up_when_it_expires() -> None:
    cell, cell_plan = opened()
    cell.pause()
    cell.now = cell_plan.plan.expires_at + 1
    cell.tick()
    assert cell.rollout().phase == "activating"


def test_abort_is_idempotent() -> None:
    cell, _ = opened()
    assert len(cell.abort()) == 1
    before = cell.conducted
    assert cell.abort() == []
    assert cell.conducted == before


def test_a_complete_rollout_can_still_go_back() -> None:
    cell, cell_plan = completed()
    assert len(cell.abort("rolled-back")) == 1
    cell.say(names(cell_plan), cell_plan.plan.plan_seq + 1, Rank.HEALTHY)
    cell.tick(1)
    assert cell.conducted.settled[WEB].build == OLD


def test_a_plan_nobody_finished_in_time_goes_back() -> None:
    cell, cell_plan = opened()
    cell.tick(cell_plan.plan.expires_at - cell.now)
    assert cell.rollout().phase == "reverting"
    assert cell.rollout().reasons[0].code == "plan-expired"
