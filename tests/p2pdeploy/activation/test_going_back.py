"""The way back of an aborted plan, and hosts that come late."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.activation.events import Activated, ActivationFailed, ServiceBroke, Staged
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.ids import CellId, HostName, ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Grant
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import (
    EPOCH_S,
    NEW,
    OLD,
    WEB,
    a_build,
    a_go,
    a_plan,
    a_settled,
    a_word,
    abort_of,
    activate,
    name_to_go_back,
    orders_of,
    rollout_of,
)

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq
BACK_SEQ = SEQ + 1
APPROVAL = rollout_of(PLAN)


def on_aborted() -> Bench:
    """A host that took the new build under PLAN; the plan was aborted since."""
    bench = on_new(PLAN)
    bench.learn(abort_of(PLAN))
    bench.stage(OLD)
    return bench


def converge(plan_seq: int, *hosts: str) -> Grant:
    names = tuple(HostName(host) for host in hosts)
    return Grant(service=WEB, plan_seq=plan_seq, phase="converge", hosts=names)


def test_a_host_on_the_baseline_attests_healthy_at_once() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN), abort_of(PLAN))
    assert (bench.said.plan_seq, bench.said.rank) == (BACK_SEQ, Rank.HEALTHY)
    assert bench.changes == []


def test_a_healthy_host_goes_back_only_when_it_is_named() -> None:
    bench = on_aborted()
    assert (bench.said.plan_seq, bench.said.rank) == (BACK_SEQ, Rank.STAGED)
    bench.learn(a_go(name_to_go_back(PLAN, "h1"), lease_seq=2, issued_at=bench.wall_s))
    assert bench.why == "not-named"
    bench.learn(a_go(name_to_go_back(PLAN, "h1", "h3"), lease_seq=3, issued_at=bench.wall_s))
    assert bench.starting is not None
    assert (bench.starting.build, bench.starting.plan_seq) == (OLD, BACK_SEQ)
    assert bench.starting.bake_s == 0.0


def test_a_grant_to_activate_does_not_let_anybody_go_back() -> None:
    bench = on_aborted()
    grant = msgspec.structs.replace(activate(PLAN), plan_seq=BACK_SEQ)
    bench.learn(a_go(grant, lease_seq=2, issued_at=bench.wall_s))
    assert bench.starting is None


def test_a_broken_host_goes_back_at_once_without_a_go() -> None:
    bench = on_aborted()
    bench.wait(3_600)
    assert bench.starting is None
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    assert bench.starting is not None
    assert len(bench.persisted()) > 0
    assert bench.changes[-1].started.build == OLD


def test_a_host_in_the_middle_of_the_plan_finishes_before_it_goes_back() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    bench.learn(abort_of(PLAN), a_go(name_to_go_back(PLAN, "h3"), lease_seq=2))
    assert bench.starting == started
    bench.stage(OLD)
    bench.send(Activated(service=WEB, started=started))
    assert bench.starting is not None
    assert bench.starting.plan_seq == BACK_SEQ


def test_a_host_that_failed_and_was_restored_is_back_already() -> None:
    bench = Bench("h3")
    started = bench.begin(PLAN)
    bench.send(
        ActivationFailed(service=WEB, started=started, code="exited", reason="-", restored=True)
    )
    bench.learn(abort_of(PLAN))
    assert (bench.said.plan_seq, bench.said.rank) == (BACK_SEQ, Rank.HEALTHY)
    assert len(bench.changes) == 1


def test_a_host_whose_baseline_is_broken_says_so() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    bench.learn(abort_of(PLAN))
    assert (bench.said.plan_seq, bench.said.rank) == (BACK_SEQ, Rank.FAILED)


def test_an_aborted_build_that_is_gone_at_boot_goes_back_without_a_go() -> None:
    bench = Bench("h3", records=[on_aborted().record])
    bench.learn(*orders_of(PLAN), abort_of(PLAN))
    bench.send(ServiceBroke(service=WEB, code="aborted", reason="does not run"))
    bench.stage(OLD)
    bench.persisted()
    assert bench.changes[-1].started.build == OLD


def test_without_a_baseline_going_back_means_to_stop() -> None:
    cell_plan = a_plan(baseline=None)
    bench = Bench("h3", running=None)
    bench.send(Activated(service=WEB, started=bench.begin(cell_plan)))
    bench.learn(abort_of(cell_plan))
    bench.learn(a_go(name_to_go_back(cell_plan, "h3"), lease_seq=2, issued_at=bench.wall_s))
    assert bench.starting is not None
    assert bench.starting.build is None


def test_a_revert_counts_only_once_its_plan_is_aborted() -> None:
    bench = on_new(PLAN)
    bench.stage(OLD)
    bench.learn(a_go(name_to_go_back(PLAN, "h3"), lease_seq=2, issued_at=bench.wall_s))
    assert bench.starting is None
    assert bench.said.plan_seq == SEQ


def test_a_new_plan_ends_the_way_back() -> None:
    bench = on_aborted()
    third = a_plan(build=a_build("3"), after=BACK_SEQ)
    bench.learn(*orders_of(third))
    bench.learn(a_go(name_to_go_back(PLAN, "h3"), lease_seq=9, issued_at=bench.wall_s))
    assert bench.starting is None
    assert bench.record.accepted_seq == third.plan.plan_seq


def test_a_host_outside_the_roster_takes_no_part_in_going_back() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(*orders_of(PLAN), abort_of(PLAN))
    assert bench.why == "not-in-roster"
    assert (bench.stages, bench.starting) == ([], None)


def test_a_host_that_had_nothing_before_goes_back_to_nothing() -> None:
    bare = (HostName("h3"),)
    approval = msgspec.structs.replace(APPROVAL, bare=bare)
    revert = msgspec.structs.replace(PLAN.revert, bare=bare)
    bench = Bench("h3", running=None, records=[])
    bench.learn(approval, PLAN.roster, PLAN.plan, revert, abort_of(PLAN))
    assert (bench.said.plan_seq, bench.said.rank) == (BACK_SEQ, Rank.HEALTHY)
    assert (bench.starting, bench.record.running) == (None, None)


def test_nothing_settles_on_a_host_that_is_to_stay_bare() -> None:
    bare = (HostName("h9"),)
    settled = msgspec.structs.replace(a_settled(OLD, BACK_SEQ), bare=bare)
    bench = Bench("h9", running=None, records=[])
    bench.learn(msgspec.structs.replace(APPROVAL, bare=bare), settled)
    assert (bench.said.plan_seq, bench.said.rank) == (BACK_SEQ, Rank.HEALTHY)
    assert (bench.stages, bench.starting) == ([], None)


# -- coming late ------------------------------------------------------------------------------


def test_a_host_that_runs_nothing_installs_what_settled_on_settled_alone() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(NEW, SEQ))
    bench.stage(NEW)
    assert bench.starting is not None
    assert (bench.starting.build, bench.starting.plan_seq) == (NEW, SEQ)


def test_a_late_host_that_runs_another_build_waits_until_it_is_named() -> None:
    bench = Bench("h9")
    bench.learn(APPROVAL, a_settled(NEW, SEQ))
    bench.stage(NEW)
    assert bench.why == "no-go"
    bench.learn(a_go(converge(SEQ, "h8")))
    assert bench.why == "not-named"
    bench.learn(a_go(converge(SEQ, "h8", "h9"), lease_seq=2))
    assert bench.starting is not None


@pytest.mark.parametrize("late_s", [24 * 3600.0, 48 * 3600.0])
def test_an_expired_settled_starts_nothing(late_s: float) -> None:
    bench = Bench("h9", running=None, records=[])
    bench.wait(late_s)
    bench.learn(APPROVAL, a_settled(NEW, SEQ, issued_at=EPOCH_S))
    assert bench.why == "settled-expired"
    assert bench.stages == []


def test_a_late_host_with_an_unsynchronised_clock_waits() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.synchronised = False
    bench.learn(APPROVAL, a_settled(NEW, SEQ))
    bench.stage(NEW)
    assert bench.why == "clock-unsynchronised"


def test_settled_concerns_only_the_hosts_it_lists() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(NEW, SEQ, hosts=("h1",)))
    assert bench.stages == []
    assert bench.record.accepted_seq == 0


def test_a_late_host_never_runs_ahead_of_a_plan_under_way() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(OLD, SEQ - 1), *orders_of(PLAN), a_go(activate(PLAN)))
    bench.stage(OLD)
    bench.stage(NEW)
    assert bench.why == "not-in-roster"
    assert bench.starting is None


def test_nobody_starts_what_settled_under_an_abort() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(NEW, SEQ), abort_of(PLAN))
    bench.stage(NEW)
    assert bench.starting is None


def test_a_late_host_that_failed_does_not_try_for_ever() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(NEW, SEQ))
    bench.stage(NEW)
    bench.persisted()
    bench.send(
        ActivationFailed(
            service=WEB, started=bench.changes[0].started, code="exited", reason="-", restored=True
        )
    )
    bench.learn(APPROVAL, a_settled(NEW, SEQ, issued_at=EPOCH_S + 3_600))
    bench.wait(60)
    assert bench.starting is None
    assert bench.said.rank is Rank.FAILED


# -- two services, other cells, bounds --------------------------------------------------------

API = ServiceName("api")


def test_a_host_changes_one_service_at_a_time() -> None:
    bench = Bench("h3")
    api_plan = a_plan(service=API, baseline=None)
    api_words = [
        msgspec.structs.replace(a_word(m.host, SEQ, rank), service=API)
        for m in api_plan.roster.members
        for rank in (Rank.ACCEPTED, Rank.HEALTHY)
        if m.host not in ("h3", "h6") or rank is Rank.ACCEPTED
    ]
    started = bench.begin(PLAN)
    bench.learn(*orders_of(api_plan), *api_words)
    bench.send(Staged(service=API, digest=NEW.digest))
    bench.learn(a_go(activate(PLAN), activate(api_plan), lease_seq=2, issued_at=bench.wall_s))
    bench.wait(api_plan.plan.settle_s)
    hold = bench.core.why(API)
    assert hold is not None
    assert hold.code == "host-busy"
    bench.send(Activated(service=WEB, started=started))
    api = next(record for record in bench.core.records() if record.service == API)
    assert api.started is not None


def test_messages_of_another_cell_change_nothing() -> None:
    bench = Bench("h3")
    before = bench.core.records()
    foreign = CellId("lab.web.c1")
    for message in (PLAN.roster, PLAN.plan, PLAN.revert, abort_of(PLAN), a_settled(NEW, 99)):
        assert bench.learn(msgspec.structs.replace(message, cell=foreign)) == []
    word = msgspec.structs.replace(a_word("h1", SEQ, Rank.HEALTHY), cell=foreign)
    assert bench.learn(word) == []
    assert bench.core.records() == before


def test_services_beyond_the_limit_are_ignored() -> None:
    bench = Bench("h3")
    for number in range(SERVICES_PER_HOST_MAX + 10):
        service = ServiceName(f"s{number}")
        bench.learn(msgspec.structs.replace(rollout_of(PLAN), service=service))
    assert len(bench.core.records()) == SERVICES_PER_HOST_MAX
    bench.ready(PLAN)
    assert bench.starting is not None


def test_records_of_several_services_are_each_taken_up_at_boot() -> None:
    records = [
        ServiceRecord(service=WEB, running=OLD),
        ServiceRecord(service=API, running=NEW),
    ]
    bench = Bench("h3", records=records)
    assert {(run.service, run.build) for run in bench.runs} == {(WEB, OLD), (API, NEW)}
