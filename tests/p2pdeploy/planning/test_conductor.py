"""Conducting a cell: what is issued when, and that looking twice issues nothing new."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.ids import HostName
from p2pdeploy.limits import LEASE_RENEW_S, LEASE_S
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Go, Settled
from p2pdeploy.planning.conductor import SETTLED_RENEW_S
from p2pdeploy.planning.planner import Limits
from p2pdeploy.testing.cell_bench import Cell, completed, names, opened
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_build, a_plan


def test_opening_issues_rollout_roster_plan_and_way_back() -> None:
    cell_plan = a_plan()
    kinds = [type(order).__name__ for order in Cell().open(cell_plan)]
    assert kinds == ["Rollout", "Roster", "Plan", "Revert"]


def test_the_go_of_an_open_rollout_covers_every_fault_domain() -> None:
    cell, _ = opened()
    grant = cell.granted("activate")
    assert grant is not None
    assert grant.up_to == 2
    assert cell.go.not_after - cell.go.issued_at == LEASE_S


def test_the_go_is_renewed_every_ten_seconds_and_not_before() -> None:
    cell, _ = opened()
    assert cell.tick(LEASE_RENEW_S - 0.1) == []
    renewed = cell.tick(0.1)
    assert [type(order) for order in renewed] == [Go]
    assert cell.go.lease_seq == 2


def test_a_change_of_what_is_granted_goes_out_at_once() -> None:
    cell, _ = opened()
    cell.pause()
    assert [type(order) for order in cell.tick(0.1)] == [Go]
    assert cell.go.grants == ()


def test_a_go_that_grants_nothing_is_not_renewed() -> None:
    cell, _ = opened()
    cell.pause()
    cell.tick(0.1)
    assert cell.tick(60) == []


def test_looking_twice_issues_nothing_new() -> None:
    cell, cell_plan = opened()
    before = cell.conducted
    assert cell.tick() == []
    assert cell.conducted == before
    cell.say(names(cell_plan)[:1], cell_plan.plan.plan_seq, Rank.FAILED)
    assert any(isinstance(order, Abort) for order in cell.tick())
    assert cell.tick() == []


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(list(Rank)), st.integers(0, 1)), max_size=12
    )
)
def test_after_a_crash_before_storing_the_same_orders_are_issued_again(
    words: list[tuple[int, Rank, int]],
) -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(failure_fraction_max=0.5)))
    for number, rank, back in words:
        host = names(cell_plan)[number]
        cell.say([host], cell_plan.plan.plan_seq + back, rank)
        stored = cell.conducted
        first = cell.tick(1)
        after = cell.conducted
        cell.conducted = stored
        assert cell.tick() == first
        assert cell.conducted == after
        assert any(cell.tick() == [] for _ in range(4))  # an abort, then who goes back, then peace


def test_the_lease_number_never_falls() -> None:
    cell, cell_plan = completed()
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq))
    cell.tick(1)
    cell.abort()
    for _ in range(10):
        cell.tick(5)
    seqs = [order.lease_seq for order in cell.issued if isinstance(order, Go)]
    assert seqs == sorted(set(seqs))


def test_the_next_lease_is_above_the_one_that_the_cell_holds() -> None:
    """As after an older database was restored: the cell heeds no GO below the one it has."""
    cell, _ = opened()
    cell.lease_seq_seen = 5000
    issued = cell.tick(0.1)
    assert [order.lease_seq for order in issued if isinstance(order, Go)] == [5001]
    cell.lease_seq_seen = 5001
    assert cell.tick(0.1) == []


def test_a_rollout_is_complete_when_every_host_is_healthy() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan)[:-1], cell_plan.plan.plan_seq, Rank.HEALTHY)
    assert not any(isinstance(order, Settled) for order in cell.tick(1))
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    settled = [order for order in cell.tick(1) if isinstance(order, Settled)]
    assert [(order.build, order.plan_seq) for order in settled] == [(NEW, cell_plan.plan.plan_seq)]
    assert cell.rollout().result == "complete"
    assert cell.go.grants == ()


def test_health_under_another_plan_completes_nothing() -> None:
    cell, cell_plan = opened()
    cell.say(names(cell_plan), cell_plan.plan.plan_seq - 2, Rank.HEALTHY)
    cell.tick(1)
    assert cell.rollout().phase == "activating"


def test_what_keeps_a_waiting_host_back_is_a_reason_of_the_rollout() -> None:
    cell, cell_plan = opened()
    host = names(cell_plan)[0]
    cell.say([host], cell_plan.plan.plan_seq, Rank.ACCEPTED)
    word = cell.evidence[WEB][host]
    cell.evidence[WEB][host] = msgspec.structs.replace(
        word, reason_code="disk-full", reason="no room"
    )
    cell.tick()
    assert ("disk-full", host) in [(reason.code, reason.host) for reason in cell.rollout().reasons]


def test_tolerated_failures_complete_with_a_reason_each() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(failure_fraction_max=0.5)))
    last = names(cell_plan)[-1]
    cell.say(names(cell_plan)[:-1], cell_plan.plan.plan_seq, Rank.HEALTHY)
    cell.say([last], cell_plan.plan.plan_seq, Rank.FAILED)
    cell.tick(1)
    assert cell.rollout().result == "complete"
    assert [(r.code, r.host) for r in cell.rollout().reasons] == [("host-failed", last)]


def test_settled_is_renewed_every_hour() -> None:
    cell, _ = completed()
    assert cell.tick(SETTLED_RENEW_S - 1) == []
    renewed = [order for order in cell.tick(1) if isinstance(order, Settled)]
    assert [order.issued_at for order in renewed] == [cell.now]
    assert renewed[0].not_after == cell.now + 24 * 3600


def test_late_hosts_are_named_as_far_as_the_budget_goes() -> None:
    cell, cell_plan = opened(a_plan(limits=Limits(max_unavailable=2)))
    cell.say(names(cell_plan), cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.say(["h7", "h8", "h9"], 0, Rank.NONE, runs=OLD)
    cell.alive |= {HostName("h7"), HostName("h8"), HostName("h9")}
    cell.tick(1)
    cell.tick(1)
    grant = cell.granted("converge")
    assert grant is not None
    assert grant.hosts == ("h7", "h8")
    cell.say(["h7"], cell_plan.plan.plan_seq, Rank.HEALTHY, runs=NEW)
    cell.tick(1)
    grant = cell.granted("converge")
    assert grant is not None
    assert grant.hosts == ("h8", "h9")


@pytest.mark.parametrize("rank", [Rank.FAILED, Rank.HEALTHY])
def test_a_late_host_that_ended_is_not_named_again(rank: Rank) -> None:
    cell, cell_plan = completed()
    cell.say(["h1"], cell_plan.plan.plan_seq, rank, runs=OLD)
    cell.tick(1)
    assert cell.granted("converge") is None


def test_nobody_converges_while_a_plan_of_the_service_is_under_way() -> None:
    cell, cell_plan = completed()
    cell.say(["h7"], 0, Rank.NONE, runs=OLD)
    cell.alive |= {HostName("h7")}
    cell.open(a_plan(build=a_build("3"), baseline=NEW, after=cell_plan.plan.plan_seq))
    cell.tick(1)
    assert cell.granted("converge") is None
