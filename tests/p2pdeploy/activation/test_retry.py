"""A plan is tried again: who failed starts once more, and nobody else restarts."""

from __future__ import annotations

import pytest

from p2pdeploy.activation.events import Activated, ActivationFailed, Persisted, ServiceBroke
from p2pdeploy.limits import ATTEMPTS_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import (
    NEW,
    WEB,
    a_plan,
    a_word,
    abort_of,
    orders_of,
    retry_of,
)

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq
NAMES = [member.host for member in PLAN.roster.members]
BEFORE = ("h1", "h4", "h2", "h5")  # the two fault domains before that of h3


def failed() -> Bench:
    """h3 failed under the plan; what ran before runs again."""
    bench = Bench("h3")
    started = bench.begin(PLAN)
    bench.send(
        ActivationFailed(service=WEB, started=started, code="exited", reason="-", restored=True)
    )
    return bench


def all_enter(bench: Bench, attempt: int = 1) -> None:
    """Everybody accepted the attempt; those before h3 are healthy in it."""
    words = [a_word(host, SEQ, Rank.ACCEPTED, attempt=attempt) for host in NAMES]
    words += [a_word(host, SEQ, Rank.HEALTHY, attempt=attempt) for host in BEFORE]
    bench.learn(*words)


def said(bench: Bench) -> tuple[int, int, Rank]:
    return bench.said.plan_seq, bench.said.attempt, bench.said.rank


def test_a_host_that_failed_starts_once_more() -> None:
    bench = failed()
    assert said(bench) == (SEQ, 0, Rank.FAILED)
    bench.learn(retry_of(PLAN))
    assert said(bench) == (SEQ, 1, Rank.STAGED)
    all_enter(bench)
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is not None
    assert (bench.starting.build, bench.starting.attempt) == (NEW, 1)
    bench.persisted()
    bench.send(Activated(service=WEB, started=bench.changes[-1].started))
    assert said(bench) == (SEQ, 1, Rank.HEALTHY)


def test_a_host_that_fails_again_waits_for_another_retry() -> None:
    bench = failed()
    bench.learn(retry_of(PLAN))
    all_enter(bench)
    bench.wait(PLAN.plan.settle_s)
    bench.persisted()
    again = bench.changes[-1].started
    bench.send(
        ActivationFailed(service=WEB, started=again, code="exited", reason="-", restored=True)
    )
    bench.wait(60)
    assert said(bench) == (SEQ, 1, Rank.FAILED)
    assert (bench.starting, len(bench.changes)) == (None, 2)
    bench.learn(retry_of(PLAN, 2))
    assert said(bench) == (SEQ, 2, Rank.STAGED)


def test_without_a_retry_a_host_that_failed_stays_as_it_is() -> None:
    bench = failed()
    all_enter(bench)
    bench.wait(60)
    assert (bench.starting, len(bench.changes)) == (None, 1)


def test_a_healthy_host_says_so_again_without_a_restart() -> None:
    bench = on_new(PLAN)
    bench.learn(retry_of(PLAN))
    assert said(bench) == (SEQ, 1, Rank.HEALTHY)
    assert (bench.starting, len(bench.changes)) == (None, 1)


def test_nothing_starts_before_everybody_left_the_attempt_before() -> None:
    bench = failed()
    bench.learn(retry_of(PLAN))
    all_enter(bench)
    assert bench.why == "settling"
    bench = failed()
    bench.learn(retry_of(PLAN), a_word("h6", SEQ, Rank.STARTED))
    all_but_one = [host for host in NAMES if host != "h6"]
    bench.learn(*(a_word(host, SEQ, Rank.ACCEPTED, attempt=1) for host in all_but_one))
    bench.learn(*(a_word(host, SEQ, Rank.HEALTHY, attempt=1) for host in BEFORE))
    bench.wait(3_600)
    assert (bench.why, bench.starting) == ("interlock", None)


def test_outcomes_of_an_earlier_attempt_finish_nothing_in_this_one() -> None:
    bench = failed()
    bench.learn(retry_of(PLAN))
    bench.learn(*(a_word(h, SEQ, Rank.ACCEPTED, attempt=1) for h in NAMES))
    assert bench.why == "evidence"


def test_the_brakes_count_in_this_attempt() -> None:
    bench = failed()
    assert PLAN.plan.brakes_max == 1
    bench.learn(a_word("h6", SEQ, Rank.FAILED), retry_of(PLAN))
    assert bench.why == "interlock"
    all_enter(bench)
    assert bench.why == "settling"
    bench.learn(a_word("h6", SEQ, Rank.FAILED, attempt=1))
    assert bench.why == "brakes"


def test_a_host_in_the_middle_of_a_change_ends_it_before_it_tries_again() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    bench.learn(retry_of(PLAN))
    assert said(bench) == (SEQ, 0, Rank.STARTED)
    bench.send(Activated(service=WEB, started=started))
    assert said(bench) == (SEQ, 1, Rank.HEALTHY)


def test_a_start_of_the_attempt_before_is_taken_back_at_the_last_look() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    assert bench.starting is not None
    bench.learn(retry_of(PLAN))
    bench.send(Persisted(WEB))
    assert (bench.changes, bench.starting) == ([], None)
    assert said(bench) == (SEQ, 1, Rank.STAGED)


def test_a_host_that_accepted_an_attempt_begins_nothing_older_after_a_restart() -> None:
    before = failed()
    before.learn(retry_of(PLAN))
    bench = Bench("h3", records=[before.record])
    bench.learn(*orders_of(PLAN))
    bench.stage(NEW)
    assert said(bench) == (SEQ, 1, Rank.STAGED)


def test_a_service_that_broke_is_started_again() -> None:
    bench = on_new(PLAN)
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    assert said(bench) == (SEQ, 0, Rank.REGRESSED)
    bench.learn(retry_of(PLAN))
    all_enter(bench)
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is not None
    assert bench.starting.build == NEW


@pytest.mark.parametrize("attempt", [ATTEMPTS_MAX + 1, 2**62])
def test_a_plan_is_not_tried_for_ever(attempt: int) -> None:
    bench = failed()
    bench.learn(retry_of(PLAN, attempt))
    all_enter(bench, attempt)
    bench.wait(PLAN.plan.settle_s)
    assert (bench.why, bench.starting) == ("outside-rollout", None)


def test_the_retry_of_another_plan_changes_nothing() -> None:
    bench = failed()
    bench.learn(retry_of(a_plan(after=SEQ)))
    all_enter(bench)
    assert said(bench) == (SEQ, 0, Rank.FAILED)


def test_an_aborted_plan_is_not_tried_again() -> None:
    bench = failed()
    bench.learn(abort_of(PLAN), retry_of(PLAN))
    all_enter(bench)
    bench.wait(PLAN.plan.settle_s)
    assert (bench.starting, len(bench.changes)) == (None, 1)
