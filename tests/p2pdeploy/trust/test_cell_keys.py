"""A cell's ring of keys: in order, bounded, and rotated step by step."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError, RefusedError
from p2pdeploy.ids import CellId
from p2pdeploy.trust.cell_keys import (
    CELL_KEY_BYTES,
    EPOCHS_MAX,
    CellKeys,
    add_epoch,
    drop_old_epochs,
    first_cell_keys,
    send_with_newest,
)

CELL = CellId("lab.web.c0")
RING = first_cell_keys(CELL, b"a" * CELL_KEY_BYTES)


def key(letter: str) -> bytes:
    return letter.encode() * CELL_KEY_BYTES


def test_a_rotation_changes_one_thing_at_a_time() -> None:
    added = add_epoch(RING, key("b"))
    assert (added.epochs, added.sending) == ((1, 2), 1)
    sending = send_with_newest(added)
    assert (sending.epochs, sending.sending) == ((1, 2), 2)
    dropped = drop_old_epochs(sending)
    assert dropped == CellKeys(cell=CELL, keys=((2, key("b")),), sending=2)


def test_what_is_sent_after_a_step_is_accepted_by_all_who_made_the_step_before() -> None:
    rings = [RING, add_epoch(RING, key("b"))]
    rings += [send_with_newest(rings[-1]), drop_old_epochs(send_with_newest(rings[-1]))]
    for before, after in pairwise(rings):
        assert before.sending in after.epochs
        assert after.sending in before.epochs


def test_steps_out_of_order_drop_nothing_that_is_sent_with() -> None:
    added = add_epoch(RING, key("b"))
    assert drop_old_epochs(added) == added
    assert send_with_newest(RING) == RING


def test_a_key_stolen_during_a_rotation_is_left_behind_by_the_next_epoch() -> None:
    ring = add_epoch(send_with_newest(add_epoch(RING, key("b"))), key("c"))
    assert drop_old_epochs(send_with_newest(ring)).epochs == (3,)


def test_a_full_ring_takes_no_further_epoch() -> None:
    ring = RING
    for letter in "bcd"[: EPOCHS_MAX - 1]:
        ring = add_epoch(ring, key(letter))
    with pytest.raises(RefusedError) as refusal:
        add_epoch(ring, key("e"))
    assert refusal.value.code == "rotation-under-way"


def test_a_ring_travels_and_is_never_printed() -> None:
    assert decode(encode(RING), CellKeys, bytes_max=1_000) == RING
    assert "aaa" not in f"{RING} {RING!r} {[RING]}"


@pytest.mark.parametrize(
    ("keys", "sending"),
    [
        ((), 1),
        (((1, key("a")),), 2),
        (((2, key("a")), (1, key("b"))), 1),
        (((1, key("a")), (1, key("b"))), 1),
        (((1, b"short"),), 1),
        (((0, key("a")),), 0),
        (((2**32, key("a")),), 2**32),
        (tuple((n, key("a")) for n in range(1, EPOCHS_MAX + 2)), 1),
    ],
)
def test_a_ring_that_is_none_is_refused(keys: tuple[tuple[int, bytes], ...], sending: int) -> None:
    data = msgspec.msgpack.encode({"cell": CELL, "keys": keys, "sending": sending})
    with pytest.raises(ProtocolError):
        decode(data, CellKeys, bytes_max=1_000)
