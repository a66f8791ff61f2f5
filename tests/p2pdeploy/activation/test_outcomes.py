"""How a change ends, what survives a restart, and what is said about it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.activation.effects import Attest, Change, Keep, Persist, Run
from p2pdeploy.activation.events import (
    INTERRUPTED,
    Activated,
    ActivationFailed,
    Progressed,
    ServiceBroke,
    ServiceRan,
    StagingFailed,
)
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.messages.attestation import REASON_CHARS_MAX, Rank
from p2pdeploy.messages.orders import Build
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_plan, abort_of, orders_of

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq


def failed(
    started: Started, *, code: str = "exited", restored: bool = True, reason: str = "exited with 1"
) -> ActivationFailed:
    return ActivationFailed(
        service=WEB, started=started, code=code, reason=reason, restored=restored
    )


def begun_record(*, build: Build | None = NEW, previous: Build | None = OLD) -> ServiceRecord:
    """What is on disk of a host whose daemon died after STARTED."""
    started = Started(
        plan_seq=SEQ, build=build, previous=previous, bake_s=0.0, activation_max_s=60.0
    )
    return ServiceRecord(service=WEB, accepted_seq=SEQ, running=previous, started=started)


def test_a_change_that_worked_is_attested_healthy_with_what_runs() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    assert bench.said.rank is Rank.STARTED
    bench.send(Activated(service=WEB, started=started, port=8080))
    word = bench.said
    assert (word.rank, word.digest, word.port) == (Rank.HEALTHY, NEW.digest, 8080)
    assert bench.record.running == NEW
    assert bench.record.previous == OLD
    assert bench.starting is None


def test_the_outcome_is_persisted_before_it_is_attested() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    effects = bench.send(Activated(service=WEB, started=started))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Attest)


def test_a_change_that_failed_leaves_the_old_build_healthy() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    bench.send(failed(started))
    word = bench.said
    assert (word.rank, word.state, word.digest) == (Rank.FAILED, "healthy", OLD.digest)
    assert (word.reason_code, word.reason) == ("exited", "exited with 1")
    assert bench.record.running == OLD
    assert bench.runs[-1] == Run(WEB, OLD)


def test_a_failed_first_install_ends_absent() -> None:
    bench = Bench("h3", running=None)
    started = bench.begin(a_plan(baseline=None))
    bench.send(failed(started))
    assert (bench.said.rank, bench.said.state, bench.said.digest) == (Rank.FAILED, "absent", "")
    assert bench.record.running is None
    assert bench.runs[-1] == Run(WEB, None)


def test_a_failed_host_does_not_try_the_plan_again() -> None:
    bench = Bench("h3")
    bench.send(failed(bench.begin(PLAN)))
    bench.ready(PLAN)
    assert bench.starting is None
    assert len(bench.changes) == 1


def test_a_long_reason_is_cut_to_what_an_attestation_takes() -> None:
    bench = Bench("h3")
    bench.send(failed(bench.begin(PLAN), reason="x" * 10_000))
    assert len(bench.said.reason) == REASON_CHARS_MAX


def test_an_answer_to_another_change_is_ignored() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    other = begun_record(build=OLD).started
    assert other is not None
    bench.send(Activated(service=WEB, started=other))
    assert bench.starting == started


def test_progress_is_told_and_a_host_going_back_shows_the_old_build() -> None:
    bench = Bench("h3")
    bench.begin(PLAN)
    bench.send(Progressed(service=WEB, state="baking", port=81))
    assert (bench.said.state, bench.said.digest) == ("baking", NEW.digest)
    bench.send(Progressed(service=WEB, state="rolling-back"))
    assert (bench.said.state, bench.said.digest) == ("rolling-back", OLD.digest)


def test_the_way_back_and_what_is_on_its_way_stay_on_disk() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    keep = next(effect for effect in reversed(bench.log) if isinstance(effect, Keep))
    assert {OLD.digest, NEW.digest} <= keep.digests


def test_a_host_that_runs_the_build_already_attests_healthy_without_a_change() -> None:
    bench = Bench("h3", running=NEW)
    bench.learn(*orders_of(PLAN))
    assert (bench.said.plan_seq, bench.said.rank) == (SEQ, Rank.HEALTHY)
    bench.ready(PLAN)
    assert bench.changes == []


def test_nothing_is_said_twice() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    before = len(bench.log)
    bench.learn(*orders_of(PLAN))
    assert not any(isinstance(effect, Attest | Persist) for effect in bench.log[before:])


def test_a_build_is_staged_once_and_a_failure_to_stage_is_told() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    bench.wait(1)
    assert [stage.build for stage in bench.stages] == [NEW]
    bench.send(StagingFailed(service=WEB, digest=NEW.digest, code="disk-full", reason="no room"))
    assert bench.why == "disk-full"
    assert (bench.said.reason_code, bench.said.reason) == ("disk-full", "no room")
    assert bench.record.outcome is Rank.NONE
    bench.stage()
    assert (bench.said.rank, bench.said.reason_code) == (Rank.STAGED, "")


# -- after a restart --------------------------------------------------------------------------


def test_a_change_cut_short_is_resumed_and_never_started_anew() -> None:
    bench = Bench("h3", records=[begun_record()])
    assert [(change.resume, change.started.build) for change in bench.changes] == [(True, NEW)]
    assert bench.said.rank is Rank.STARTED
    bench.ready(PLAN)
    assert len(bench.changes) == 1


def test_an_interrupted_change_is_no_failure_of_the_build() -> None:
    bench = Bench("h3", records=[begun_record()])
    bench.send(failed(bench.changes[0].started, code=INTERRUPTED))
    assert bench.record.outcome is Rank.NONE
    assert bench.record.running == OLD
    bench.ready(PLAN)
    assert bench.starting is not None
    assert not bench.changes[1:]


def test_an_interrupted_change_that_could_not_be_undone_is_a_failure() -> None:
    bench = Bench("h3", records=[begun_record()])
    bench.send(failed(bench.changes[0].started, code=INTERRUPTED, restored=False))
    assert (bench.said.rank, bench.said.state) == (Rank.FAILED, "failed")


def test_a_resumed_change_that_was_finished_counts() -> None:
    bench = Bench("h3", records=[begun_record()])
    bench.send(Activated(service=WEB, started=bench.changes[0].started))
    assert (bench.said.rank, bench.said.digest) == (Rank.HEALTHY, NEW.digest)


def test_a_restart_forgets_neither_failure_nor_abort_nor_acceptance() -> None:
    bench = Bench("h3")
    bench.send(failed(bench.begin(PLAN)))
    bench.learn(abort_of(a_plan(after=0)))
    after = Bench("h3", records=bench.core.records())
    assert after.said.rank is Rank.FAILED
    assert after.record == bench.record
    after.ready(PLAN)
    assert after.changes == []


def test_what_was_healthy_runs_again_at_boot_before_any_order_counts() -> None:
    record = ServiceRecord(service=WEB, accepted_seq=2, running=OLD)
    bench = Bench("h3", running=None, records=[record])
    assert bench.runs == [Run(WEB, OLD)]
    bench.ready(PLAN)
    assert bench.why == "booting"
    assert not any(isinstance(effect, Attest) for effect in bench.log)
    bench.send(ServiceRan(service=WEB))
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is not None


# -- after it was healthy ---------------------------------------------------------------------


def test_a_service_that_breaks_after_it_was_healthy_has_regressed() -> None:
    bench = on_new(PLAN)
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="5 exits in 60 s"))
    assert (bench.said.rank, bench.said.state) == (Rank.REGRESSED, "failed")
    assert bench.record.outcome is Rank.REGRESSED


def test_a_regression_stays_one_when_the_service_runs_again() -> None:
    bench = on_new(PLAN)
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    bench.send(ServiceRan(service=WEB))
    assert (bench.said.rank, bench.said.state) == (Rank.REGRESSED, "healthy")


def test_a_failed_host_whose_old_build_breaks_stays_failed() -> None:
    bench = Bench("h3")
    bench.send(failed(bench.begin(PLAN)))
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    assert bench.said.rank is Rank.FAILED


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(["broke", "ran", "staged", "wait", "persisted"]), max_size=12))
def test_what_happens_outside_a_change_never_starts_one(happenings: list[str]) -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    for happening in happenings:
        match happening:
            case "broke":
                bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
            case "ran":
                bench.send(ServiceRan(service=WEB))
            case "staged":
                bench.stage()
            case "wait":
                bench.wait(60)
            case _:
                bench.persisted()
    assert bench.starting is None
    assert not any(isinstance(effect, Change) for effect in bench.log)


@pytest.mark.parametrize("rank", [Rank.HEALTHY, Rank.FAILED])
def test_under_one_plan_the_rank_only_rises(rank: Rank) -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    done = Activated(service=WEB, started=started)
    bench.send(done if rank is Rank.HEALTHY else failed(started))
    ranks = [e.attestation.rank for e in bench.log if isinstance(e, Attest)]
    mine = [r for r in ranks if r is not Rank.NONE]
    assert mine == sorted(mine)
    assert mine[-1] is rank
