"""Conducting a cell: what is issued when, and that looking twice issues nothing new."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.limits import CLOCK_ERROR_S, LEASE_RENEW_S, LEASE_S
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Abort, Build, Excuse, Go, Grant, Order, Plan, Settled
from p2pdeploy.planning.cell_rollout import (
    CellRollout,
    Result,
    View,
    settled_of,
)
from p2pdeploy.planning.conductor import (
    FINISHED_MAX,
    SETTLED_RENEW_S,
    Conducted,
    activates_before,
    conduct,
    latest,
    open_rollout,
    replace_rollout,
)
from p2pdeploy.planning.planner import CellPlan, Limits
from p2pdeploy.planning.reverting import LOST_S, budget_holders
from p2pdeploy.planning.steering import ask_abort, excuse
from p2pdeploy.planning.views import fault_domain_views, rollout_state, rollout_view, utc
from p2pdeploy.testing.activation_bench import (
    CELL,
    EPOCH_S,
    NEW,
    OLD,
    WEB,
    a_build,
    a_plan,
    a_word,
    rollout_of,
)

API = ServiceName("api")
ASKED = Reason(code="operator", message="asked")


class Cell:
    """One cell under the conductor; hosts say what the test makes them say."""

    def __init__(self, hosts: int = 6) -> None:
        self.conducted = Conducted(cell=CELL)
        self.evidence: dict[ServiceName, dict[HostName, Attestation]] = {WEB: {}, API: {}}
        self.alive = frozenset(HostName(f"h{n + 1}") for n in range(hosts))
        self.now = EPOCH_S
        self.issued: list[Order] = []

    def open(self, cell_plan: CellPlan) -> list[Order]:
        service = cell_plan.plan.service
        self.conducted, orders = open_rollout(
            self.conducted, rollout_of(cell_plan), cell_plan, self.evidence[service]
        )
        return orders

    def tick(self, seconds: float = 0.0) -> list[Order]:
        self.now += seconds
        self.conducted, orders = conduct(self.conducted, self.evidence, self.alive, self.now)
        self.issued += orders
        return orders

    def say(
        self,
        hosts: Iterable[str],
        plan_seq: int,
        rank: Rank,
        *,
        runs: Build | None = OLD,
        service: ServiceName = WEB,
    ) -> None:
        for host in hosts:
            word = msgspec.structs.replace(
                a_word(host, plan_seq, rank, runs=runs),
                service=service,
                reason_code="exited" if rank is Rank.FAILED else "",
            )
            self.evidence[service][word.host] = word

    def lose(self, *hosts: str) -> None:
        self.alive -= {HostName(host) for host in hosts}

    def rollout(self, service: ServiceName = WEB) -> CellRollout:
        entry = latest(self.conducted, service)
        assert entry is not None
        return entry.rollout

    def pause(self, *, paused: bool = True, service: ServiceName = WEB) -> None:
        rollout = msgspec.structs.replace(self.rollout(service), paused=paused)
        self.conducted = replace_rollout(self.conducted, rollout)

    def abort(self, result: Result = "aborted", service: ServiceName = WEB) -> list[Order]:
        rollout, orders = ask_abort(
            self.rollout(service), result=result, reason=ASKED, now=self.now
        )
        self.conducted = replace_rollout(self.conducted, rollout)
        return orders

    @property
    def view(self) -> View:
        return View(self.evidence[WEB], self.alive, self.now)

    @property
    def go(self) -> Go:
        assert self.conducted.go is not None
        return self.conducted.go

    def granted(self, phase: str, service: ServiceName = WEB) -> Grant | None:
        grants = [g for g in self.go.grants if (g.phase, g.service) == (phase, service)]
        return grants[0] if grants else None


def names(cell_plan: CellPlan) -> list[HostName]:
    return [member.host for member in cell_plan.roster.members]


def opened(cell_plan: CellPlan | None = None, *, hosts: int = 6) -> tuple[Cell, CellPlan]:
    cell = Cell(hosts)
    plan = cell_plan or a_plan(hosts=hosts)
    cell.open(plan)
    cell.tick()
    return cell, plan


def completed(hosts: int = 6) -> tuple[Cell, CellPlan]:
    cell, cell_plan = opened(hosts=hosts)
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.tick(1)
    return cell, cell_plan


# -- the GO -----------------------------------------------------------------------------------


def test_opening_issues_rollout_roster_plan_and_way_back() -> None:
    cell_plan = a_plan()
    kinds = [type(order).__name__ for order in Cell().open(cell_plan)]
    assert kinds == ["Rollout", "Roster", "Plan", "Revert"]


def test_the_go_of_an_open_rollout_covers_every_fault_domain() -> None:
    cell, _ = opened()
    grant = cell.granted("activate")
    assert grant is not None
    assert grant.up_to == 2
    assert cell.go.not_after - cell.go.issued_at == LEASE_S


def test_the_go_is_renewed_every_ten_seconds_and_not_before() -> None:
    cell, _ = opened()
    assert cell.tick(LEASE_RENEW_S - 0.1) == []
    renewed = cell.tick(0.1)
    assert [type(order) for order in renewed] == [Go]
    assert cell.go.lease_seq == 2


def test_a_change_of_what_is_granted_goes_out_at_once() -> None:
    cell, _ = opened()
    cell.pause()
    assert [type(order) for order in cell.tick(0.1)] == [Go]
    assert cell.go.grants == ()


def test_a_go_that_grants_nothing_is_not_renewed() -> None:
    cell, _ = opened()
    cell.pause()
    cell.tick(0.1)
    assert cell.tick(60) == []


def test_looking_twice_issues_nothing_new() -> None:
    cell, cell_plan = opened()
    before = cell.conducted
    assert cell.tick() == []
    assert cell.conducted == before
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    assert any(isinstance(order, Abort) for order in cell.tick())
    assert cell.tick() == []


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(list(Rank)), st.integers(0, 1)), max_size=12
    )
)
def test_after_a_crash_before_storing_the_same_orders_are_issued_again(
    words: list[tuple[int, Rank, int]],
) -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(failure_fraction_max=0.5)))
    for number, rank, back in words:
        host = names(cell_plan)[number]
        cell.say([host], cell_plan.plan.plan_seq + back, rank)
        stored = cell.conducted
        first = cell.tick(1)
        after = cell.conducted
        cell.conducted = stored
        assert cell.tick() == first
        assert cell.conducted == after
        assert any(cell.tick() == [] for _ in range(4))  # an abort, then who goes back, then peace


def test_the_lease_number_never_falls() -> None:
    cell, cell_plan = completed()
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq))
    cell.tick(1)
    cell.abort()
    for _ in range(10):
        cell.tick(5)
    seqs = [order.lease_seq for order in cell.issued if isinstance(order, Go)]
    assert seqs == sorted(set(seqs))


# -- complete ---------------------------------------------------------------------------------


def test_a_rollout_is_complete_when_every_host_is_healthy() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan)[:-1], cell_plan.plan.plan_seq, Rank.HEALTHY)
    assert not any(isinstance(order, Settled) for order in cell.tick(1))
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    settled = [order for order in cell.tick(1) if isinstance(order, Settled)]
    assert [(order.build, order.plan_seq) for order in settled] == [(NEW, cell_plan.plan.plan_seq)]
    assert cell.rollout().result == "complete"
    assert cell.go.grants == ()


def test_health_under_another_plan_completes_nothing() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan), cell_plan.plan.plan_seq - 2, Rank.HEALTHY)
    cell.tick(1)
    assert cell.rollout().phase == "activating"


def test_what_keeps_a_waiting_host_back_is_a_reason_of_the_rollout() -> None:
    cell, cell_plan = opened()
    host = names(cell_plan)[0]
    cell.say([host], cell_plan.plan.plan_seq, Rank.ACCEPTED)
    word = cell.evidence[WEB][host]
    cell.evidence[WEB][host] = msgspec.structs.replace(
        word, reason_code="disk-full", reason="no room"
    )
    cell.tick()
    assert ("disk-full", host) in [(reason.code, reason.host) for reason in cell.rollout().reasons]


def test_tolerated_failures_complete_with_a_reason_each() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(failure_fraction_max=0.5)))
    last = names(cell_plan)[-1]
    cell.say(names(cell_plan)[:-1], cell_plan.plan.plan_seq, Rank.HEALTHY)
    cell.say([last], cell_plan.plan.plan_seq, Rank.FAILED)
    cell.tick(1)
    assert cell.rollout().result == "complete"
    assert [(r.code, r.host) for r in cell.rollout().reasons] == [("host-failed", last)]


def test_settled_is_renewed_every_hour() -> None:
    cell, _ = completed()
    assert cell.tick(SETTLED_RENEW_S - 1) == []
    renewed = [order for order in cell.tick(1) if isinstance(order, Settled)]
    assert [order.issued_at for order in renewed] == [cell.now]
    assert renewed[0].not_after == cell.now + 24 * 3600


# -- going back -------------------------------------------------------------------------------


def test_a_failure_above_what_is_tolerated_goes_back() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    orders = cell.tick(1)
    assert [o.watermark for o in orders if isinstance(o, Abort)] == [cell_plan.plan.plan_seq]
    assert cell.rollout().phase == "reverting"
    assert cell.rollout().reasons[0].host == names(cell_plan)[0]


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


def test_a_named_host_keeps_its_place_until_it_can_have_nothing_under_way() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=1)))
    plan = cell_plan.plan
    first, second = names(cell_plan)[:2]
    cell.say(names(cell_plan), plan.plan_seq + 1, Rank.HEALTHY)
    cell.say([first, second], plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.abort()
    cell.say([first, second], plan.plan_seq + 1, Rank.STAGED, runs=NEW)
    cell.tick(1)
    cell.lose(first)
    quiet_s = plan.lease_s + plan.clock_error_s + plan.activation_max_s
    cell.tick(quiet_s - 1)
    grant = cell.granted("revert")
    assert grant is not None
    assert grant.hosts == (first,)
    cell.tick(2)
    grant = cell.granted("revert")
    assert grant is not None
    assert grant.hosts == (second,)


def test_a_baseline_that_is_unhealthy_is_called_a_failure() -> None:
    cell, cell_plan = opened()
    seq = cell_plan.plan.plan_seq
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


# -- excuses ----------------------------------------------------------------------------------


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


# -- one after the other ----------------------------------------------------------------------


def test_a_plan_tells_when_its_predecessor_is_quiet() -> None:
    cell, cell_plan = completed()
    end = max(o.not_after for o in cell.issued if isinstance(o, Go) and o.grants) + CLOCK_ERROR_S
    second = a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq)
    cell.open(second)
    cell.tick(1)
    grant = cell.granted("activate")
    assert grant is not None
    assert grant.predecessor_quiet_at == end + cell_plan.plan.activation_max_s


def test_a_plan_is_held_while_a_host_outside_its_roster_may_be_busy() -> None:
    cell, cell_plan = completed()
    lost = names(cell_plan)[-1]
    cell.say([lost], cell_plan.plan.plan_seq, Rank.STARTED)
    cell.lose(lost)
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=4, absent=[lost]))
    cell.tick(1)
    assert cell.granted("activate") is None
    cell.tick(cell.rollout().hold_until - cell.now)
    assert cell.granted("activate") is not None


def test_a_plan_is_not_held_when_all_outside_its_roster_have_ended() -> None:
    cell, cell_plan = completed()
    lost = names(cell_plan)[-1]
    cell.lose(lost)
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=4, absent=[lost]))
    cell.tick(1)
    assert cell.granted("activate") is not None


def side_by_side() -> tuple[Cell, CellPlan, CellPlan]:
    """WEB was opened first and activates; API waits for it."""
    cell, web = opened()
    api = a_plan(service=API)
    cell.open(api)
    cell.tick(1)
    return cell, web, api


def test_one_plan_of_a_cell_activates_at_a_time() -> None:
    cell, web, _ = side_by_side()
    assert cell.granted("activate", WEB)
    assert not cell.granted("activate", API)
    cell.say(names(web), web.plan.plan_seq, Rank.HEALTHY)
    cell.tick(1)
    cell.tick(1)
    assert cell.granted("activate", API)


def test_a_paused_plan_gives_way_only_when_its_lease_has_run_out() -> None:
    cell, web, _ = side_by_side()
    granted_until = cell.go.not_after + CLOCK_ERROR_S + web.plan.activation_max_s
    cell.pause()
    cell.tick(1)
    assert cell.go.grants == ()
    cell.tick(granted_until - cell.now - 1)
    assert cell.go.grants == ()
    cell.tick(1)
    assert cell.granted("activate", API)


def waits_for(cell: Cell, service: ServiceName) -> str:
    """The service whose rollout *service*'s waits for; empty when it waits for none."""
    entry = activates_before(cell.conducted, service, cell.evidence, cell.alive, cell.now)
    return entry.rollout.plan.service if entry else ""


