"""When a host may start a PLAN: each rule alone keeps it from starting."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.activation.effects import Change, Persist
from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Excuse, Plan, Rollout, Target
from p2pdeploy.planning.planner import Limits
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import (
    CELL,
    NEW,
    OLD,
    WEB,
    a_go,
    a_plan,
    a_word,
    abort_of,
    activate,
    orders_of,
    rollout_of,
)

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq
# Each of its fault domains tolerates a failed, or an excused, host.
LENIENT = a_plan(limits=Limits(failure_fraction_max=0.5))


def excuse_of(*hosts: str, plan_seq: int = SEQ) -> Excuse:
    names = tuple(HostName(host) for host in hosts)
    return Excuse(
        cell=CELL, service=WEB, plan_seq=plan_seq, excuse_seq=len(hosts), hosts=names, reason="-"
    )


def test_a_host_starts_when_every_rule_holds() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    assert bench.starting is not None
    assert (bench.starting.build, bench.starting.previous) == (NEW, OLD)
    assert bench.starting.bake_s == PLAN.plan.bake_s


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("orders", ""),
        ("stage", "fetching"),
        ("alive", "live-guard"),
        ("accepted", "interlock"),
        ("evidence", "evidence"),
        ("settle", "settling"),
        ("go", "no-go"),
    ],
)
def test_nothing_starts_while_one_condition_is_missing(missing: str, why: str) -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but=missing, quiet_in_s=100.0)
    assert bench.why == why
    assert bench.starting is None
    assert bench.changes == []


def test_started_is_persisted_before_the_change_and_waits_for_the_answer() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    last = bench.persists[-1]
    assert last.confirm
    assert last.record.started is not None
    assert bench.changes == []
    effects = bench.persisted()
    assert [e.started for e in effects if isinstance(e, Change)] == [last.record.started]


def test_accepted_is_persisted_before_it_is_attested() -> None:
    bench = Bench("h3")
    effects = bench.learn(*orders_of(PLAN))
    persist = next(e for e in effects if isinstance(e, Persist) and e.record.accepted_seq == SEQ)
    assert (bench.said.plan_seq, bench.said.rank) == (SEQ, Rank.ACCEPTED)
    assert effects.index(persist) < len(effects) - 1


# -- 1. the order itself ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "exceeds",
    [
        {"max_unavailable": PLAN.plan.max_unavailable - 1},
        {"failure_fraction_max": -0.1},
        {"build": OLD},
        {"rollout_id": "another"},
        {"expires_at": PLAN.plan.expires_at - 1},
        {"target": Target(hosts=(HostName("h1"), HostName("h2")))},
        {"target": Target(environment="prod", machine_function="web")},
    ],
)
def test_a_plan_outside_its_rollout_is_refused(exceeds: dict[str, object]) -> None:
    bench = Bench("h3")
    rollout = msgspec.structs.replace(rollout_of(PLAN), **exceeds)
    for message in (rollout, PLAN.roster, PLAN.plan):
        bench.learn(message)
    assert bench.why in ("outside-rollout", "rollout-unknown")
    assert bench.record.accepted_seq < SEQ


def test_a_plan_whose_batches_exceed_its_own_budget_is_refused() -> None:
    cell_plan = a_plan(limits=Limits(max_unavailable=1))
    first = msgspec.structs.replace(cell_plan.plan.fault_domains[0], batches=(2,))
    plan = msgspec.structs.replace(
        cell_plan.plan, fault_domains=(first, *cell_plan.plan.fault_domains[1:])
    )
    bench = Bench("h3")
    bench.learn(rollout_of(cell_plan), cell_plan.roster, plan)
    assert bench.why == "outside-rollout"


def test_a_plan_waits_for_the_very_roster_it_names() -> None:
    bench = Bench("h3")
    other = msgspec.structs.replace(PLAN.roster, members=PLAN.roster.members[:-1])
    bench.learn(rollout_of(PLAN), other, PLAN.plan)
    assert bench.why == "roster-unknown"


def test_a_host_outside_the_roster_does_not_take_part() -> None:
    bench = Bench("h3")
    cell_plan = a_plan(absent=["h3"])
    bench.ready(cell_plan)
    assert bench.why == "not-in-roster"
    assert bench.record.accepted_seq < SEQ


def test_an_expired_plan_is_not_accepted() -> None:
    bench = Bench("h3")
    bench.wait(PLAN.plan.expires_at - bench.wall_s)
    bench.learn(*orders_of(PLAN))
    assert bench.why == "plan-expired"


def test_an_aborted_plan_never_starts() -> None:
    bench = Bench("h3")
    bench.learn(abort_of(PLAN))
    bench.ready(PLAN)
    assert bench.starting is None
    assert bench.record.watermark == SEQ


def test_an_older_plan_is_ignored_after_a_newer_one() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(a_plan(after=SEQ)))
    accepted = bench.record.accepted_seq
    bench.ready(PLAN)
    assert accepted > SEQ
    assert bench.record.accepted_seq == accepted
    assert bench.starting is None


# -- 2. no two plans in flight ----------------------------------------------------------------


def test_time_replaces_acceptance_only_after_the_predecessor_is_quiet() -> None:
    bench = Bench("h1")
    bench.ready(PLAN, but="accepted", quiet_in_s=PLAN.plan.settle_s + 10)
    assert bench.why == "interlock"
    bench.wait(10 + PLAN.plan.clock_error_s)
    assert bench.why == "interlock"
    bench.wait(0.02)
    assert bench.why == "settling"


def test_the_interlock_wakes_itself_when_its_time_has_come() -> None:
    bench = Bench("h1")
    bench.ready(PLAN, but="accepted", quiet_in_s=PLAN.plan.settle_s + 10)
    at = bench.wakes[-1].at_boot_s
    assert bench.boot_s + 11 < at < bench.boot_s + 11.1


def test_an_excused_host_need_not_have_accepted() -> None:
    bench = Bench("h1")
    bench.ready(LENIENT, but="accepted", quiet_in_s=100.0)
    others = [m.host for m in LENIENT.roster.members if m.host not in ("h1", "h6")]
    bench.learn(*(a_word(host, SEQ, Rank.ACCEPTED) for host in others))
    assert bench.why == "interlock"
    bench.learn(a_word("h1", SEQ, Rank.ACCEPTED), excuse_of("h6"))
    assert bench.why == "settling"


def test_a_word_on_an_older_plan_is_no_acceptance() -> None:
    bench = Bench("h1")
    bench.ready(PLAN, but="accepted", quiet_in_s=100.0)
    bench.learn(*(a_word(m.host, SEQ - 2, Rank.HEALTHY) for m in PLAN.roster.members))
    assert bench.why == "interlock"


# -- 3. evidence ------------------------------------------------------------------------------


def test_the_first_host_needs_no_evidence() -> None:
    bench = Bench("h1")
    bench.ready(PLAN, but="evidence")
    assert bench.starting is not None


def test_the_second_batch_of_a_fault_domain_waits_for_the_first() -> None:
    bench = Bench("h4")
    bench.ready(PLAN, but="evidence")
    assert bench.why == "evidence"
    bench.learn(a_word("h1", SEQ, Rank.HEALTHY))
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is not None


def test_enough_healthy_hosts_do_not_do_while_one_has_no_outcome() -> None:
    cell_plan = a_plan(hosts=30, limits=Limits(failure_fraction_max=0.1))
    assert cell_plan.plan.fault_domains[0].failures_max == 1
    bench = Bench("h2")
    bench.ready(cell_plan, but="evidence")
    first = [m.host for m in cell_plan.roster.members if m.fault_domain == 0]
    bench.learn(*(a_word(host, SEQ, Rank.HEALTHY) for host in first[:-1]))
    bench.learn(a_word(first[-1], SEQ, Rank.STARTED))
    assert bench.why == "evidence"
    bench.learn(a_word(first[-1], SEQ, Rank.FAILED))
    assert bench.why == "settling"


def test_health_under_another_plan_does_not_count() -> None:
    bench = Bench("h4")
    bench.ready(PLAN, but="evidence")
    bench.learn(a_word("h1", SEQ - 2, Rank.HEALTHY))
    assert bench.why == "evidence"


def test_hosts_outside_the_roster_never_count() -> None:
    bench = Bench("h2")
    bench.ready(PLAN, but="evidence")
    bench.learn(*(a_word(f"stranger{n}", SEQ, Rank.HEALTHY) for n in range(20)))
    assert bench.why == "evidence"


def test_an_excused_host_is_not_waited_for() -> None:
    bench = Bench("h2")
    bench.ready(LENIENT, but="evidence")
    bench.learn(a_word("h1", SEQ, Rank.HEALTHY), excuse_of("h4"))
    bench.wait(LENIENT.plan.settle_s)
    assert bench.starting is not None


def test_a_host_that_was_excused_while_it_changes_is_waited_for_all_the_same() -> None:
    bench = Bench("h2")
    bench.ready(LENIENT, but="evidence")
    changing = a_word("h4", SEQ, Rank.STARTED)
    bench.learn(a_word("h1", SEQ, Rank.HEALTHY), changing, excuse_of("h4"))
    bench.wait(LENIENT.plan.settle_s)
    assert (bench.why, bench.starting) == ("live-guard", None)
    bench.learn(a_word("h4", SEQ, Rank.HEALTHY))
    bench.wait(LENIENT.plan.settle_s)
    assert bench.starting is not None


def test_a_fault_domain_is_not_passed_with_nobody_healthy_in_it() -> None:
    cell_plan = a_plan(hosts=3, limits=Limits(failure_fraction_max=0.9))
    bench = Bench("h2")
    bench.ready(cell_plan, but="evidence")
    bench.learn(a_word("h1", SEQ, Rank.FAILED))
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is None


def test_an_excused_host_does_not_start_itself() -> None:
    bench = Bench("h3")
    bench.ready(LENIENT, but="settle")
    bench.learn(excuse_of("h3"))
    bench.wait(LENIENT.plan.settle_s)
    assert bench.why == "excused"


# -- 4. brakes --------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [Rank.FAILED, Rank.REGRESSED])
def test_brakes_stop_hosts_whose_gate_is_open(rank: Rank) -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    bench.learn(a_word("h6", SEQ, rank))
    bench.wait(PLAN.plan.settle_s)
    assert PLAN.plan.brakes_max == 1
    assert bench.why == "brakes"


# -- 5. settle and live guard -----------------------------------------------------------------


def test_the_gate_must_stay_open_for_the_whole_settle_time() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    bench.wait(PLAN.plan.settle_s - 1)
    bench.see("h3", "h6")
    assert bench.why == "live-guard"
    bench.see(*(m.host for m in PLAN.roster.members))
    bench.wait(PLAN.plan.settle_s - 1)
    assert bench.why == "settling"
    bench.wait(1)
    assert bench.starting is not None


def test_settling_asks_to_be_woken_at_its_end() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    assert bench.wakes[-1].at_boot_s == bench.boot_s + PLAN.plan.settle_s


def test_membership_alone_never_opens_a_gate() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="evidence")
    bench.see(*(m.host for m in PLAN.roster.members))
    bench.wait(1_000)
    assert bench.starting is None


# -- whatever the order of arrival ------------------------------------------------------------

_MESSAGES = (
    *orders_of(PLAN),
    a_go(activate(PLAN)),
    *(a_word(m.host, SEQ, Rank.ACCEPTED) for m in PLAN.roster.members),
    *(a_word(host, SEQ, Rank.HEALTHY) for host in ("h1", "h4", "h2", "h5")),
)


@settings(max_examples=60, deadline=None)
@given(st.permutations(_MESSAGES), st.booleans())
def test_orders_in_any_order_of_arrival_give_the_same_decision(
    messages: list[Plan | Rollout], aborted: bool
) -> None:
    bench = Bench("h3")
    bench.see(*(m.host for m in PLAN.roster.members))
    bench.learn(*messages[: len(messages) // 2])
    bench.stage()
    if aborted:
        bench.learn(abort_of(PLAN))
    bench.learn(*messages[len(messages) // 2 :], *messages[:5])  # and some twice
    bench.wait(PLAN.plan.settle_s)
    assert (bench.starting is None) == aborted
    assert bench.record.accepted_seq == (SEQ + 1 if aborted else SEQ)
