"""Where members are said to be: sockets are pointed there, so only an address may stand there."""

from __future__ import annotations

import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.messages.gossip import Member, Packet

LIMIT_BYTES = 4096

NO_ADDRESSES = [
    *("", "a\0b", "10.0.0.1\0", "10.0.0.1\n", "a..b", "host.example", "ü" * 70, "a" * 64 + ".x"),
    *("10.0.0.256", "10.0.0", "010.0.0.1", "10.0.0.1.1", "167772161", "0x7f.0.0.1", "::1"),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255"),
]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_rumour_of_a_member_that_is_nowhere_is_refused(address: str) -> None:
    member = ["h9", address, 7946, 6881, "fd0", 0, 0]
    packet = ["lab.web.c0", "h1", None, [["member", member, ""]]]
    with pytest.raises(ProtocolError):
        decode(encode(packet), Packet, bytes_max=LIMIT_BYTES)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_request_to_ping_nowhere_is_refused(address: str) -> None:
    packet = ["lab.web.c0", "h1", ["ping-request", 1, "h9", address, 7946], []]
    with pytest.raises(ProtocolError):
        decode(encode(packet), Packet, bytes_max=LIMIT_BYTES)


@pytest.mark.parametrize("address", ["1.0.0.0", "10.0.0.1", "127.254.7.89", "223.255.255.255"])
def test_the_address_of_a_machine_is_taken(address: str) -> None:
    member = decode(encode(["h9", address, 7946, 6881, "fd0", 0, 0]), Member, bytes_max=LIMIT_BYTES)
    assert member.address == address
