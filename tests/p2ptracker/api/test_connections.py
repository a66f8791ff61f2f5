"""Attacks on the API's connections: many, idle, slow.  Real sockets."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import client_context, is_control_plane
from p2ptracker.api import tls
from tests.p2ptracker.tracker_bench import open_http
from tests.trust_folder import host_files

IDLE_CONNECTIONS = 1_000


async def connect_from(address: str, port: int) -> trio.SocketStream:
    own = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        await own.bind((address, 0))
        await own.connect(("127.0.0.1", port))
    except BaseException:
        own.close()
        raise
    return trio.SocketStream(own)


@asynccontextmanager
async def idle_connections(port: int, *addresses: str) -> AsyncGenerator[list[trio.SocketStream]]:
    """A thousand connections on which nobody says a word, from *addresses* in turn."""
    async with AsyncExitStack() as stack:
        opened: list[trio.SocketStream] = []
        for number in range(IDLE_CONNECTIONS):
            stream = await connect_from(addresses[number % len(addresses)], port)
            opened.append(await stack.enter_async_context(stream))
        yield opened


async def count_ended(streams: list[trio.SocketStream]) -> int:
    """How many of *streams* the other side has closed by now."""
    ended = 0
    for stream in streams:
        with trio.move_on_after(0.001):
            try:
                ended += await stream.receive_some(1) == b""
            except trio.BrokenResourceError:
                ended += 1
    return ended


async def gets_in(tracker) -> None:
    """A fresh connection of an operator, as a command of theirs opens it, is served."""
    with trio.fail_after(5):
        async with open_http(tracker.identity, tracker.ports.api) as http:
            assert (await http.get("/v1/time")).status_code == 200


def turned_away(tracker, who: str) -> float:
    value = tracker.plane.metrics.registry.get_sample_value(
        "p2p_api_connections_turned_away_total", {"who": who}
    )
    return value or 0.0


async def test_a_thousand_idle_connections_keep_no_operator_out(tracker) -> None:
    async with idle_connections(tracker.ports.api, "127.66.0.1") as idle:
        await gets_in(tracker)
        kept = len(idle) - await count_ended(idle)
        assert kept == tls.STRANGERS_OF_ONE_MAX, "the rest was closed, and no more is held open"
    assert turned_away(tracker, "stranger") >= IDLE_CONNECTIONS - tls.STRANGERS_OF_ONE_MAX


async def test_idle_connections_from_the_operators_own_address_keep_it_out_neither(tracker) -> None:
    async with idle_connections(tracker.ports.api, "127.0.0.1"):
        await gets_in(tracker)


async def test_a_thousand_idle_connections_from_as_many_addresses_keep_no_operator_out(
    tracker,
) -> None:
    addresses = [f"127.66.{number // 250}.{1 + number % 250}" for number in range(IDLE_CONNECTIONS)]
    async with idle_connections(tracker.ports.api, *addresses) as idle:
        await gets_in(tracker)
        assert len(idle) - await count_ended(idle) <= tls.STRANGERS_MAX


async def test_a_flood_that_goes_on_displaces_itself(tracker) -> None:
    """The operator's handshake is not the one that has to go, however many come meanwhile."""

    async def flood() -> None:
        async with AsyncExitStack() as stack:
            while True:
                stream = await connect_from("127.66.0.1", tracker.ports.api)
                await stack.enter_async_context(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        for _ in range(5):
            await gets_in(tracker)
        nursery.cancel_scope.cancel()


async def test_handshakes_that_never_end_are_cut(
    fleet_dir: Path, started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT_S", 0.1)
    async with started(fleet_dir) as tracker, AsyncExitStack() as stack:
        stream = await connect_from("127.0.0.1", tracker.ports.api)
        await stack.enter_async_context(stream)
        with trio.fail_after(5):
            assert await stream.receive_some(1) == b""


async def test_one_host_has_so_many_connections_and_no_more(tracker) -> None:
    files = host_files(tracker.folder, tracker.plane.inventory.get("h01"))
    context = client_context(files, is_control_plane, who="the control plane")
    async with AsyncExitStack() as stack:
        for _ in range(tls.HOSTS_OF_ONE_MAX):
            stream = await open_stream("127.0.0.1", tracker.ports.api, context)
            await stack.enter_async_context(stream)
            await ask_time(stream, tracker)
        refused = await open_stream("127.0.0.1", tracker.ports.api, context)
        stack.push_async_callback(trio.aclose_forcefully, refused)
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await ask_time(refused, tracker)
        await gets_in(tracker)
        assert (await tracker.as_host("h02").get("/v1/time")).status_code == 200
    assert turned_away(tracker, "host") == 1


async def test_who_has_gone_holds_no_place(
    fleet_dir: Path, started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that their client closed are not kept for its next request."""
    monkeypatch.setattr(tls, "IDLE_S", 3_600.0)
    async with started(fleet_dir) as tracker:
        files = host_files(tracker.folder, tracker.plane.inventory.get("h01"))
        context = client_context(files, is_control_plane, who="the control plane")
        for _ in range(3 * tls.HOSTS_OF_ONE_MAX):
            await trio.to_thread.run_sync(ask_and_go, tracker.ports.api, context)
        assert turned_away(tracker, "host") == 0


def ask_and_go(port: int, context: ssl.SSLContext) -> None:
    """As a client does that knows nothing of trio: blocking."""
    client = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
    client.request("GET", "/v1/time")
    assert client.getresponse().read()
    client.close()


async def ask_time(stream: trio.abc.Stream, tracker) -> None:
    host = f"127.0.0.1:{tracker.ports.api}".encode()
    await stream.send_all(b"GET /v1/time HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    with trio.fail_after(5):
        said = await stream.receive_some(4096)
    assert said.startswith(b"HTTP/1.1 200"), said


async def test_a_stranger_with_no_certificate_does_not_stay(
    tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has shaken hands and dribbles the body of a request that anybody may make."""
    monkeypatch.setattr(tls, "STRANGER_S", 0.5)
    context = ssl.create_default_context(cafile=str(tracker.identity.authority))
    context.check_hostname = False
    raw = await connect_from("127.0.0.1", tracker.ports.api)
    stream = trio.SSLStream(raw, context, https_compatible=True)
    host = f"127.0.0.1:{tracker.ports.api}".encode()
    await stream.send_all(
        b"POST /v1/enrolment HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 900\r\n\r\n"
    )
    with trio.fail_after(5):
        try:
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.05)
        except trio.BrokenResourceError:
            pass
    await trio.aclose_forcefully(stream)
    await gets_in(tracker)
