"""An aborted build may stay while it runs, and is never started again."""

from __future__ import annotations

from p2pdeploy.activation.events import Activated, ActivationFailed
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Build
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import (
    NEW,
    OLD,
    WEB,
    a_go,
    a_plan,
    a_settled,
    abort_of,
    an_abort,
    name_to_go_back,
    orders_of,
    rollout_of,
)

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq
LATER = an_abort(SEQ + 2)
"""The ABORT of the plan after PLAN, which takes the place of PLAN's own."""


def aborted() -> Bench:
    """The plan was aborted since."""
    bench = on_new(PLAN)
    bench.learn(abort_of(PLAN))
    return bench


def last_run(bench: Bench) -> tuple[Build | None, bool]:
    return bench.runs[-1].build, bench.runs[-1].start


def test_an_aborted_build_stays_while_it_runs_and_is_not_started_again() -> None:
    assert last_run(on_new(PLAN)) == (NEW, True)
    assert last_run(aborted()) == (NEW, False)


def test_at_boot_an_aborted_build_is_adopted_and_not_started() -> None:
    assert last_run(Bench("h3", records=[aborted().record])) == (NEW, False)


def test_at_boot_the_build_from_before_an_aborted_plan_is_started() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN), abort_of(PLAN))
    assert last_run(Bench("h3", records=[bench.record])) == (OLD, True)


def test_a_later_abort_does_not_make_an_aborted_build_startable() -> None:
    bench = aborted()
    bench.learn(LATER)
    assert last_run(bench) == (NEW, False)


def test_a_host_that_missed_the_abort_of_its_build_knows_it_by_the_next_one() -> None:
    bench = on_new(PLAN)
    bench.learn(LATER, a_settled(OLD, SEQ + 3))
    assert last_run(bench) == (NEW, False)


def test_an_abort_is_not_about_what_had_settled_before() -> None:
    bench = on_new(PLAN)
    bench.learn(a_settled(NEW, SEQ), LATER)
    assert last_run(bench) == (NEW, True)
    assert last_run(Bench("h3", records=[bench.record])) == (NEW, True)


def test_an_abort_is_not_about_what_the_way_back_leads_to() -> None:
    bench = Bench("h3", records=[ServiceRecord(service=WEB, running=OLD, running_seq=SEQ - 2)])
    bench.learn(abort_of(PLAN))
    assert last_run(bench) == (OLD, False), "it may be what was aborted"
    bench.learn(*orders_of(PLAN))
    assert last_run(bench) == (OLD, True)


def test_what_settled_before_the_build_came_says_nothing_about_it() -> None:
    bench = on_new(PLAN)
    bench.learn(a_settled(NEW, SEQ - 2), abort_of(PLAN))
    assert last_run(bench) == (NEW, False)


def test_an_aborted_build_that_is_approved_again_may_start_again() -> None:
    bench = aborted()
    again = a_plan(baseline=OLD, after=SEQ + 1)
    bench.learn(*orders_of(again))
    assert (bench.said.plan_seq, bench.said.rank) == (again.plan.plan_seq, Rank.HEALTHY)
    assert last_run(bench) == (NEW, True)


def test_an_aborted_build_is_not_put_back_when_the_way_back_fails() -> None:
    bench = aborted()
    bench.stage(OLD)
    bench.learn(a_go(name_to_go_back(PLAN, "h3"), lease_seq=2, issued_at=bench.wall_s))
    started = bench.starting
    assert started is not None
    assert (started.build, started.previous) == (OLD, None)
    bench.persisted()
    bench.send(
        ActivationFailed(service=WEB, started=started, code="exited", reason="-", restored=True)
    )
    assert (bench.runs[-1].build, bench.record.running) == (None, None)
    assert (bench.said.plan_seq, bench.said.rank) == (SEQ + 1, Rank.FAILED)


def test_a_build_whose_plan_is_aborted_in_the_middle_is_not_started_once_it_is_healthy() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    bench.learn(abort_of(PLAN))
    bench.send(Activated(service=WEB, started=started))
    assert last_run(bench) == (NEW, False)


def test_a_late_host_that_took_what_settled_may_start_it_whatever_is_aborted_later() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(rollout_of(PLAN), a_settled(NEW, SEQ))
    bench.stage(NEW)
    started = bench.starting
    assert started is not None
    bench.persisted()
    bench.send(Activated(service=WEB, started=started))
    bench.learn(LATER)
    assert last_run(bench) == (NEW, True)
