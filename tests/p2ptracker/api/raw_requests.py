"""Raw bytes to one connection of the API, from somebody without a certificate."""

from __future__ import annotations

import ssl
from contextlib import suppress

import trio
from hpack import Encoder

from tests.p2ptracker.tracker_bench import Tracker

__all__ = ["KILLERS", "WELL_FORMED", "answer_to", "crashed", "wait_for_crashes"]

HOST = b"HOST:PORT"  # stands for the API's own address
_LIMIT_S = 10.0

_UPGRADE = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\nConnection: Upgrade%s\r\nUpgrade: %s\r\n"
_WEBSOCKET = _UPGRADE % (b"", b"websocket") + (
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
)
_H2C = _UPGRADE % (b", HTTP2-Settings", b"h2c")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def _headers(*fields: tuple[str, str | bytes]) -> bytes:
    return _frame(1, 5, 1, Encoder().encode(list(fields)))


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
_PLACE = ((":scheme", "https"), (":path", "/"), (":authority", "a"))

# Each of them ended the process when Hypercorn was left to answer it by itself.
KILLERS = {
    "websocket with a body": _WEBSOCKET + b"Content-Length: 5\r\n\r\nhello",
    "websocket and junk": _WEBSOCKET + b"\r\n" + b"\xff" * 100,
    "h2c with settings that are no base64": _H2C + b"HTTP2-Settings: A\r\n\r\n",
    "h2c with settings that are cut off": _H2C + b"HTTP2-Settings: AAMA\r\n\r\n",
    "h2 connect": _PREFACE + _headers((":method", "CONNECT"), (":authority", "a")),
    "h2 method that is no text": _PREFACE + _headers((":method", b"\xff"), *_PLACE),
    "h2 2,000 priorities": _PREFACE
    + b"".join(_frame(2, 0, 2 * n + 1, bytes(4) + b"\x10") for n in range(2_000)),
}
WELL_FORMED = {
    "h2": _PREFACE + _headers((":method", "GET"), *_PLACE),
    "h2c": _H2C + b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "websocket": _WEBSOCKET + b"\r\n",
    "upgrade of a request with a body": _H2C + b"Content-Length: 2\r\n\r\nhi",
    "get": b"GET /healthz HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n",
    "connect": b"CONNECT " + HOST + b" HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n",
    "chunked": b"POST /v1/enrolment HTTP/1.1\r\nHost: "
    + HOST
    + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "expect": b"POST /v1/enrolment HTTP/1.1\r\nHost: "
    + HOST
    + b"\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
}


async def answer_to(tracker: Tracker, said: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """What the API answers on a connection of its own, until it hangs up or says no more."""
    stream = await stranger(tracker, context or stranger_context(tracker))
    address = f"127.0.0.1:{tracker.ports.api}".encode()
    answer = b""
    with trio.fail_after(_LIMIT_S), suppress(trio.BrokenResourceError):
        await stream.send_all(said.replace(HOST, address))
        await stream.transport_stream.send_eof()
        while data := await stream.receive_some(65_536):
            answer += data
    await trio.aclose_forcefully(stream)
    return answer


async def wait_for_crashes(tracker: Tracker, count: int) -> None:
    """Return when so many connections have ended by an error; fail when they do not."""
    with trio.fail_after(_LIMIT_S):
        while crashed(tracker) < count:  # noqa: ASYNC110 -- a counter sets no trio.Event
            await trio.sleep(0.01)


def stranger_context(tracker: Tracker) -> ssl.SSLContext:
    """Of a client that knows the fleet's authority and has nothing to show."""
    context = ssl.create_default_context(cafile=str(tracker.identity.authority))
    context.check_hostname = False
    return context


async def stranger(tracker: Tracker, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    raw = await trio.open_tcp_stream("127.0.0.1", tracker.ports.api)
    stream = trio.SSLStream(raw, context, https_compatible=True)
    await stream.do_handshake()
    return stream


def crashed(tracker: Tracker) -> float:
    """How many connections ended by an error of the server."""
    value = tracker.plane.metrics.registry.get_sample_value("p2p_api_connections_crashed_total")
    assert value is not None
    return value