def test_a_plan_that_has_to_wait_says_for_which_until_its_turn_comes() -> None:
    cell, web, api = side_by_side()
    assert (waits_for(cell, WEB), waits_for(cell, API)) == ("", WEB)
    cell.say(names(web), web.plan.plan_seq, Rank.HEALTHY)
    cell.tick(1)
    cell.tick(1)
    assert (waits_for(cell, WEB), waits_for(cell, API)) == ("", "")
    cell.say(names(api), api.plan.plan_seq, Rank.HEALTHY, service=API)
    cell.tick(1)
    assert waits_for(cell, API) == ""


def test_a_plan_waits_for_a_paused_one_as_long_as_its_lease_runs() -> None:
    cell, web, _ = side_by_side()
    granted_until = cell.go.not_after + CLOCK_ERROR_S + web.plan.activation_max_s
    cell.pause()
    cell.tick(1)
    assert (waits_for(cell, WEB), waits_for(cell, API)) == ("", WEB)
    cell.tick(granted_until - cell.now)
    assert waits_for(cell, API) == ""


def test_a_plan_that_gave_way_waits_until_the_other_has_ended() -> None:
    cell, _, api = side_by_side()
    cell.pause()
    cell.tick(300)
    cell.pause(paused=False)
    cell.tick(1)
    assert cell.granted("activate", API)
    assert not cell.granted("activate", WEB)
    cell.say(names(api), api.plan.plan_seq, Rank.HEALTHY, service=API)
    cell.tick(1)
    cell.tick(1)
    assert cell.granted("activate", WEB)


