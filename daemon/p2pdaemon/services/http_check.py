"""One HTTP/1.1 GET, for its status only."""

from __future__ import annotations

from urllib.parse import urlsplit

import h11
import trio

from p2pdaemon.services.health import CheckResult

__all__ = ["get_status"]

HEADER_BYTES_MAX = 64 * 1024  # what h11 buffers before it refuses; servers allow 8 to 64 KiB
READ_BYTES = 16 * 1024


async def get_status(url: str, *, source_address: str | None) -> CheckResult:
    """GET *url*: 2xx is healthy, anything else is not; a redirect is not followed.

    Args:
        url: ``http://host:port/path?query``.
        source_address: Bound before connecting, so that the service sees its own host.

    The caller bounds the time.

    Raises:
        OSError: no connection, or it broke.
        h11.RemoteProtocolError: the answer is no HTTP.
        ValueError: the port is no number.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url} is not an http URL")
    stream = await trio.open_tcp_stream(
        parts.hostname, parts.port or 80, local_address=source_address
    )
    async with stream:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES_MAX)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = h11.Request(
            method="GET",
            target=target,
            headers=[("Host", parts.netloc), ("User-Agent", "p2pdaemon"), ("Connection", "close")],
        )
        await stream.send_all(connection.send(request) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        status = await _read_status(connection, stream)
    return CheckResult(200 <= status < 300, f"GET {url}: {status}")


async def _read_status(connection: h11.Connection, stream: trio.SocketStream) -> int:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(READ_BYTES))
        elif isinstance(event, h11.Response):
            return event.status_code
        elif not isinstance(event, h11.InformationalResponse):
            raise OSError("the connection ended without an answer")
