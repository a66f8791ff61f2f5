"""The lease and the clock: rule 6, and the last look after STARTED is on disk."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.activation.effects import Attest, Change, Persist, PersistHost
from p2pdeploy.activation.events import Now
from p2pdeploy.activation.lease import ReceivedGo, clock_hold, lease_hold
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import CLOCK_ERROR_S, LEASE_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Go
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import EPOCH_S, a_go, a_plan, abort_of, activate, orders_of

PLAN = a_plan()
SETTLE_S = PLAN.plan.settle_s


def test_a_lease_ends_clock_error_before_its_absolute_end() -> None:
    go = ReceivedGo(a_go(activate(PLAN)), 0.0)

    def why(wall_s: float) -> str:
        hold = lease_hold(go, Now(0.0, wall_s), lease_s=LEASE_S, clock_error_s=CLOCK_ERROR_S)
        return hold.code if hold else ""

    assert why(EPOCH_S + LEASE_S - CLOCK_ERROR_S - 0.001) == ""
    assert why(EPOCH_S + LEASE_S - CLOCK_ERROR_S) == "lease-expired"


def test_a_lease_that_comes_late_is_not_extended_by_the_delay() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    bench.learn(a_go(activate(PLAN), issued_at=bench.wall_s - LEASE_S))
    bench.wait(SETTLE_S)
    assert bench.why == "lease-expired"


def test_a_wall_clock_that_stands_still_does_not_extend_the_lease() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    bench.boot_s += LEASE_S
    bench.wait(0)
    assert bench.why == "lease-old"
    assert bench.starting is None


def test_the_same_go_heard_again_does_not_start_its_age_anew() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    bench.boot_s += LEASE_S
    bench.learn(a_go(activate(PLAN)))
    assert bench.why == "lease-old"


def test_a_renewal_lets_the_start_happen() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    bench.boot_s += LEASE_S
    bench.wall_s += LEASE_S
    bench.learn(a_go(activate(PLAN), lease_seq=2, issued_at=bench.wall_s))
    assert bench.starting is not None


def test_an_older_go_never_replaces_a_newer_one() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    bench.learn(a_go(lease_seq=5, issued_at=bench.wall_s))
    bench.learn(a_go(activate(PLAN), lease_seq=4, issued_at=bench.wall_s))
    assert bench.starting is None


def test_a_go_that_leaves_this_host_out_lets_it_start_nothing() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    grant = msgspec.structs.replace(activate(PLAN), without=(HostName("h3"),))
    bench.learn(a_go(grant, issued_at=bench.wall_s))
    bench.wait(SETTLE_S)
    assert (bench.starting, bench.why) == (None, "left-out")
    bench.learn(a_go(activate(PLAN), lease_seq=2, issued_at=bench.wall_s))
    assert bench.starting is not None


def test_a_go_that_leaves_another_host_out_lets_this_one_start() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    grant = msgspec.structs.replace(activate(PLAN), without=(HostName("h2"),))
    bench.learn(a_go(grant, issued_at=bench.wall_s))
    bench.wait(SETTLE_S)
    assert bench.starting is not None


def test_a_go_of_another_cell_changes_nothing() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    foreign = Go(
        cell=CellId("lab.web.c1"),
        lease_seq=9,
        issued_at=bench.wall_s,
        not_after=bench.wall_s + LEASE_S,
        grants=(activate(PLAN),),
    )
    bench.learn(foreign)
    assert bench.starting is None


def test_a_go_that_does_not_reach_this_fault_domain_is_none() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    bench.learn(a_go(activate(PLAN, up_to=1), issued_at=bench.wall_s))
    bench.wait(SETTLE_S)
    assert bench.why == "not-yet"


def test_a_go_without_the_plan_pauses_it() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    bench.learn(a_go(lease_seq=2, issued_at=bench.wall_s))
    bench.wait(SETTLE_S)
    assert bench.starting is None


def test_nothing_starts_while_the_clock_is_unsynchronised() -> None:
    bench = Bench("h3")
    bench.synchronised = False
    bench.ready(PLAN)
    assert bench.why == "clock-unsynchronised"
    bench.synchronised = True
    bench.wait(0)
    assert bench.starting is not None


def test_nothing_starts_while_the_clock_is_behind_a_signed_time() -> None:
    bench = Bench("h3", time_floor=EPOCH_S + 3_600)
    bench.ready(PLAN)
    assert bench.why == "clock-behind"


def test_the_time_floor_is_persisted_when_a_newer_signed_time_arrives() -> None:
    bench = Bench("h3")
    effects = bench.learn(a_go(activate(PLAN)))
    assert [e.record.time_floor for e in effects if isinstance(e, PersistHost)] == [EPOCH_S]
    assert not any(isinstance(e, PersistHost) for e in bench.learn(a_go(lease_seq=2)))


@pytest.mark.parametrize("issued_at", [EPOCH_S * 2, float("inf")])
def test_a_signed_time_of_a_thief_does_not_stop_a_host_for_ever(issued_at: float) -> None:
    bench = Bench("h3")
    effects = bench.learn(a_go(activate(PLAN), issued_at=issued_at))
    (kept,) = [e.record.time_floor for e in effects if isinstance(e, PersistHost)]
    assert kept == bench.wall_s + 86_400.0
    bench.ready(PLAN)
    assert bench.why == "clock-behind", "until it starts anew"


def test_a_clock_within_its_error_of_the_floor_counts() -> None:
    now = Now(0.0, EPOCH_S - 0.5)
    assert clock_hold(now, time_floor=EPOCH_S, clock_error_s=1.0) is None
    assert clock_hold(now, time_floor=EPOCH_S + 1, clock_error_s=1.0) is not None


# -- the last look ----------------------------------------------------------------------------


def last_look(bench: Bench) -> tuple[bool, str]:
    """Whether the change begins when STARTED is on disk, and else what takes it back."""
    assert bench.starting is not None
    effects = bench.persisted()
    begun = any(isinstance(effect, Change) for effect in effects)
    if not begun:
        taken_back = next(e for e in effects if isinstance(e, Persist))
        assert taken_back.record.started is None
    return begun, bench.why


def test_an_abort_that_comes_before_the_last_look_takes_the_start_back() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    bench.learn(abort_of(PLAN))
    assert last_look(bench)[0] is False
    assert bench.record.watermark == PLAN.plan.plan_seq


def test_a_start_that_was_taken_back_is_not_attested_as_started() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    bench.learn(abort_of(PLAN))
    bench.persisted()
    words = [e.attestation for e in bench.log if isinstance(e, Attest)]
    assert all(word.rank is not Rank.STARTED for word in words)


def test_a_lease_that_ends_during_the_write_takes_the_start_back() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    bench.boot_s += LEASE_S
    bench.wall_s += LEASE_S
    assert last_look(bench) == (False, "lease-expired")


def test_a_newer_plan_that_comes_before_the_last_look_takes_the_start_back() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    bench.learn(*orders_of(a_plan(after=PLAN.plan.plan_seq)))
    assert last_look(bench)[0] is False
    assert bench.record.accepted_seq > PLAN.plan.plan_seq


def test_a_grant_withdrawn_during_the_write_takes_the_start_back() -> None:
    bench = Bench("h3")
    bench.ready(PLAN)
    bench.learn(a_go(lease_seq=2, issued_at=bench.wall_s))
    assert last_look(bench)[0] is False


@pytest.mark.parametrize("again", [1, 2])
def test_a_second_answer_from_the_disk_changes_nothing(again: int) -> None:
    bench = Bench("h3")
    bench.begin(PLAN)
    for _ in range(again):
        assert not any(isinstance(effect, Change) for effect in bench.persisted())