def test_a_plan_that_is_resumed_at_once_goes_on_at_once() -> None:
    cell, _, _ = side_by_side()
    cell.pause()
    cell.tick(1)
    cell.pause(paused=False)
    cell.tick(1)
    assert cell.granted("activate", WEB)


def test_an_aborted_plan_gives_way_when_its_hosts_have_left_it() -> None:
    cell, web, _ = side_by_side()
    cell.say(names(web)[:1], web.plan.plan_seq, Rank.STARTED)
    cell.abort()
    cell.tick(1)
    cell.say(names(web)[1:], web.plan.plan_seq + 1, Rank.HEALTHY)
    cell.tick(1)
    assert not cell.granted("activate", API)
    cell.say(names(web)[:1], web.plan.plan_seq + 1, Rank.ACCEPTED)
    cell.tick(1)
    assert cell.granted("activate", API)


def test_rollouts_that_have_ended_are_forgotten_beyond_a_bound() -> None:
    cell = Cell(1)
    services = [ServiceName(f"s{number:03d}") for number in range(FINISHED_MAX + 3)]
    for service in services:
        cell_plan = a_plan(hosts=1, fault_domains=1, service=service)
        cell.evidence[service] = {}
        cell.open(cell_plan)
        cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW, service=service)
        cell.tick(1)
        assert cell.rollout(service).phase == "done"
    kept = [entry.rollout.plan.service for entry in cell.conducted.entries]
    assert kept == services[-FINISHED_MAX - 1 :]
    assert set(services) == cell.conducted.settled.keys(), "late hosts still get there"


