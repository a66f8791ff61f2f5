"""The planner: batches, budgets, and what it refuses."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.activation.bounds import plan_bounds
from p2pdeploy.activation.events import ServiceBroke
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.codec import encode
from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import HostName, RolloutId
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Build
from p2pdeploy.planning.planner import CellFacts, CellPlan, Limits, plan_cell
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import (
    CELL,
    EPOCH_S,
    NEW,
    OLD,
    WEB,
    a_plan,
    a_word,
    hosts_of,
    rollout_of,
)

SHARES = st.sampled_from(["1%", "10%", "25%", "33.3%", "50%", "100%"])
FRESH = ServiceRecord(service=WEB)
FRACTIONS = st.sampled_from([0.0, 0.05, 0.1, 0.34, 0.5, 0.9])


def planned(facts: CellFacts, limits: Limits | None = None) -> CellPlan | None:
    return plan_cell(
        facts,
        service=WEB,
        build=NEW,
        rollout_id=RolloutId("r4"),
        limits=limits or Limits(),
        now=EPOCH_S,
    )


def facts_of(count: int = 6, fault_domains: int = 3) -> CellFacts:
    hosts = hosts_of(count, fault_domains)
    return CellFacts(
        cell=CELL,
        hosts=hosts,
        alive=frozenset(host.name for host in hosts),
        evidence={},
        baseline=OLD,
        plan_seq_max=2,
    )


@settings(deadline=None, max_examples=60)
@given(
    hosts=st.integers(1, 80),
    fault_domains=st.integers(1, 20),
    fraction=FRACTIONS,
    budget=st.none() | st.integers(1, 60) | SHARES,
)
def test_a_batch_and_the_failures_beside_it_stay_within_the_budget(
    hosts: int, fault_domains: int, fraction: float, budget: int | str | None
) -> None:
    limits = Limits(failure_fraction_max=fraction, max_unavailable=budget)
    cell_plan = a_plan(hosts=hosts, fault_domains=fault_domains, limits=limits)
    plan = cell_plan.plan
    for domain in plan.fault_domains:
        assert all(batch >= 1 for batch in domain.batches)
        assert max(domain.batches) + domain.failures_max <= plan.max_unavailable
        assert sum(domain.batches) == domain.size
        assert domain.failures_max <= fraction * domain.size
        assert plan.brakes_max > domain.failures_max
    assert sum(domain.size for domain in plan.fault_domains) == hosts
    assert plan.fault_domains[0].batches[0] == 1
    assert plan_bounds(plan, cell_plan.roster, rollout_of(cell_plan), FRESH) is None


@settings(deadline=None, max_examples=40)
@given(hosts=st.integers(1, 60), fault_domains=st.integers(1, 8), budget=st.integers(1, 10))
def test_the_roster_puts_every_host_once_into_its_batch(
    hosts: int, fault_domains: int, budget: int
) -> None:
    cell_plan = a_plan(
        hosts=hosts, fault_domains=fault_domains, limits=Limits(max_unavailable=budget)
    )
    members = cell_plan.roster.members
    assert len({member.host for member in members}) == len(members) == hosts
    for index, domain in enumerate(cell_plan.plan.fault_domains):
        batches = [member.batch for member in members if member.fault_domain == index]
        assert batches == sorted(batches)
        assert tuple(batches.count(n) for n in range(len(domain.batches))) == domain.batches


def test_without_limits_the_first_batch_is_one_host_and_the_rest_whole_fault_domains() -> None:
    plan = a_plan(hosts=9).plan
    assert [domain.batches for domain in plan.fault_domains] == [(1, 2), (3,), (3,)]
    assert plan.max_unavailable == 3


def test_a_budget_of_one_tolerates_no_failure() -> None:
    plan = a_plan(hosts=30, limits=Limits(max_unavailable=1, failure_fraction_max=0.5)).plan
    assert {domain.failures_max for domain in plan.fault_domains} == {0}
    assert plan.brakes_max == 1


@pytest.mark.parametrize(("share", "hosts", "number"), [("25%", 6, 1), ("1%", 6, 1), ("50%", 7, 3)])
def test_a_share_rounds_down_and_never_to_zero(share: str, hosts: int, number: int) -> None:
    plan = a_plan(hosts=hosts, limits=Limits(max_unavailable=share)).plan
    assert plan.max_unavailable == number == max(1, math.floor(float(share[:-1]) / 100 * hosts))


@pytest.mark.parametrize(
    "asked",
    [0, -1, "0", "5", "x%", "%", "-5%", "1e3%", "", "\u00b2%", "9" * 400 + "%", 1_001, 10**30],
)
def test_a_budget_that_is_no_number_or_share_is_refused(asked: int | str) -> None:
    with pytest.raises(RefusedError) as refused:
        a_plan(limits=Limits(max_unavailable=asked))
    assert refused.value.code == "bad-limit"


@pytest.mark.parametrize(
    "limits",
    [
        Limits(failure_fraction_max=1.0),
        Limits(failure_fraction_max=-0.1),
        Limits(failure_fraction_max=float("nan")),
        Limits(bake_s=-1.0),
        Limits(settle_s=-1.0),
        Limits(settle_s=float("nan")),
        Limits(bake_s=24 * 3600.0 + 1),
    ],
)
def test_limits_that_contradict_themselves_are_refused(limits: Limits) -> None:
    with pytest.raises(RefusedError) as refused:
        a_plan(limits=limits)
    assert refused.value.code == "bad-limit"


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        planned(msgspec.structs.replace(facts_of(), hosts=()))
    assert refused.value.code == "empty-target"


def test_a_cell_with_too_many_hosts_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        planned(facts_of(CELL_HOSTS_MAX + 1))
    assert refused.value.code == "cell-too-large"


def test_a_cell_with_nobody_alive_gets_no_plan() -> None:
    assert planned(msgspec.structs.replace(facts_of(), alive=frozenset())) is None


def test_hosts_that_are_down_are_absent_and_not_in_the_roster() -> None:
    cell_plan = a_plan(absent=["h2"])
    assert cell_plan.absent == ("h2",)
    assert "h2" not in {member.host for member in cell_plan.roster.members}


def test_a_fault_domain_without_a_living_target_is_left_out() -> None:
    cell_plan = a_plan(absent=["h2", "h5"])
    assert [domain.name for domain in cell_plan.plan.fault_domains] == ["fd0", "fd2"]
    assert {member.fault_domain for member in cell_plan.roster.members} == {0, 1}


def test_plan_seq_rises_by_two_and_its_way_back_lies_between() -> None:
    first, second = a_plan(after=0), a_plan(after=2)
    assert (first.plan.plan_seq, first.revert.plan_seq, second.plan.plan_seq) == (2, 3, 4)


def test_plan_and_way_back_name_the_digest_of_the_roster() -> None:
    cell_plan = a_plan()
    digest = digest_of(encode(cell_plan.roster))
    assert cell_plan.plan.roster_digest == cell_plan.revert.roster_digest == digest


def test_the_way_back_leads_to_the_baseline() -> None:
    assert a_plan(baseline=OLD).revert.build == OLD
    assert a_plan(baseline=None).revert.build is None


def test_hosts_that_run_the_build_already_are_unchanged_but_counted() -> None:
    facts = facts_of()
    words = {host.name: healthy(host.name, NEW) for host in facts.hosts[:2]}
    cell_plan = planned(msgspec.structs.replace(facts, evidence=words))
    assert cell_plan is not None
    assert cell_plan.unchanged == ("h1", "h2")
    assert len(cell_plan.roster.members) == 6


def healthy(host: str, runs: Build) -> Attestation:
    return msgspec.structs.replace(a_word(host, 2, Rank.HEALTHY, runs=runs), state="healthy")


@pytest.mark.parametrize("state", ["failed", "starting", "stopped"])
def test_a_host_that_runs_the_build_and_is_not_healthy_starts_it_again(state: str) -> None:
    """What the plan says is what the host does: see the activation core beside it."""
    facts = facts_of()
    sick = msgspec.structs.replace(healthy("h1", NEW), rank=Rank.REGRESSED, state=state)
    words = {sick.host: sick, HostName("h2"): healthy("h2", NEW)}
    cell_plan = planned(msgspec.structs.replace(facts, evidence=words))
    assert cell_plan is not None
    assert cell_plan.unchanged == ("h2",)

    bench = Bench("h1", running=NEW)
    bench.send(ServiceBroke(service=WEB, code="exited", reason="exit 3"))
    bench.ready(a_plan(build=NEW))
    assert bench.starting is not None
    fine = Bench("h1", running=NEW)
    fine.ready(a_plan(build=NEW))
    assert fine.starting is None


def test_planning_twice_gives_the_same_plan() -> None:
    assert planned(facts_of()) == planned(facts_of())
    facts = facts_of()
    turned = msgspec.structs.replace(facts, hosts=tuple(reversed(facts.hosts)))
    assert planned(turned) == planned(facts)


def test_an_activation_has_time_for_there_and_back() -> None:
    limits = Limits(bake_s=7, stop_timeout_s=3, start_timeout_s=20)
    assert a_plan(limits=limits).plan.activation_max_s == 2 * (3 + 20) + 7 + 10
