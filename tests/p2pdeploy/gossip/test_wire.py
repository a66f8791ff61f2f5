"""Bytes that do not prove themselves never become a packet, whatever they look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.codec import FrameReader
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.gossip.wire import MAC_BYTES, PacketSeal
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import DATAGRAM_BYTES_MAX
from p2pdeploy.messages.gossip import Ack, Item, MemberRumour, Packet, Ping
from p2pdeploy.testing.gossip_world import CELL, a_member

SEAL = PacketSeal(b"k" * 32, CELL)
PACKET = Packet(
    CELL,
    HostName("h01"),
    Ping(7, HostName("h02")),
    (Item("go", (1, 0), b"envelope"), MemberRumour(a_member(3))),
)


def payload_of(frame: bytes) -> bytes:
    reader = FrameReader()
    reader.feed(frame)
    (payload,) = reader
    return payload


def test_datagrams_and_streams_give_back_what_was_sealed() -> None:
    assert SEAL.open_datagram(SEAL.seal_datagram(PACKET)) == PACKET
    request, proof = SEAL.seal_request(PACKET)
    packet, same_proof = SEAL.open_request(payload_of(request))
    assert (packet, same_proof) == (PACKET, proof)
    reply = Packet(CELL, HostName("h02"), Ack(7))
    assert SEAL.open_reply(payload_of(SEAL.seal_reply(reply, proof)), proof) == reply


def test_another_key_cell_or_channel_is_refused() -> None:
    datagram = SEAL.seal_datagram(PACKET)
    for other in (PacketSeal(b"x" * 32, CELL), PacketSeal(b"k" * 32, CellId("lab.web.c1"))):
        with pytest.raises(TrustError):
            other.open_datagram(datagram)
    with pytest.raises(TrustError):
        SEAL.open_request(datagram)


def test_a_reply_answers_one_request_only() -> None:
    _, proof = SEAL.seal_request(PACKET)
    reply = payload_of(SEAL.seal_reply(Packet(CELL, HostName("h02"), Ack(7)), proof))
    with pytest.raises(TrustError):
        SEAL.open_reply(reply, b"\0" * MAC_BYTES)


def test_a_datagram_above_the_limit_is_refused_before_its_mac_is_computed() -> None:
    with pytest.raises(ProtocolError):
        SEAL.open_datagram(b"x" * (DATAGRAM_BYTES_MAX + 1))


@given(st.binary(max_size=DATAGRAM_BYTES_MAX + 10))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((ProtocolError, TrustError)):
        SEAL.open_datagram(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(SEAL.seal_datagram(PACKET))
    data[position % len(data)] ^= change
    with pytest.raises(TrustError):
        SEAL.open_datagram(bytes(data))


@given(st.binary(max_size=200))
def test_a_good_mac_over_anything_but_a_packet_is_malformed(payload: bytes) -> None:
    data = SEAL._mac(b"datagram", payload) + payload
    with pytest.raises(ProtocolError):
        SEAL.open_datagram(data)
