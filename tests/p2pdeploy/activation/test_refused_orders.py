"""A key was rotated: what it had sealed counts no more, what runs and what is on disk stays."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.activation.effects import Attest, Change, Persist, Run
from p2pdeploy.activation.events import Activated, OrdersRefused
from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.limits import ATTEMPTS_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Excuse, Order
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import (
    CELL,
    EPOCH_S,
    NEW,
    OLD,
    WEB,
    a_go,
    a_plan,
    a_settled,
    a_word,
    abort_of,
    activate,
    name_to_go_back,
    orders_of,
    retry_of,
    rollout_of,
)

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq
APPROVAL = rollout_of(PLAN)
HIGH = 1 << 40
EVIL_PLAN = msgspec.structs.replace(PLAN.plan, plan_seq=HIGH, roster_digest=NEW.digest)
DAY_S = 86_400.0


def refuse(bench: Bench, *keys: str):
    return bench.send(OrdersRefused(keys))


def go_of(bench: Bench, lease_seq: int):
    return a_go(activate(PLAN), lease_seq=lease_seq, issued_at=bench.wall_s)


def an_excuse(*hosts: str) -> Excuse:
    names = tuple(HostName(host) for host in hosts)
    return Excuse(
        cell=CELL, service=WEB, plan_seq=SEQ, excuse_seq=HIGH, hosts=names, reason="a thief's"
    )


def test_after_a_rotation_a_thiefs_go_does_not_keep_honest_ones_out() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="go")
    bench.learn(a_go(lease_seq=HIGH, issued_at=bench.wall_s), go_of(bench, 2))
    assert (bench.why, bench.starting) == ("not-granted", None)
    refuse(bench, "go")
    assert (bench.why, bench.starting) == ("no-go", None)
    bench.learn(go_of(bench, 3))
    assert bench.starting is not None


def test_after_a_rotation_a_thiefs_go_starts_nothing() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    assert bench.why == "settling"
    refuse(bench, "go")
    bench.wait(PLAN.plan.settle_s)
    assert (bench.why, bench.starting) == ("no-go", None)


def test_after_a_rotation_a_thiefs_settled_starts_nothing() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(NEW, SEQ))
    assert bench.why == "fetching"
    refuse(bench, "settled/web")
    bench.stage(NEW)
    bench.wait(60.0)
    assert (bench.starting, bench.changes) == (None, [])


def test_a_rotation_counts_at_the_last_look() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(APPROVAL, a_settled(NEW, SEQ))
    bench.stage(NEW)
    assert bench.starting is not None
    refuse(bench, "settled/web")
    bench.persisted()
    assert (bench.starting, bench.changes) == (None, [])


def test_a_thiefs_settled_of_a_high_number_hides_no_plan_after_a_rotation() -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="orders")
    bench.learn(*orders_of(PLAN), a_settled(OLD, HIGH))
    assert bench.said.plan_seq != SEQ
    refuse(bench, "settled/web")
    assert bench.said.plan_seq == SEQ


@pytest.mark.parametrize(
    ("key", "message", "why"),
    [
        ("rollout/web", APPROVAL, "rollout-unknown"),
        ("roster/web", PLAN.roster, "roster-unknown"),
        ("plan/web", PLAN.plan, ""),
        ("att/web/h1", a_word("h1", SEQ, Rank.HEALTHY), "evidence"),
    ],
)
def test_a_host_holds_until_what_was_refused_comes_back_sealed_anew(
    key: str, message: Order, why: str
) -> None:
    bench = Bench("h3")
    bench.ready(PLAN, but="settle")
    refuse(bench, key)
    bench.wait(PLAN.plan.settle_s)
    assert (bench.why, bench.starting) == (why, None)
    bench.learn(message)
    assert (bench.why, bench.starting) == ("settling", None), "the gate opens anew"
    bench.wait(PLAN.plan.settle_s)
    assert bench.starting is not None


@pytest.mark.parametrize(
    ("key", "message", "why"),
    [
        ("excuse/web", an_excuse("h3"), "outside-rollout"),
        ("retry/web", retry_of(PLAN, ATTEMPTS_MAX + 1), "outside-rollout"),
        ("plan/web", EVIL_PLAN, "roster-unknown"),
        ("roster/web", msgspec.structs.replace(PLAN.roster, plan_seq=HIGH), "roster-unknown"),
    ],
)
def test_after_a_rotation_nothing_of_a_thief_holds_a_plan_up(
    key: str, message: Order, why: str
) -> None:
    bench = Bench("h3")
    bench.learn(message)
    bench.ready(PLAN)
    assert (bench.why, bench.starting) == (why, None)
    refuse(bench, key)
    bench.ready(PLAN)
    assert bench.starting is not None


def test_after_a_rotation_a_thiefs_way_back_hides_no_honest_one() -> None:
    bench = on_new(PLAN)
    bench.stage(OLD)
    bench.learn(msgspec.structs.replace(PLAN.revert, plan_seq=HIGH), abort_of(PLAN))
    bench.learn(a_go(name_to_go_back(PLAN, "h3"), lease_seq=2, issued_at=bench.wall_s))
    assert bench.starting is None
    refuse(bench, "revert/web")
    bench.learn(PLAN.revert)
    assert bench.starting is not None
    assert bench.starting.build == OLD


def test_a_thiefs_signed_time_is_believed_a_day_longer_than_its_key() -> None:
    bench = Bench("h3")
    bench.learn(a_go(issued_at=EPOCH_S + 3_000 * DAY_S))
    refuse(bench, "go")
    later = a_plan(now=bench.wall_s + 2 * DAY_S)
    bench.ready(later, but="go")
    bench.learn(a_go(activate(later), issued_at=bench.wall_s))
    assert bench.why == "clock-behind"
    bench.wait(2 * DAY_S)
    bench.learn(a_go(activate(later), lease_seq=2, issued_at=bench.wall_s))
    bench.wait(later.plan.settle_s)
    assert bench.starting is not None


def test_what_runs_and_what_is_on_disk_is_not_touched() -> None:
    bench = Bench("h3")
    bench.learn(abort_of(a_plan(after=0)))
    started = bench.begin(PLAN)
    before = bench.record
    kinds = ("rollout", "plan", "revert", "roster", "excuse", "retry", "settled", "abort")
    effects = refuse(bench, "go", "revocations", *(f"{kind}/web" for kind in kinds))
    assert not [e for e in effects if isinstance(e, Persist | Change | Run)]
    assert bench.record == before
    bench.send(Activated(service=WEB, started=started))
    assert bench.record.running == NEW
    assert bench.record.watermark == before.watermark > 0


def test_what_is_refused_of_a_service_that_nobody_named_here_changes_nothing() -> None:
    bench = Bench("h3")
    assert [e for e in refuse(bench, "plan/other", "att/other/h1") if isinstance(e, Attest)] == []
    assert [record.service for record in bench.core.records()] == [ServiceName("web")]
