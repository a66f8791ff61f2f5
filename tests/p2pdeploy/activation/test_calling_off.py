"""A fetch ends when no order asks for its build any more, and only then."""

from __future__ import annotations

from p2pdeploy.activation.effects import StopStaging
from p2pdeploy.messages.orders import Revert
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_plan, a_settled, abort_of, orders_of

PLAN = a_plan()
SEQ = PLAN.plan.plan_seq


def called_off(bench: Bench) -> list[StopStaging]:
    return [effect for effect in bench.log if isinstance(effect, StopStaging)]


def test_a_build_whose_plan_was_aborted_is_fetched_no_further() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    assert [effect.build for effect in bench.stages] == [NEW]
    assert called_off(bench) == []
    bench.learn(abort_of(PLAN))
    assert called_off(bench) == [StopStaging(WEB)]


def test_a_build_is_fetched_no_further_once_another_one_settled() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    bench.learn(a_settled(OLD, SEQ + 2))
    assert called_off(bench) == [StopStaging(WEB)]


def test_a_build_that_settled_is_fetched_to_the_end() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN))
    bench.learn(a_settled(NEW, SEQ))
    assert called_off(bench) == []
    assert len(bench.stages) == 1


def test_a_build_that_was_called_off_is_fetched_again_for_the_next_plan() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(PLAN), abort_of(PLAN))
    bench.learn(*orders_of(a_plan(after=SEQ + 1)))
    assert [effect.build for effect in bench.stages] == [NEW, NEW]


def test_a_host_that_ran_nothing_is_absent_again_when_its_fetch_is_called_off() -> None:
    bench = Bench("h3", running=None)
    plan = a_plan(baseline=None)
    bench.learn(*(order for order in orders_of(plan) if not isinstance(order, Revert)))
    assert bench.said.state == "fetching"
    bench.learn(abort_of(plan))
    assert bench.said.state == "absent"
