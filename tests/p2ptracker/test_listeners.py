"""Both socket servers against clients that connect and reset, and against too many of them."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import client_context, is_control_plane, server_context
from p2ptracker.announce import server
from p2ptracker.announce.callers import LabDoor
from p2ptracker.announce.cells import CellSwarms
from p2ptracker.announce.server import AnnounceServer
from p2ptracker.announce.swarms import SwarmsConfig
from p2ptracker.api.authorise import may_upload, may_upload_something
from p2ptracker.listener import serve_bounded
from p2ptracker.registry import upload_server
from p2ptracker.registry.upload_server import UploadServer
from tests.trust_folder import add_trust, control_plane_files, operator_files

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


def a_counter(*labels: str) -> Counter:
    return Counter("outcomes", "of a test", labels, registry=CollectorRegistry())


def an_announce_server(outcomes: Counter) -> AnnounceServer:
    async def known(info_hash: bytes) -> bool:
        return False

    swarms = CellSwarms(SwarmsConfig(interval_s=60), random.Random(1))
    return AnnounceServer(swarms, LabDoor(), known, outcomes)


def an_upload_server(
    folder: Path, *, turned_away: Counter | None = None, refused: Counter | None = None
) -> UploadServer:
    return UploadServer(
        lambda key: None,
        server_context(control_plane_files(folder), demands_certificate=True),
        may_upload_something,
        may_upload,
        turned_away=turned_away or a_counter(),
        refused=refused or a_counter("code"),
    )


@asynccontextmanager
async def listening(one: AnnounceServer | UploadServer) -> AsyncGenerator[int]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(one.serve, "127.0.0.1", 0)
        nursery.cancel_scope.cancel()


def connect_and_reset(port: int) -> None:
    """Blocks the event loop, so that the server accepts a connection that is already dead."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


async def ask(port: int) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        with trio.fail_after(5):
            return await stream.receive_some(4096)


async def test_a_client_that_resets_before_it_is_accepted_ends_nothing() -> None:
    outcomes = a_counter("outcome")
    async with listening(an_announce_server(outcomes)) as port:
        for _ in range(3):
            connect_and_reset(port)
        assert b"404" in await ask(port)
    assert outcomes.labels(outcome="crashed")._value.get() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    add_trust(tmp_path)
    return tmp_path


async def test_an_upload_that_resets_before_it_is_accepted_ends_nothing(folder: Path) -> None:
    refused = a_counter("code")
    async with listening(an_upload_server(folder, refused=refused)) as port:
        connect_and_reset(port)
        files = operator_files(folder, "ann", "publisher:*")
        context = client_context(files, is_control_plane, who="the registry")
        stream = await open_stream("127.0.0.1", port, context)
        async with stream:
            await stream.send_all(b"\xff" * 8)  # no frame: it is told so
            with trio.fail_after(5):
                assert b"protocol" in await stream.receive_some(4096)
    assert refused.labels(code="protocol")._value.get() == 1


async def test_an_upload_stream_that_speaks_no_tls_gets_no_word(folder: Path) -> None:
    refused = a_counter("code")
    async with listening(an_upload_server(folder, refused=refused)) as port:
        said = await ask(port)
    assert b"HTTP" not in said
    assert len(said) < 16, "an alert of TLS at most"
    assert refused.labels(code="stranger")._value.get() == 1


async def turned_away(port: int, *, kept: int) -> bytes:
    """What the client after *kept* silent ones hears, once they were all accepted."""
    async with AsyncExitStack() as stack:
        for _ in range(kept):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        one_more = await trio.open_tcp_stream("127.0.0.1", port)
        async with one_more:
            with trio.fail_after(5):
                return await one_more.receive_some(4096)


async def test_announce_connections_beyond_the_limit_are_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)
    outcomes = a_counter("outcome")
    async with listening(an_announce_server(outcomes)) as port:
        assert await turned_away(port, kept=2) == b""
    assert outcomes.labels(outcome="turned-away")._value.get() == 1


async def test_uploads_beyond_the_limit_are_turned_away(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(upload_server, "OPEN_MAX", 2)
    count = a_counter()
    async with listening(an_upload_server(folder, turned_away=count)) as port:
        assert await turned_away(port, kept=2) == b""
    assert count._value.get() == 1


async def test_a_connection_that_crashes_ends_no_other() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        if await stream.receive_some(1) == b"x":
            raise ValueError("a mistake of ours")
        await stream.send_all(b"well")

    async with trio.open_nursery() as nursery:
        serving = partial(serve_bounded, serve, open_max=2, turned_away=lambda: None)
        port = await nursery.start(serving, "127.0.0.1", 0)
        with capture_logs() as logs, trio.fail_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some(1) == b""
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"y")
                assert await stream.receive_some(4) == b"well"
        assert [entry["event"] for entry in logs] == ["connection-crashed"]
        nursery.cancel_scope.cancel()
