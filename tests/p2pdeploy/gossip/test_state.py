"""The replica is a join semilattice, its summary tells equal from different, and it is bounded."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.errors import ProtocolError, RefusedError
from p2pdeploy.gossip.state import CellState, Item, item_of, urgency_of
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import BUCKETS
from p2pdeploy.messages.orders import Abort, Excuse, Go, Retry, Settled

CELL = CellId("lab.web.c0")
WEB = ServiceName("web")

keys = st.sampled_from(["go", "abort/web", "plan/web", "att/web/h1", "att/web/h2", "att/db/h1"])
versions = st.tuples(st.integers(0, 3), st.integers(0, 3))


@st.composite
def items(draw: st.DrawFn) -> Item:
    """One writer per key that says one thing per version."""
    key, version = draw(keys), draw(versions)
    return Item(key, version, f"{key}@{version}".encode())


def state_of(*batches: list[Item]) -> CellState:
    state = CellState(CELL)
    for item in itertools.chain(*batches):
        state.merge(item)
    return state


def content(state: CellState) -> dict[str, Item]:
    return {item.key: item for item in state.items()}


@given(st.lists(items()), st.lists(items()), st.lists(items()))
def test_merge_is_commutative_associative_and_idempotent(
    a: list[Item], b: list[Item], c: list[Item]
) -> None:
    once = state_of(a, b, c)
    for order in itertools.permutations((a, b, c)):
        assert content(state_of(*order)) == content(once)
        assert state_of(*order).summary() == once.summary()
    assert content(state_of(a, b, c, a, b, c)) == content(once)
    assert once.equivocations == 0


@given(st.lists(items()), st.lists(items()))
def test_summaries_are_equal_exactly_when_states_are(a: list[Item], b: list[Item]) -> None:
    left, right = state_of(a), state_of(b)
    assert (left.summary() == right.summary()) == (content(left) == content(right))


@given(st.lists(items()), st.lists(items()))
def test_what_newer_than_names_makes_both_sides_equal(a: list[Item], b: list[Item]) -> None:
    left, right = state_of(a), state_of(b)
    buckets = [
        i for i, (m, n) in enumerate(zip(left.summary(), right.summary(), strict=True)) if m != n
    ]
    they_lack, i_lack = left.newer_than(right.versions(buckets), buckets)
    wanted = [item for key in i_lack if (item := right.get(key)) is not None]
    assert all(right.merge(item) for item in they_lack)
    assert all(left.merge(item) for item in wanted)
    assert content(left) == content(right)


def test_the_older_version_never_replaces_the_newer() -> None:
    state = CellState(CELL)
    assert state.merge(Item("go", (2, 0), b"new"))
    assert not state.merge(Item("go", (1, 9), b"old"))
    assert state.get("go") == Item("go", (2, 0), b"new")
    assert state.lacks("go", (3, 0))
    assert not state.lacks("go", (2, 0))


def test_equivocation_keeps_the_first_and_is_counted() -> None:
    state = CellState(CELL)
    assert state.merge(Item("go", (1, 0), b"first"))
    assert not state.merge(Item("go", (1, 0), b"second"))
    assert not state.merge(Item("go", (1, 0), b"first"))
    assert state.equivocations == 1
    assert state.get("go") == Item("go", (1, 0), b"first")


def test_one_host_cannot_fill_the_table() -> None:
    state = CellState(CELL)
    taken = [
        state.merge(Item(f"att/s{n}/h1", (1, 1), b"x")) for n in range(SERVICES_PER_HOST_MAX + 5)
    ]
    assert taken.count(True) == SERVICES_PER_HOST_MAX
    assert state.refusals == 5
    assert state.merge(Item("att/s0/h2", (1, 1), b"x"))
    assert state.merge(Item("att/s0/h1", (1, 2), b"y")), "a known register still moves"


def test_order_keys_are_bounded_and_large_attestations_refused() -> None:
    state = CellState(CELL)
    for n in range(5_000):
        state.merge(Item(f"plan/s{n}", (1, 0), b"x"))
    assert state.refusals > 0
    assert len(state) + state.refusals == 5_000
    assert state.merge(Item("att/web/h1", (1, 1), b"x")), "orders leave room for attestations"
    assert not state.merge(Item("att/web/h1", (1, 2), b"x" * 5_000))


def test_versions_cover_every_key_once() -> None:
    state = state_of([Item(f"att/web/h{n}", (1, n), b"x") for n in range(100)])
    told = state.versions(range(BUCKETS))
    assert sorted(told) == sorted((item.key, item.version) for item in state.items())
    assert state.versions(()) == ()


def an_attestation(**changes: object) -> Attestation:
    fields = {"cell": CELL, "host": "h1", "service": WEB, "fault_domain": "fd0"}
    return Attestation(**{**fields, "epoch": 3, "seq": 4, **changes})  # type: ignore[arg-type]  # the fields have several types


def test_each_kind_of_message_has_its_key_and_version() -> None:
    host = HostName("h1")
    assert item_of(an_attestation(), b"e") == Item("att/web/h1", (3, 4), b"e")
    go = Go(cell=CELL, lease_seq=7, issued_at=1.0, not_after=31.0, grants=())
    assert item_of(go, b"e") == Item("go", (7, 0), b"e")
    abort = Abort(cell=CELL, service=WEB, watermark=5, rollout_seq=1, code="c", reason="r")
    assert item_of(abort, b"e") == Item("abort/web", (5, 0), b"e")
    excuse = Excuse(cell=CELL, service=WEB, plan_seq=5, excuse_seq=2, hosts=(host,), reason="dead")
    assert item_of(excuse, b"e") == Item("excuse/web", (5, 2), b"e")
    retry = Retry(cell=CELL, service=WEB, plan_seq=5, attempt=2)
    assert item_of(retry, b"e") == Item("retry/web", (5, 2), b"e")
    settled = Settled(
        cell=CELL,
        service=WEB,
        rollout_id=RolloutId("r4"),
        plan_seq=5,
        build=None,
        max_unavailable=1,
        activation_max_s=1.0,
        clock_error_s=1.0,
        issued_at=12.5,
        not_after=99.0,
    )
    assert item_of(settled, b"e") == Item("settled/web", (5, 12_500), b"e")


def test_messages_without_a_lawful_place_are_refused() -> None:
    with pytest.raises(ProtocolError):
        item_of(an_attestation(seq=-1), b"e")
    with pytest.raises(ProtocolError):
        item_of(an_attestation(epoch=float("inf")), b"e")
    with pytest.raises(RefusedError):
        item_of(an_attestation(service="web/../x"), b"e")


def test_abort_is_the_most_urgent_and_attestations_the_least() -> None:
    order = sorted(["att/web/h1", "plan/web", "go", "abort/web"], key=urgency_of)
    assert order == ["abort/web", "go", "plan/web", "att/web/h1"]