def test_a_rollout_under_way_is_never_forgotten() -> None:
    cell, _ = opened()
    cell.pause()
    for number in range(FINISHED_MAX + 3):
        service = ServiceName(f"s{number:03d}")
        cell_plan = a_plan(service=service)
        cell.evidence[service] = {}
        cell.open(cell_plan)
        cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW, service=service)
        cell.tick(1)
    assert cell.rollout(WEB).phase == "activating"


# -- late hosts -------------------------------------------------------------------------------


def test_late_hosts_are_named_as_far_as_the_budget_goes() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=2)))
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.say(["h7", "h8", "h9"], 0, Rank.NONE, runs=OLD)
    cell.alive |= {HostName("h7"), HostName("h8"), HostName("h9")}
    cell.tick(1)
    cell.tick(1)
    grant = cell.granted("converge")
    assert grant is not None
    assert grant.hosts == ("h7", "h8")
    cell.say(["h7"], cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.tick(1)
    grant = cell.granted("converge")
    assert grant is not None
    assert grant.hosts == ("h8", "h9")


@pytest.mark.parametrize("rank", [Rank.FAILED, Rank.HEALTHY])
def test_a_late_host_that_ended_is_not_named_again(rank: Rank) -> None:
    cell, cell_plan = completed()
    cell.say(["h1"], cell_plan.plan.plan_seq, rank, runs=OLD)
    cell.tick(1)
    assert cell.granted("converge") is None


def test_nobody_converges_while_a_plan_of_the_service_is_under_way() -> None:
    cell, cell_plan = completed()
    cell.say(["h7"], 0, Rank.NONE, runs=OLD)
    cell.alive |= {HostName("h7")}
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq))
    cell.tick(1)
    assert cell.granted("converge") is None


