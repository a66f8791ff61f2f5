"""What a ROLLOUT approves goes on to be approved, in whatever order things arrive."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from p2pdeploy.activation.bounds import plan_bounds
from p2pdeploy.activation.events import Activated, ServiceBroke
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.messages.orders import Build, Order
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import (
    CELL,
    NEW,
    OLD,
    WEB,
    a_build,
    a_plan,
    a_settled,
    abort_of,
    orders_of,
    rollout_of,
)

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq
ROLLOUT = rollout_of(PLAN)
NEXT = a_plan(build=a_build("3"), baseline=NEW, after=SEQ)


def break_down(bench: Bench) -> None:
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))


def test_the_way_back_is_approved_beyond_the_expiry_of_its_rollout() -> None:
    bench = on_new(PLAN)
    bench.wait(ROLLOUT.expires_at - bench.wall_s + 3_600)
    bench.stage(OLD)
    break_down(bench)
    bench.learn(abort_of(PLAN))
    assert bench.starting is not None
    assert bench.starting.build == OLD


def test_what_settled_is_approved_beyond_the_expiry_of_its_rollout() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.wait(7 * 86_400.0)
    bench.learn(ROLLOUT, a_settled(NEW, SEQ, issued_at=bench.wall_s))
    bench.stage(NEW)
    assert bench.starting is not None


def test_the_baseline_of_an_aborted_rollout_settles() -> None:
    bench = Bench("h9", running=None, records=[])
    bench.learn(ROLLOUT, abort_of(PLAN), a_settled(OLD, SEQ + 1))
    bench.stage(OLD)
    assert bench.starting is not None
    assert bench.starting.build == OLD


@pytest.mark.parametrize("arrival", [*permutations(range(3))], ids=str)
def test_a_late_host_takes_what_settled_in_whatever_order_it_hears(
    arrival: tuple[int, ...],
) -> None:
    orders: list[Order] = [ROLLOUT, abort_of(PLAN), a_settled(OLD, SEQ + 1)]
    bench = Bench("h9", running=None, records=[])
    bench.learn(*(orders[place] for place in arrival))
    bench.stage(OLD)
    assert bench.starting is not None


def test_an_order_in_doubt_leaves_what_runs_alone() -> None:
    bench = on_new(PLAN)
    before, runs = bench.record, list(bench.runs)
    evil = msgspec.structs.replace(a_settled(a_build("evil"), SEQ + 8), rollout_id="r4")
    bench.learn(evil)
    bench.wait(60)
    assert bench.why == "outside-rollout"
    assert (bench.record, bench.runs, bench.changes[1:]) == (before, runs, [])
    assert bench.said.version == NEW.version


def test_a_host_remembers_the_newest_rollout_and_the_newest_that_was_aborted() -> None:
    bench = Bench("h3")
    bench.learn(rollout_of(NEXT), ROLLOUT, abort_of(PLAN))
    assert (bench.record.rollout_seq, bench.record.rollout_watermark) == (SEQ + 2, SEQ)
    assert bench.persists[-1].record == bench.record


def test_a_change_to_what_settled_counts_as_settled_though_the_next_rollout_came_meanwhile() -> (
    None
):
    bench = Bench("h9", running=None, records=[])
    bench.learn(ROLLOUT, a_settled(NEW, SEQ))
    bench.stage(NEW)
    bench.persisted()
    bench.learn(rollout_of(NEXT))
    bench.send(Activated(service=WEB, started=bench.changes[-1].started))
    assert bench.record.running_settled


def settled_for(build: Build, *, under: Order) -> bool:
    """Whether a host that runs NEW takes it for settled by the word of a SETTLED for *build*."""
    bench = on_new(PLAN)
    bench.learn(under, a_settled(build, SEQ))
    return bench.record.running_settled


def test_a_settlement_counts_only_under_the_newest_rollout() -> None:
    assert settled_for(NEW, under=ROLLOUT)
    assert not settled_for(OLD, under=ROLLOUT)
    assert not settled_for(NEW, under=rollout_of(NEXT))


@pytest.mark.parametrize("change", [{"cell": f"{CELL}9"}, {"service": "api"}], ids=str)
def test_a_rollout_approves_nothing_elsewhere(change: dict[str, str]) -> None:
    elsewhere = msgspec.structs.replace(ROLLOUT, **change)
    hold = plan_bounds(PLAN.plan, PLAN.roster, elsewhere, ServiceRecord(service=WEB))
    assert hold is not None
    assert hold.code == "outside-rollout"


def test_the_next_rollout_vouches_for_the_build_that_it_goes_back_to() -> None:
    bench = on_new(PLAN)
    bench.learn(*orders_of(NEXT), abort_of(NEXT))
    assert bench.record.running_settled
    assert bench.runs[-1].start
