"""The announce core as traces: requests in, peers and figures out."""

from __future__ import annotations

import contextlib
import ipaddress
import random
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy import bencode
from p2pdeploy.errors import ProtocolError
from p2ptracker.announce.replies import announce_reply, scrape_reply
from p2ptracker.announce.requests import NUMWANT_MAX, parse_announce, parse_scrape
from p2ptracker.announce.swarms import Counts, Swarms, SwarmsConfig

HASH = b"h" * 20
CONFIG = SwarmsConfig(interval_s=60, swarms_max=3, peers_max=4)


def a_query(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "info_hash": HASH,
        "peer_id": b"p" * 20,
        "port": 6881,
        "uploaded": 0,
        "downloaded": 0,
        "left": 10,
        "compact": 1,
        **changes,
    }
    return "&".join(
        f"{key}={quote_from_bytes(value) if isinstance(value, bytes) else value}"
        for key, value in fields.items()
        if value is not None
    ).encode()


class World:
    def __init__(self) -> None:
        self.swarms = Swarms(CONFIG, random.Random(1))

    def announce(self, address: str, now: float = 0.0, **changes: object) -> dict:
        request = parse_announce(a_query(**changes))
        reply = announce_reply(request, self.swarms.announce(request, address, now), CONFIG)
        return bencode.decode(reply, bytes_max=10**6)  # type: ignore[return-value]


def test_two_clients_find_each_other_compactly() -> None:
    world = World()
    assert world.announce("127.0.0.2")[b"peers"] == b""
    answer = world.announce("127.0.0.3", port=7000)
    assert answer[b"peers"] == ipaddress.ip_address("127.0.0.2").packed + (6881).to_bytes(2, "big")
    assert (answer[b"complete"], answer[b"incomplete"]) == (0, 2)
    assert answer[b"interval"] == 60
    assert answer[b"min interval"] <= answer[b"interval"]


def test_dictionaries_are_given_to_clients_that_do_not_ask_for_compact() -> None:
    world = World()
    world.announce("127.0.0.2", peer_id=b"a" * 20)
    answer = world.announce("127.0.0.3", compact=None)
    assert answer[b"peers"] == [{b"ip": b"127.0.0.2", b"port": 6881, b"peer id": b"a" * 20}]
    answer = world.announce("127.0.0.3", compact=0, no_peer_id=1)
    assert answer[b"peers"] == [{b"ip": b"127.0.0.2", b"port": 6881}]


def test_ipv6_peers_travel_in_peers6() -> None:
    world = World()
    world.announce("::1")
    answer = world.announce("127.0.0.3")
    assert answer[b"peers"] == b""
    assert answer[b"peers6"] == bytes(15) + b"\x01" + (6881).to_bytes(2, "big")
    answer = world.announce("127.0.0.3", compact=0)
    assert answer[b"peers"][0][b"ip"] == b"::1"


def test_a_client_that_stopped_is_named_no_more() -> None:
    world = World()
    world.announce("127.0.0.2")
    assert world.announce("127.0.0.2", event="stopped")[b"peers"] == b""
    assert world.announce("127.0.0.3")[b"peers"] == b""
    assert world.swarms.counts(HASH) == Counts(0, 1, 0)


def test_a_silent_client_is_forgotten_after_two_intervals() -> None:
    world = World()
    world.announce("127.0.0.2", now=0)
    world.announce("127.0.0.3", now=100)
    assert len(world.announce("127.0.0.4", now=119)[b"peers"]) == 12
    assert len(world.announce("127.0.0.4", now=121)[b"peers"]) == 6


def test_completions_are_counted_once_and_seeds_are_not_named_to_seeds() -> None:
    world = World()
    world.announce("127.0.0.2", left=0, event="completed")
    world.announce("127.0.0.2", left=0, event="completed")
    assert world.announce("127.0.0.3", left=0)[b"peers"] == b""
    assert world.swarms.counts(HASH) == Counts(2, 0, 1)


def test_numwant_is_obeyed_up_to_the_limit() -> None:
    world = World()
    for number in range(4):
        world.announce(f"127.0.0.{2 + number}")
    assert len(world.announce("127.0.0.2", numwant=2)[b"peers"]) == 12
    assert world.announce("127.0.0.2", numwant=0)[b"peers"] == b""
    assert parse_announce(a_query(numwant=10**9)).numwant == NUMWANT_MAX
    assert parse_announce(a_query(numwant=-1)).numwant == 50


def test_tables_stay_bounded() -> None:
    world = World()
    for number in range(20):
        world.announce(f"127.0.1.{number}")
        world.announce("127.0.0.2", info_hash=bytes([number]) * 20)
    assert world.swarms.peer_count <= CONFIG.swarms_max * CONFIG.peers_max


def test_scrape_tells_figures_of_what_was_asked() -> None:
    world = World()
    world.announce("127.0.0.2", left=0)
    request = parse_scrape(a_query() + b"&info_hash=" + b"z" * 20)
    reply = scrape_reply({known: world.swarms.counts(known) for known in request.info_hashes})
    files = bencode.decode(reply, bytes_max=10**6)[b"files"]  # type: ignore[index]
    assert files[HASH] == {b"complete": 1, b"incomplete": 0, b"downloaded": 0}
    assert files[b"z" * 20] == {b"complete": 0, b"incomplete": 0, b"downloaded": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"info_hash": b"short"},
        {"info_hash": None},
        {"peer_id": b"x" * 21},
        {"port": 0},
        {"port": 65536},
        {"port": "http"},
        {"left": None},
        {"left": -1},
        {"left": "9" * 1000},
        {"event": "exploded"},
        {"numwant": "many"},
    ],
)
def test_malformed_announces_are_refused_with_a_reason(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse_announce(a_query(**changes))
    assert refusal.value.message


def test_a_scrape_of_everything_is_refused() -> None:
    for query in (b"", b"info_hash=short", b"&".join([b"info_hash=" + HASH] * 65)):
        with pytest.raises(ProtocolError):
            parse_scrape(query)


@given(st.binary(max_size=200))
def test_no_query_raises_anything_but_protocol_error(query: bytes) -> None:
    for parse in (parse_announce, parse_scrape):
        with contextlib.suppress(ProtocolError):
            parse(query)
