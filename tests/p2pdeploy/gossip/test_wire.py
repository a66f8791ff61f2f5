"""Bytes that do not prove themselves never become a packet, whatever they look like."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.codec import FrameReader, encode
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.gossip.outbox import PACKET_BYTES_MAX
from p2pdeploy.gossip.sender_keys import SENDERS_MAX, WINDOW_PACKETS
from p2pdeploy.gossip.wire import (
    COUNTER_MAX,
    SALT_BYTES,
    SENDER_BYTES_MAX,
    TAG_BYTES,
    PacketSeal,
)
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import DATAGRAM_BYTES_MAX
from p2pdeploy.messages.gossip import Ack, Item, MemberRumour, Packet, Ping
from p2pdeploy.testing.gossip_world import CELL, a_member
from p2pdeploy.trust.cell_keys import (
    CellKeys,
    add_epoch,
    drop_old_epochs,
    first_cell_keys,
    send_with_newest,
)

RING = first_cell_keys(CELL, b"k" * 32)
SECRET = b"do not read this on the wire"
PACKET = Packet(
    CELL,
    HostName("h01"),
    Ping(7, HostName("h02")),
    (Item("go", (1, 0), SECRET), MemberRumour(a_member(3))),
)
ACK = Packet(CELL, HostName("h02"), Ack(7))
EPOCH_BYTES = slice(1, 5)
MUTATIONS = 20_000
_salts = itertools.count()


def a_seal(name: str, ring: CellKeys = RING) -> PacketSeal:
    """A start of host *name*: its salt is new."""
    return PacketSeal(ring, HostName(name), next(_salts).to_bytes(SALT_BYTES, "big"))


def payload_of(frame: bytes) -> bytes:
    reader = FrameReader()
    reader.feed(frame)
    (payload,) = reader
    return payload


def rotated(ring: CellKeys = RING, key: bytes = b"n" * 32) -> CellKeys:
    return drop_old_epochs(send_with_newest(add_epoch(ring, key)))


def refused(call: Callable[..., object], *args: object) -> str:
    """The code with which *call* is refused."""
    with pytest.raises(TrustError) as refusal:
        call(*args)
    return refusal.value.code


def test_datagrams_and_streams_give_back_what_was_sealed() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    assert bob.open_datagram(alice.seal_datagram(PACKET)) == PACKET
    request, proof = alice.seal_request(PACKET)
    packet, same_proof = bob.open_request(payload_of(request))
    assert (packet, same_proof) == (PACKET, proof)
    assert alice.open_reply(payload_of(bob.seal_reply(ACK, proof)), proof) == ACK


def test_eavesdropping_shows_the_sender_and_nothing_that_is_said() -> None:
    alice = a_seal("h01")
    for data in (alice.seal_datagram(PACKET), alice.seal_request(PACKET)[0]):
        assert SECRET not in data
        assert b"h02" not in data, "who is pinged"


def test_no_nonce_is_used_twice_over_channels_and_rings() -> None:
    alice = a_seal("h01")
    headers = [alice.seal_datagram(PACKET)[:29], payload_of(alice.seal_request(PACKET)[0])[:29]]
    alice.use(RING)
    headers.append(payload_of(alice.seal_reply(PACKET, b"p" * TAG_BYTES))[:29])
    assert len(set(headers)) == 3


def test_a_used_up_counter_seals_nothing_more() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    alice._counter = COUNTER_MAX - 1
    assert bob.open_datagram(alice.seal_datagram(PACKET)) == PACKET
    for _ in range(2):
        refused(alice.seal_datagram, PACKET)


# --- attacks ---------------------------------------------------------------------------------


def test_forged_gossip_is_refused() -> None:
    bob = a_seal("h02")
    for forger in (
        a_seal("h01", first_cell_keys(CELL, b"x" * 32)),
        a_seal("h01", rotated()),
    ):
        assert refused(bob.open_datagram, forger.seal_datagram(PACKET)) == "unauthorised"
    assert bob.senders_known == 0


def test_replayed_gossip_is_refused() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    first = alice.seal_datagram(PACKET)
    assert bob.open_datagram(first) == PACKET
    assert refused(bob.open_datagram, first) == "replayed"
    late = [alice.seal_datagram(PACKET) for _ in range(3)]
    for data in reversed(late):
        assert bob.open_datagram(data) == PACKET, "out of order is no replay"
    for data in (first, *late):
        assert refused(bob.open_datagram, data) == "replayed"


def test_a_replay_is_refused_after_the_sender_has_restarted() -> None:
    bob, before = a_seal("h02"), a_seal("h01").seal_datagram(PACKET)
    assert bob.open_datagram(before) == PACKET
    assert bob.open_datagram(a_seal("h01").seal_datagram(PACKET)) == PACKET
    assert refused(bob.open_datagram, before) == "replayed"


def test_a_packet_held_back_beyond_the_window_is_refused() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    held = alice.seal_datagram(PACKET)
    just = alice.seal_datagram(PACKET)
    for _ in range(WINDOW_PACKETS):
        newest = alice.seal_datagram(PACKET)
    assert bob.open_datagram(newest) == PACKET
    assert refused(bob.open_datagram, held) == "replayed"
    assert refused(bob.open_datagram, just) == "replayed"


def test_a_replayed_request_is_refused() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    request = payload_of(alice.seal_request(PACKET)[0])
    bob.open_request(request)
    assert refused(bob.open_request, request) == "replayed"


def test_cross_cell_replay_is_refused_even_under_the_same_key() -> None:
    other = first_cell_keys(CellId("lab.web.c1"), b"k" * 32)
    datagram = a_seal("h01").seal_datagram(PACKET)
    assert refused(a_seal("h02", other).open_datagram, datagram) == "unauthorised"


def test_a_datagram_is_no_request_and_a_request_no_reply() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    datagram, (request, proof) = alice.seal_datagram(PACKET), alice.seal_request(PACKET)
    refused(bob.open_request, datagram)
    refused(bob.open_datagram, payload_of(request))
    refused(bob.open_reply, payload_of(request), proof)


def test_a_reply_answers_one_request_only() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    proofs = [alice.seal_request(PACKET)[1] for _ in range(2)]
    reply = payload_of(bob.seal_reply(ACK, proofs[0]))
    refused(alice.open_reply, reply, proofs[1])
    assert alice.open_reply(reply, proofs[0]) == ACK


def test_a_reflected_packet_is_refused_by_who_sent_it() -> None:
    alice = a_seal("h01")
    refused(alice.open_datagram, alice.seal_datagram(PACKET))
    refused(a_seal("h01").open_datagram, alice.seal_datagram(PACKET))


def test_a_members_datagram_that_claims_another_sender_is_refused() -> None:
    mallory, bob = a_seal("h03"), a_seal("h02")
    refused(bob.open_datagram, mallory.seal_datagram(PACKET))  # PACKET says h01
    honest = mallory.seal_datagram(msgspec.structs.replace(PACKET, sender=HostName("h03")))
    refused(bob.open_datagram, honest.replace(b"h03", b"h01", 1))
    assert bob.open_datagram(honest).sender == "h03"


def test_a_stolen_key_of_an_old_epoch_is_refused_after_the_rotation() -> None:
    thief, bob = a_seal("h01"), a_seal("h02")
    assert bob.open_datagram(thief.seal_datagram(PACKET)) == PACKET
    bob.use(rotated())
    assert bob.senders_known == 0, "what was derived from the old key is gone as well"
    refused(bob.open_datagram, thief.seal_datagram(PACKET))
    new_number = CellKeys(cell=CELL, keys=((2, b"k" * 32),), sending=2)
    refused(bob.open_datagram, a_seal("h01", new_number).seal_datagram(PACKET))
    refused(thief.open_datagram, bob.seal_datagram(ACK))


def test_an_epoch_changed_on_the_way_is_refused() -> None:
    ring = add_epoch(RING, b"n" * 32)
    data = bytearray(a_seal("h01", ring).seal_datagram(PACKET))
    data[EPOCH_BYTES] = (2).to_bytes(4, "big")
    refused(a_seal("h02", ring).open_datagram, bytes(data))


def test_a_flood_of_random_salts_and_senders_takes_no_memory() -> None:
    bob, rng = a_seal("h02"), Random(1)
    data = bytearray(a_seal("h01").seal_datagram(PACKET))
    for _ in range(2 * SENDERS_MAX):
        data[5:21] = rng.randbytes(SALT_BYTES)
        refused(bob.open_datagram, bytes(data))
    assert bob.senders_known == 0


def test_a_member_that_floods_with_salts_takes_bounded_memory() -> None:
    bob = a_seal("h02")
    for _ in range(SENDERS_MAX + 50):
        bob.open_datagram(a_seal("h01").seal_datagram(PACKET))
    assert bob.senders_known == SENDERS_MAX


def test_keys_of_another_cell_are_refused_and_nothing_changes() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    refused(bob.use, first_cell_keys(CellId("lab.web.c1"), b"x" * 32))
    assert bob.open_datagram(alice.seal_datagram(PACKET)) == PACKET


# --- rotation --------------------------------------------------------------------------------


def test_a_rotation_loses_no_packet_whoever_is_first_with_each_ring() -> None:
    names = ["h01", "h02", "h03"]
    seals = {name: a_seal(name) for name in names}
    ring, rng = RING, Random(2)
    for step in (lambda r: add_epoch(r, b"n" * 32), send_with_newest, drop_old_epochs):
        ring = step(ring)
        for late in rng.sample(names, len(names)):
            seals[late].use(ring)
            for a, b in itertools.permutations(names, 2):
                packet = Packet(CELL, HostName(a), Ping(1, HostName(b)))
                assert seals[b].open_datagram(seals[a].seal_datagram(packet)) == packet
    assert ring == rotated()


def test_a_change_of_the_ring_does_not_reopen_the_window() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    data = alice.seal_datagram(PACKET)
    bob.open_datagram(data)
    bob.use(send_with_newest(add_epoch(RING, b"n" * 32)))
    assert refused(bob.open_datagram, data) == "replayed"


# --- shape -----------------------------------------------------------------------------------


def test_an_oversized_datagram_is_refused_although_a_member_sealed_it() -> None:
    large = msgspec.structs.replace(PACKET, rumours=(Item("go", (1, 0), b"x" * 1_400),))
    datagram = a_seal("h01").seal_datagram(large)
    assert len(datagram) > DATAGRAM_BYTES_MAX
    with pytest.raises(ProtocolError):
        a_seal("h02").open_datagram(datagram)


def test_a_full_packet_of_the_longest_name_fits_one_datagram() -> None:
    name = "h" * SENDER_BYTES_MAX
    empty = Packet(CELL, HostName(name), None, (Item("go", (1, 0), b"x" * 256),))
    room_bytes = PACKET_BYTES_MAX - len(encode(empty))
    full = Packet(CELL, HostName(name), None, (Item("go", (1, 0), b"x" * (256 + room_bytes)),))
    datagram = a_seal(name).seal_datagram(full)
    assert len(datagram) == DATAGRAM_BYTES_MAX
    assert a_seal("h02").open_datagram(datagram) == full


def test_a_packet_truncated_at_any_length_is_refused() -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    datagram, request = alice.seal_datagram(PACKET), payload_of(alice.seal_request(PACKET)[0])
    for length in range(len(datagram)):
        with pytest.raises((ProtocolError, TrustError)):
            bob.open_datagram(datagram[:length])
    for length in range(len(request)):
        with pytest.raises((ProtocolError, TrustError)):
            bob.open_request(request[:length])
    assert bob.senders_known == 0


def test_20_000_random_mutations_are_refused_and_change_nothing() -> None:
    alice, bob, rng = a_seal("h01"), a_seal("h02"), Random(3)
    good = alice.seal_datagram(PACKET)
    for _ in range(MUTATIONS):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[position] ^= rng.randint(1, 255)
                case 1:
                    del data[position : position + rng.randint(1, 8)]
                case _:
                    data[position:position] = rng.randbytes(rng.randint(1, 8))
        if bytes(data) == good:
            continue
        with pytest.raises((ProtocolError, TrustError)):
            bob.open_datagram(bytes(data))
    assert bob.senders_known == 0
    assert bob.open_datagram(good) == PACKET


@given(st.binary(max_size=DATAGRAM_BYTES_MAX + 10))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((ProtocolError, TrustError)):
        a_seal("h02").open_datagram(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(a_seal("h01").seal_datagram(PACKET))
    data[position % len(data)] ^= change
    with pytest.raises((ProtocolError, TrustError)):
        a_seal("h02").open_datagram(bytes(data))


@given(st.binary(max_size=200))
def test_a_good_tag_over_anything_but_a_packet_is_malformed(payload: bytes) -> None:
    data = a_seal("h01")._seal(b"datagram", payload)
    with pytest.raises(ProtocolError):
        a_seal("h02").open_datagram(data)


@given(st.lists(st.integers(1, 3 * WINDOW_PACKETS), max_size=60))
def test_the_window_accepts_a_counter_once_and_nothing_that_left_it(counters: list[int]) -> None:
    alice, bob = a_seal("h01"), a_seal("h02")
    heard: set[int] = set()
    for counter in counters:
        alice._counter = counter - 1
        fresh = counter not in heard and counter > max(heard, default=0) - WINDOW_PACKETS
        try:
            bob.open_datagram(alice.seal_datagram(PACKET))
        except TrustError:
            assert not fresh
        else:
            assert fresh
            heard.add(counter)
