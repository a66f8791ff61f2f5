"""A rollout as people and scripts see it."""

from __future__ import annotations

import msgspec

from p2pdeploy.messages.api import RolloutView
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Plan
from p2pdeploy.planning.views import fault_domain_views, rollout_state, rollout_view
from p2pdeploy.testing.cell_bench import API, Cell, completed, names, opened
from p2pdeploy.testing.orders import CELL, EPOCH_S, NEW, OLD, WEB, a_plan, a_word


def test_a_view_counts_hosts_per_fault_domain() -> None:
    cell, cell_plan = opened()
    seq = cell_plan.plan.plan_seq
    cell.say(names(cell_plan)[:2], seq, Rank.HEALTHY)
    cell.say(names(cell_plan)[2:3], seq, Rank.STARTED)
    cell.say(names(cell_plan)[3:4], seq, Rank.STAGED)
    cell.tick(1)
    first, second, third = fault_domain_views(cell.rollout(), cell.evidence[WEB])
    assert (first.healthy, first.total) == (2, 2)
    assert first.finished_at is not None
    assert second.started_at is not None
    assert second.finished_at is None
    assert second.states["staged"] == 1
    assert third.states == {"waiting": 2}
    assert "fd1" in third.waits_for


def test_a_host_whose_disk_is_full_is_told_from_one_that_fetches() -> None:
    cell, cell_plan = opened()
    hosts = names(cell_plan)[:2]
    cell.say(hosts, cell_plan.plan.plan_seq, Rank.ACCEPTED)
    words = cell.evidence[WEB]
    words[hosts[0]] = msgspec.structs.replace(words[hosts[0]], reason_code="disk-full")
    first, *_ = fault_domain_views(cell.rollout(), words)
    assert first.states == {"disk-full": 1, "fetching": 1}
    cell.say(hosts, cell_plan.plan.plan_seq, Rank.STAGED)
    first, *_ = fault_domain_views(cell.rollout(), words)
    assert first.states == {"staged": 2}


def view_of(cell: Cell) -> RolloutView:
    rollout = cell.rollout()
    return rollout_view(
        rollout_id=rollout.plan.rollout_id,
        service=WEB,
        version=NEW.version,
        created_at=EPOCH_S,
        finished_at=0.0,
        cells=[rollout],
        evidence={CELL: cell.evidence[WEB]},
    )


def test_a_view_names_state_baseline_and_reasons() -> None:
    cell, _ = opened()

    def state() -> str:
        view = view_of(cell)
        assert view.baseline == OLD.version
        return view.state

    assert state() == "running"
    cell.pause()
    assert state() == "paused"
    cell.abort()
    assert state() == "rolling-back"


def test_only_what_was_fetched_for_this_rollout_counts() -> None:
    cell, cell_plan = opened()
    seq = cell_plan.plan.plan_seq
    first, second, third, *_ = names(cell_plan)
    for host, plan_seq, fetched_bytes in ((first, seq, 5), (second, seq - 1, 90), (third, 99, 80)):
        word = a_word(host, plan_seq, Rank.STAGED)
        cell.evidence[WEB][word.host] = msgspec.structs.replace(word, fetched_bytes=fetched_bytes)
    assert view_of(cell).bytes_per_host_max == 5
    word = a_word(third, seq + 1, Rank.HEALTHY)
    cell.evidence[WEB][word.host] = msgspec.structs.replace(word, fetched_bytes=6)
    assert view_of(cell).bytes_per_host_max == 6, "its way back tells of it still"


def test_a_rollout_is_as_far_as_its_slowest_cell_and_as_bad_as_its_worst() -> None:
    running, complete = opened()[0].rollout(), completed()[0].rollout()
    failed = msgspec.structs.replace(complete, result="failed")
    assert rollout_state([complete, running]) == "running"
    assert rollout_state([complete, failed]) == "failed"
    assert rollout_state([complete, complete]) == "complete"


def test_a_plan_of_one_service_leaves_the_other_alone() -> None:
    cell, cell_plan = completed()
    orders = cell.open(a_plan(service=API))
    assert {o.service for o in orders if isinstance(o, Plan)} == {API}
    assert cell.rollout(WEB).result == "complete"
    assert cell.conducted.settled[WEB].plan_seq == cell_plan.plan.plan_seq