# -- views ------------------------------------------------------------------------------------


def test_a_view_counts_hosts_per_fault_domain() -> None:
    cell, cell_plan = opened()
    seq = cell_plan.plan.plan_seq
    cell.say(names(cell_plan)[:2], seq, Rank.HEALTHY)
    cell.say(names(cell_plan)[2:3], seq, Rank.STARTED)
    cell.say(names(cell_plan)[3:4], seq, Rank.STAGED)
    cell.tick(1)
    first, second, third = fault_domain_views(cell.rollout(), cell.evidence[WEB])
    assert (first.healthy, first.total) == (2, 2)
    assert first.finished_at is not None
    assert second.started_at is not None
    assert second.finished_at is None
    assert second.states["staged"] == 1
    assert third.states == {"waiting": 2}
    assert "fd1" in third.waits_for


def test_a_view_names_state_baseline_and_reasons() -> None:
    cell, cell_plan = opened()

    def state() -> str:
        view = rollout_view(
            rollout_id=cell_plan.plan.rollout_id,
            service=WEB,
            version=NEW.version,
            created_at=EPOCH_S,
            finished_at=0.0,
            cells=[cell.rollout()],
            evidence={CELL: cell.evidence[WEB]},
        )
        assert view.baseline == OLD.version
        return view.state

    assert state() == "running"
    cell.pause()
    assert state() == "paused"
    cell.abort()
    assert state() == "rolling-back"


def test_a_rollout_is_as_far_as_its_slowest_cell_and_as_bad_as_its_worst() -> None:
    running, complete = opened()[0].rollout(), completed()[0].rollout()
    failed = msgspec.structs.replace(complete, result="failed")
    assert rollout_state([complete, running]) == "running"
    assert rollout_state([complete, failed]) == "failed"
    assert rollout_state([complete, complete]) == "complete"


def test_a_plan_of_one_service_leaves_the_other_alone() -> None:
    cell, cell_plan = completed()
    orders = cell.open(a_plan(service=API))
    assert {o.service for o in orders if isinstance(o, Plan)} == {API}
    assert cell.rollout(WEB).result == "complete"
    assert cell.conducted.settled[WEB].plan_seq == cell_plan.plan.plan_seq
