"""Two replicas become equal, and nothing unverified gets into either."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import ProtocolError
from p2pdeploy.gossip import anti_entropy
from p2pdeploy.gossip.anti_entropy import (
    admit,
    answer_diff,
    answer_exchange,
    answer_offer,
    delegates_of,
    drop_unverified,
    offer,
    open_item,
)
from p2pdeploy.gossip.state import CellState, Item
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.orders import Go
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.testing.orders import a_plan, rollout_of
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import Sealed, open_envelope, seal
from tests.p2pdeploy.gossip import messages
from tests.p2pdeploy.gossip.messages import KEYS, told

CELL = CellId("lab.web.c0")


def verify(envelope: bytes) -> Sealed:
    return open_envelope(envelope, KEYS)


def attested(host: str, seq: int = 1, cell: CellId = CELL, keys: HmacKeyring = KEYS) -> Item:
    return told(messages.attested(host, seq, cell), f"host/{host}", keys)


def approved(cell: CellId) -> Item:
    message = msgspec.structs.replace(rollout_of(a_plan()), cell=cell)
    return told(message, "rollout")


def aborted(watermark: int, reason: str = "bad", keys: HmacKeyring = KEYS) -> Item:
    return told(messages.aborted(watermark, reason), "abort", keys)


def reconcile(a: CellState, b: CellState) -> int:
    """Run exchanges until the states are equal; return how many it took."""
    for rounds in range(1_000):
        diff = answer_offer(b, offer(a))
        if not diff.buckets:
            return rounds
        exchange = answer_diff(a, diff)
        assert admit(b, exchange.items, verify).refused == 0
        assert admit(a, answer_exchange(b, exchange).items, verify).refused == 0
    raise AssertionError("the replicas never became equal")


def test_two_replicas_with_different_items_become_equal_in_one_exchange() -> None:
    a, b = CellState(CELL), CellState(CELL)
    admit(a, [attested("h1", 1), attested("h2", 5), aborted(3)], verify)
    admit(b, [attested("h1", 2), attested("h3", 1)], verify)
    assert reconcile(a, b) == 1
    assert {i.key: i.version for i in a.items()} == {
        "att/web/h1": (1, 2),
        "att/web/h2": (1, 5),
        "att/web/h3": (1, 1),
        "abort/web": (3, 0),
    }
    assert sorted(a.items(), key=str) == sorted(b.items(), key=str)


def test_equal_replicas_have_nothing_to_say() -> None:
    a, b = CellState(CELL), CellState(CELL)
    for state in (a, b):
        admit(state, [attested("h1")], verify)
    assert answer_offer(a, offer(b)).buckets == ()
    assert answer_offer(a, offer(b)).versions == ()


def test_a_large_difference_takes_several_bounded_exchanges_and_urgent_items_come_first() -> None:
    a, b = CellState(CELL), CellState(CELL)
    admit(a, [attested(f"h{n}") for n in range(200)], verify)
    admit(a, [aborted(9)], verify)
    limit = anti_entropy.EXCHANGE_BYTES_MAX
    try:
        anti_entropy.EXCHANGE_BYTES_MAX = 8 * 1024
        exchange = answer_diff(a, answer_offer(b, offer(a)))
        assert exchange.items[0].key == "abort/web"
        assert sum(len(item.envelope) for item in exchange.items) <= 8 * 1024
        assert reconcile(b, a) > 1
    finally:
        anti_entropy.EXCHANGE_BYTES_MAX = limit
    assert a.summary() == b.summary()


def test_forged_foreign_and_mislabelled_items_are_refused() -> None:
    state = CellState(CELL)
    stranger = HmacKeyring(b"x" * 32)
    true = attested("h1")
    batch = [
        attested("h1", keys=stranger),
        attested("h2", cell=CellId("lab.web.c9")),
        approved(CellId("lab.web.c9")),
        Item("att/web/h3", (1, 1), true.envelope),
        Item("att/web/h1", (9, 9), true.envelope),
        Item("go", (1, 0), b"not an envelope"),
    ]
    assert admit(state, batch, verify).refused == len(batch)
    assert len(state) == 0
    assert admit(state, [approved(CELL)], verify).refused == 0


def test_a_credential_is_no_item_of_a_cell() -> None:
    credential = Credential(
        fleet="lab",
        cell=CELL,
        host=HostName("h1"),
        fault_domain=FaultDomain("fd0"),
        enrolment=1,
        public_key=bytes(32),
    )
    envelope = seal(credential, KEYS.named("enrol"))
    with pytest.raises(ProtocolError, match="no item"):
        open_item(envelope, CELL, verify)
    state = CellState(CELL)
    assert admit(state, [Item("credential/h1", (1, 0), envelope)], verify).refused == 1


def test_what_is_held_is_never_verified_again() -> None:
    state = CellState(CELL)
    item = attested("h1", seq=5)
    admit(state, [item], verify)

    def must_not_run(envelope: bytes) -> Sealed:
        raise AssertionError("verified again")

    assert admit(state, [item, attested("h1", seq=4)], must_not_run).merged == ()


def test_a_second_word_under_one_version_is_counted_and_not_taken() -> None:
    state = CellState(CELL)
    first, second = aborted(3, "one"), aborted(3, "two")
    assert len(admit(state, [first], verify).merged) == 1
    assert admit(state, [second], verify).merged == ()
    assert state.get("abort/web") == first
    assert state.equivocations == 1


def test_a_key_the_other_side_wants_but_nobody_holds_is_left_out() -> None:
    state = CellState(CELL)
    go = Go(cell=CELL, lease_seq=1, issued_at=1.0, not_after=31.0, grants=())
    admit(state, [told(go, "go")], verify)
    exchange = answer_diff(state, answer_offer(CellState(CELL), offer(state)))
    asked = type(exchange)((), ("go", "plan/none"))
    assert [item.key for item in answer_exchange(state, asked).items] == ["go"]


def test_delegates_depend_on_the_members_only_and_change_little() -> None:
    names = [HostName(f"h{n:02}") for n in range(40)]
    chosen = delegates_of(CELL, names)
    assert len(set(chosen)) == 4
    assert delegates_of(CELL, reversed(names)) == chosen
    without = delegates_of(CELL, [name for name in names if name != chosen[1]])
    assert [name for name in chosen if name != chosen[1]] == list(without[:3])
    assert delegates_of(CellId("lab.web.c1"), names) != chosen
    assert delegates_of(CELL, names[:2], count=4) == delegates_of(CELL, names[:2], count=2)


def test_what_a_rotated_key_sealed_is_dropped_and_comes_back_sealed_anew() -> None:
    """Same key, same version: without the drop the two would believe that they are equal."""
    new_keys = HmacKeyring(b"n" * 32)

    def verify_new(envelope: bytes) -> Sealed:
        return open_envelope(envelope, new_keys)

    old, new = (
        aborted(4),
        aborted(4, keys=new_keys),
    )
    host, control_plane = CellState(CELL), CellState(CELL)
    admit(host, [old, attested("h1")], verify)
    admit(control_plane, [new], verify_new)
    assert old.version == new.version
    assert drop_unverified(host, verify_new, attestations=False) == [old.key]
    assert len(host) == 1, "attestations were not asked for"
    lacked = answer_diff(control_plane, answer_offer(host, offer(control_plane)))
    assert [item.envelope for item in lacked.items] == [new.envelope]
    admit(host, lacked.items, verify_new)
    assert host.get(old.key) == new
    assert drop_unverified(host, verify_new, attestations=True) == [attested("h1").key]
    assert host.summary() == control_plane.summary()
    assert admit(host, [attested("h1", 1, keys=new_keys)], verify_new).merged, "there is room"
