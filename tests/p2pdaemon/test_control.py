"""The control plane's client: every answer is bounded and judged, every failure has its class."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2pdaemon import control
from p2pdaemon.control import ControlPlane, open_control_plane
from p2pdeploy.codec import encode
from p2pdeploy.errors import (
    IntegrityError,
    NotFoundError,
    P2PDeployError,
    ProtocolError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.ids import CellId, Digest, HostName
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.deal import Deal, DealRequest, DealtPiece
from p2pdeploy.messages.gossip import BUCKETS, Offer
from p2pdeploy.messages.sync import SyncOffer

CELL = CellId("lab.web.c0")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the answers of this file come in the clear
REQUEST = DealRequest(cell=CELL, manifest_digest=Digest("ab" * 32), host=HostName("h01"), have=b"")

OFFER = SyncOffer(cell=CELL, host=HostName("h01"), members=(), offer=Offer((0,) * BUCKETS))


class Server:
    """Answers every request with the same bytes, or with none, and keeps what it was sent."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.peers: list[str] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        self.peers.append(stream.socket.getpeername()[0])
        self.requests.append(await stream.receive_some())
        if self.answer is None:
            await trio.sleep_forever()
        else:
            await stream.send_all(self.answer)


def http(status: str, body: bytes, head: str = "") -> bytes:
    text = f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return text.encode() + body


T = TypeVar("T")
HOST_ADDRESS = "127.0.0.77"


async def ask(server: Server, question: Callable[[ControlPlane], Awaitable[T]]) -> T:
    """Put *question* to *server*; raises what the client raises."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    api = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    outcome: list[T | P2PDeployError] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        async with open_control_plane(api, context=NO_TLS, address=HOST_ADDRESS) as plane:
            try:
                outcome.append(await question(plane))
            except P2PDeployError as error:
                outcome.append(error)
        nursery.cancel_scope.cancel()
    if isinstance(outcome[0], P2PDeployError):
        raise outcome[0]
    return outcome[0]


async def test_every_call_leaves_from_the_hosts_address() -> None:
    server = Server(http("200 OK", b"[]"))
    assert await ask(server, lambda plane: plane.hosts_of(CELL)) == []
    assert server.peers == [HOST_ADDRESS]


async def test_the_error_of_a_measurement_is_half_the_round_trip() -> None:
    server = Server(http("200 OK", b'{"now": 4102444800.5}'))
    measured = await ask(server, lambda plane: plane.measure_offset())
    assert measured.offset_s > 1_000_000
    assert 0 < measured.error_s < 5


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ("404 Not Found", NotFoundError, "gone"),
        ("401 Unauthorized", TrustError, "gone"),
        ("409 Conflict", RefusedError, "gone"),
        ("503 Service Unavailable", UnavailableError, "gone"),
    ],
)
async def test_a_refusal_keeps_its_words_and_gets_its_class(
    status: str, kind: type[P2PDeployError], code: str
) -> None:
    body = b'{"error": {"code": "gone", "message": "no such thing", "hint": "look"}}'
    with pytest.raises(kind) as refused:
        await ask(Server(http(status, body)), lambda plane: plane.hosts_of(CELL))
    assert (refused.value.code, refused.value.message) == (code, "no such thing")


@pytest.mark.parametrize(
    "answer",
    [
        http("500 Oops", b"<html>"),
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"",
    ],
)
async def test_an_answer_that_is_none_is_unavailable(answer: bytes) -> None:
    with pytest.raises(UnavailableError):
        await ask(Server(answer), lambda plane: plane.hosts_of(CELL))


async def test_nobody_there_is_unavailable_and_names_the_address() -> None:
    async with open_control_plane(
        "http://127.0.0.1:1", context=NO_TLS, address=HOST_ADDRESS
    ) as plane:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
            await plane.hosts_of(CELL)


async def test_silence_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CALL_TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError, match="no answer within"):
        await ask(Server(None), lambda plane: plane.sync(CELL, OFFER))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http("200 OK", b"x" * (control.SMALL_BYTES_MAX + 1)), "at most"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "length"),
    ],
)
async def test_an_answer_of_unbounded_length_is_refused(answer: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        await ask(Server(answer), lambda plane: plane.measure_offset())


async def test_a_manifest_must_have_the_digest_it_was_asked_by() -> None:
    server = Server(http("200 OK", b"manifest"))
    good = digest_of(b"manifest")
    assert await ask(server, lambda plane: plane.fetch_manifest(good)) == b"manifest"
    with pytest.raises(IntegrityError):
        await ask(server, lambda plane: plane.fetch_manifest(Digest("0" * 64)))


async def test_a_deal_brings_its_reply_and_its_bytes() -> None:
    deal = Deal(pieces=(DealtPiece(3, 4),))
    head = f"X-Deal: {base64.b64encode(encode(deal)).decode()}\r\n"
    server = Server(http("200 OK", b"data", head))
    assert await ask(server, lambda plane: plane.deal(REQUEST)) == (deal, b"data")


@pytest.mark.parametrize("head", ["", "X-Deal: %%%\r\n", "X-Deal: AAAA\r\n"])
async def test_a_deal_without_a_readable_reply_is_refused(head: str) -> None:
    with pytest.raises(ProtocolError):
        await ask(Server(http("200 OK", b"", head)), lambda plane: plane.deal(REQUEST))


async def test_deals_that_are_held_keep_nothing_else_waiting() -> None:
    class HoldingServer(Server):
        async def serve(self, stream: trio.SocketStream) -> None:
            if b"/v1/deal" in await stream.receive_some():
                await trio.sleep_forever()
            await stream.send_all(http("200 OK", b"[]"))

    async def question(plane: ControlPlane) -> list[object]:
        async with trio.open_nursery() as nursery:
            for _ in range(2 * control.DRAWING_MAX):
                nursery.start_soon(plane.deal, REQUEST)
            await wait_all_tasks_blocked(0.05)  # every connection that may is made
            with trio.fail_after(5):
                hosts = await plane.hosts_of(CELL)
            nursery.cancel_scope.cancel()
        return list(hosts)

    assert await ask(HoldingServer(b""), question) == []
