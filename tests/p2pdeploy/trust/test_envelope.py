"""Envelopes: who may say what, and that nothing undecodable ever becomes a message."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Abort, Excuse
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.testing.orders import (
    CELL,
    NEW,
    WEB,
    a_go,
    a_plan,
    a_settled,
    a_word,
    abort_of,
    activate,
    retry_of,
    rollout_of,
)
from p2pdeploy.trust.envelope import ROLE_OF, Envelope, Sealed, open_envelope, seal

KEYRING = HmacKeyring(b"fleet")
PLAN = a_plan()
ORDERS: tuple[Sealed, ...] = (
    rollout_of(PLAN),
    PLAN.plan,
    PLAN.revert,
    PLAN.roster,
    a_go(activate(PLAN)),
    abort_of(PLAN),
    Excuse(cell=CELL, service=WEB, plan_seq=4, excuse_seq=1, hosts=(), reason="gone"),
    retry_of(PLAN),
    a_settled(NEW, 4),
)
WORD = a_word("h1", 4, Rank.HEALTHY)


def sealed(message: Sealed, *, key_id: str = "") -> bytes:
    return seal(message, KEYRING.named(key_id or ROLE_OF[type(message)]))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_an_order_opens_to_what_was_sealed(order: Sealed) -> None:
    assert open_envelope(sealed(order), KEYRING) == order


def test_equal_messages_seal_to_equal_bytes() -> None:
    assert sealed(a_plan().plan) == sealed(a_plan().plan)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_no_other_role_may_give_an_order(order: Sealed) -> None:
    may = (
        {"abort", "go", "deployer", "rollout"}
        if isinstance(order, Abort)
        else {ROLE_OF[type(order)]}
    )
    for role in {*ROLE_OF.values(), "stranger", ""} - may:
        with pytest.raises(TrustError):
            open_envelope(sealed(order, key_id=role or "/"), KEYRING)


def test_a_host_speaks_only_for_itself() -> None:
    assert open_envelope(sealed(WORD, key_id="host/h1"), KEYRING) == WORD
    for key_id in ("host/h2", "host/h1/x", "host/", "host"):
        with pytest.raises(TrustError):
            open_envelope(sealed(WORD, key_id=key_id), KEYRING)


def test_another_fleets_secret_opens_nothing() -> None:
    with pytest.raises(TrustError):
        open_envelope(sealed(PLAN.plan), HmacKeyring(b"another fleet"))


def test_a_signature_of_one_type_does_not_serve_another() -> None:
    envelope = decode(sealed(PLAN.plan), Envelope, bytes_max=ENVELOPE_BYTES_MAX)
    retyped = msgspec.structs.replace(envelope, type="p2pdeploy/abort/1")
    with pytest.raises((TrustError, ProtocolError)):
        open_envelope(encode(retyped), KEYRING)


def test_an_envelope_whose_payload_is_of_another_type_is_refused() -> None:
    payload = encode(abort_of(PLAN))
    kind = "p2pdeploy/plan/1"
    signer = KEYRING.named("deployer")
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    data = encode(Envelope(kind, payload, (("deployer", signer.sign(message)),)))
    with pytest.raises(ProtocolError):
        open_envelope(data, KEYRING)


@settings(max_examples=200, deadline=None)
@given(
    order=st.sampled_from(ORDERS), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
)
def test_one_flipped_bit_is_refused(order: Sealed, place: float, bit: int) -> None:
    data = bytearray(sealed(order))
    data[int(place * len(data))] ^= 1 << bit
    with pytest.raises((TrustError, ProtocolError)):
        open_envelope(bytes(data), KEYRING)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises((TrustError, ProtocolError)):
        open_envelope(data, KEYRING)


def test_an_order_that_says_more_than_we_understand_is_refused() -> None:
    document = msgspec.msgpack.decode(encode(PLAN.plan))
    document["only_on_sundays"] = True
    payload = msgspec.msgpack.encode(document)
    kind = "p2pdeploy/plan/1"
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    data = encode(Envelope(kind, payload, (("deployer", KEYRING.named("deployer").sign(message)),)))
    with pytest.raises(ProtocolError):
        open_envelope(data, KEYRING)


def test_a_report_that_says_more_is_understood_in_part() -> None:
    document = msgspec.msgpack.decode(encode(WORD))
    document["mood"] = "good"
    payload = msgspec.msgpack.encode(document)
    kind = "p2pdeploy/attestation/1"
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    data = encode(Envelope(kind, payload, (("host/h1", KEYRING.named("host/h1").sign(message)),)))
    assert open_envelope(data, KEYRING) == WORD


def test_a_too_long_envelope_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        open_envelope(b"\xff" * (ENVELOPE_BYTES_MAX + 1), KEYRING)


def test_the_largest_roster_fits_into_an_envelope() -> None:
    assert len(sealed(a_plan(hosts=1_000, fault_domains=20).roster)) < ENVELOPE_BYTES_MAX
