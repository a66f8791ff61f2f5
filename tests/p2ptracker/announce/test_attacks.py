"""Attacks on the announce endpoint: each is refused, counted, and nobody else feels it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import random
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote_from_bytes

import msgspec
import pytest
import trio

from p2pdeploy import bencode
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import CellId
from p2pdeploy.payload.build import Built
from p2pdeploy.topology import Host
from p2pdeploy.trust.streams import SecureStream, open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane
from p2ptracker.announce.callers import OPEN_PER_CALLER_MAX, RATES, HostDoor
from p2ptracker.announce.cells import CellSwarms
from p2ptracker.announce.requests import parse_announce
from p2ptracker.announce.swarms import SwarmsConfig
from p2ptracker.authority.create import create_trust
from tests.trust_folder import enrol, host_files, operator_files

Reply = dict[bytes, object]


@pytest.fixture
async def fleet(fleet_dir: Path, started: Callable) -> AsyncGenerator:
    """A control plane that is no lab; hosts h00 and h01 are of one cell."""
    config = fleet_dir / "tracker.toml"
    config.write_text(config.read_text().replace("lab = true", "lab = false"))
    async with started(fleet_dir) as tracker:
        yield tracker


@pytest.fixture
async def info_hash(fleet, payload: Callable[..., Built]) -> bytes:
    """A release that is published."""
    view = (await fleet.publish("1.0.0", payload())).json()
    return bytes.fromhex(view["info_hash_v2"])[:20]


def a_host(fleet, number: int) -> Host:
    return fleet.plane.inventory[number]


async def connect(fleet, files: IdentityFiles) -> SecureStream:
    context = client_context(files, is_control_plane, who="the control plane")
    return await open_stream("127.0.0.1", fleet.ports.announce, context)


def a_query(info_hash: bytes, **changes: object) -> str:
    fields = {"info_hash": info_hash, "peer_id": b"p" * 20, "port": 6881, "left": 1, "compact": 1}
    return "&".join(
        f"{key}={quote_from_bytes(value) if isinstance(value, bytes) else value}"
        for key, value in (fields | changes).items()
    )


async def say(stream: trio.abc.Stream, query: str) -> Reply:
    await stream.send_all(f"GET /announce?{query} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    answer = b""
    with trio.fail_after(5):
        while data := await stream.receive_some(4096):
            answer += bytes(data)
            head, _, body = answer.partition(b"\r\n\r\n")
            if body and f"content-length: {len(body)}".encode() in head.lower():
                return bencode.decode(body, bytes_max=10**6)  # type: ignore[return-value]
    raise AssertionError(f"no answer: {answer!r}")


async def gets_nothing(stream: trio.abc.Stream) -> bool:
    """Whether the server hangs up; in TLS 1.3 a client learns of that at its first read."""
    try:
        await stream.send_all(b"GET /announce HTTP/1.1\r\nHost: t\r\n\r\n")
        with trio.fail_after(5):
            return not await stream.receive_some(4096)
    except trio.BrokenResourceError:
        return True


async def announce(fleet, files: IdentityFiles, query: str) -> Reply:
    async with await connect(fleet, files) as stream:
        return await say(stream, query)


def reason_of(reply: Reply) -> str:
    return reply[b"failure reason"].decode()  # type: ignore[attr-defined]


def peers_of(reply: Reply) -> set[str]:
    packed = reply[b"peers"]
    assert isinstance(packed, bytes)
    parts = [packed[at : at + 6] for at in range(0, len(packed), 6)]
    return {f"{ipaddress.ip_address(p[:4])}:{int.from_bytes(p[4:])}" for p in parts}


async def counted(fleet, outcome: str) -> float:
    lines = (await fleet.http.get("/metrics")).text.splitlines()
    name = f'p2p_announce_requests_total{{outcome="{outcome}"}}'
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), 0.0)


async def test_hosts_of_a_cell_find_each_other_where_the_inventory_says(
    fleet, info_hash: bytes
) -> None:
    first, second = a_host(fleet, 0), a_host(fleet, 1)
    query = a_query(info_hash)
    assert peers_of(await announce(fleet, host_files(fleet.folder, first), query)) == set()
    found = peers_of(await announce(fleet, host_files(fleet.folder, second), query))
    # Both called from 127.0.0.1, which is nobody's address.
    assert found == {f"{first.address}:{first.swarm_port}"}


@pytest.mark.parametrize("parameter", ["ip", "ipv4", "ipv6"])
async def test_announce_for_another_hosts_address(fleet, info_hash: bytes, parameter: str) -> None:
    me, victim, third = (a_host(fleet, number) for number in range(3))
    query = a_query(info_hash, **{parameter: victim.address})
    reply = await announce(fleet, host_files(fleet.folder, me), query)
    assert victim.address in reason_of(reply)
    assert await counted(fleet, "stranger") == 1
    third_sees = await announce(fleet, host_files(fleet.folder, third), a_query(info_hash))
    assert peers_of(third_sees) == set()


async def test_announce_of_another_port_than_the_hosts_own(fleet, info_hash: bytes) -> None:
    files = host_files(fleet.folder, a_host(fleet, 0))
    assert "port 22" in reason_of(await announce(fleet, files, a_query(info_hash, port=22)))


async def test_its_own_address_may_be_named(fleet, info_hash: bytes) -> None:
    host = a_host(fleet, 0)
    query = a_query(info_hash, ip=host.address)
    assert b"peers" in await announce(fleet, host_files(fleet.folder, host), query)


async def test_announce_without_a_certificate(fleet) -> None:
    bare = ssl.create_default_context(cafile=str(fleet.folder / "ca" / "fleet.pem"))
    bare.check_hostname = False
    stream = await open_stream("127.0.0.1", fleet.ports.announce, bare)
    async with stream:
        assert await gets_nothing(stream)
    assert await counted(fleet, "stranger") == 1


async def test_announce_in_plain_http(fleet) -> None:
    plain = await trio.open_tcp_stream("127.0.0.1", fleet.ports.announce)
    async with plain:
        await plain.send_all(b"GET /announce HTTP/1.1\r\nHost: t\r\n\r\n")
        with trio.fail_after(5):
            said = await plain.receive_some(4096)
    assert len(said) < 16, "an alert of TLS at most"
    assert await counted(fleet, "stranger") == 1


async def test_announce_with_a_certificate_of_another_fleet(fleet, tmp_path: Path) -> None:
    create_trust(tmp_path / "other", "other", now=dt.datetime.now(dt.UTC))
    enrol(tmp_path / "other", a_host(fleet, 0), tmp_path / "identity")
    foreign = host_files(tmp_path / "other", a_host(fleet, 0))
    ours = msgspec.structs.replace(foreign, authority=fleet.folder / "ca" / "fleet.pem")
    async with await connect(fleet, ours) as stream:
        assert await gets_nothing(stream)
    assert await counted(fleet, "stranger") == 1


async def test_announce_with_an_operators_certificate(fleet, info_hash: bytes) -> None:
    admin = operator_files(fleet.folder, "ann", "admin")
    assert "only hosts" in reason_of(await announce(fleet, admin, a_query(info_hash)))
    assert "only hosts" in reason_of(
        await announce(fleet, fleet.plane.trust.paths.control_plane_files(), a_query(info_hash))
    )
    assert await counted(fleet, "stranger") == 2


async def test_announce_by_a_revoked_host_ends_on_the_connection_that_is_open(
    fleet, info_hash: bytes
) -> None:
    host = a_host(fleet, 0)
    async with await connect(fleet, host_files(fleet.folder, host)) as stream:
        assert b"peers" in await say(stream, a_query(info_hash))
        await fleet.plane.revoker.revoke_host(host.name, "stolen")
        assert "not a host" in reason_of(await say(stream, a_query(info_hash)))


async def test_announce_flood(fleet, info_hash: bytes) -> None:
    loud, quiet = (host_files(fleet.folder, a_host(fleet, number)) for number in (0, 1))
    query, replies = a_query(info_hash), []
    async with AsyncExitStack() as stack:
        while len(replies) < RATES.burst + 64:
            if len(replies) % 64 == 0:  # as many as a connection carries
                stream = await stack.enter_async_context(await connect(fleet, loud))
            replies.append(await say(stream, query))
        refused = [reply for reply in replies if b"retry in" in reply]
        assert refused, "nothing was refused"
        assert "again in" in reason_of(refused[-1])
        assert await counted(fleet, "flood") == len(refused)
        served = await announce(fleet, quiet, query)
    assert len(peers_of(served)) == 1, "one entry, however often it was announced"


async def test_connections_that_one_host_holds_leave_room_for_others(
    fleet, info_hash: bytes
) -> None:
    loud, quiet = (host_files(fleet.folder, a_host(fleet, number)) for number in (0, 1))
    async with AsyncExitStack() as stack:
        for _ in range(OPEN_PER_CALLER_MAX):
            stream = await stack.enter_async_context(await connect(fleet, loud))
            await say(stream, a_query(info_hash))
        async with await connect(fleet, loud) as one_more:
            assert await gets_nothing(one_more)
        assert await counted(fleet, "flood") == 1
        assert b"peers" in await announce(fleet, quiet, a_query(info_hash))


async def test_a_flood_of_handshakes_is_cut_before_it_costs_any(
    fleet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger that only connects gets so many handshakes and no more."""
    shaken: list[object] = []

    async def shake_hands(stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        shaken.append(stream)
        raise TrustError("a stranger")

    monkeypatch.setattr("p2ptracker.announce.callers.accept_peer", shake_hands)
    door = HostDoor(ssl.create_default_context(), lambda name: None, lambda peer: False)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        server = await listener.accept()
        async with client, server:
            for _ in range(RATES.burst * 2):
                with pytest.raises(Exception, match=r"stranger|too many"):
                    async with door.admit(server):
                        pass
    assert RATES.burst <= len(shaken) <= RATES.burst + 10


async def test_hosts_of_other_cells_are_not_named() -> None:
    cells = CellSwarms(SwarmsConfig(interval_s=60), random.Random(1))
    request = parse_announce(a_query(b"h" * 20).encode())
    one, other = CellId("lab.web.c0"), CellId("lab.db.c0")
    cells.of(one).announce(request, "10.0.0.1", 0.0)
    assert cells.of(other).announce(request, "10.0.0.2", 0.0).peers == ()
    assert len(cells.of(one).announce(request, "10.0.0.3", 0.0).peers) == 1


async def test_a_cell_that_fills_its_table_takes_nothing_from_another() -> None:
    cells = CellSwarms(SwarmsConfig(interval_s=60, swarms_max=4, peers_max=4), random.Random(1))
    mine = parse_announce(a_query(b"h" * 20).encode())
    cells.of("quiet").announce(mine, "10.0.0.1", 0.0)
    for number in range(100):
        request = parse_announce(a_query(number.to_bytes(20)).encode())
        for port in range(10):
            cells.of("loud").announce(
                msgspec.structs.replace(request, port=7000 + port), "10.0.1.1", 1.0
            )
    assert cells.peer_count == 4 * 4 + 1
    assert cells.of("quiet").counts(b"h" * 20).incomplete == 1
