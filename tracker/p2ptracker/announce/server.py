"""A small HTTP/1.1 server for announce and scrape: GET only, bounded in every direction.

Faults inside a well-formed HTTP request are answered with 200 and a bencoded ``failure reason``,
because that is what BitTorrent clients show; broken HTTP gets 400 and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import h11
import structlog
import trio
from prometheus_client import Counter

from p2pdeploy.errors import ProtocolError
from p2ptracker.announce.replies import announce_reply, failure_reply, scrape_reply
from p2ptracker.announce.requests import parse_announce, parse_scrape
from p2ptracker.announce.swarms import Swarms
from p2ptracker.listener import serve_bounded

__all__ = ["AnnounceServer"]

HEADER_BYTES_MAX = 8 * 1024  # the longest scrape is 64 hashes of 60 characters
REQUEST_TIMEOUT_S = 10.0  # a client that dribbles its request, or keeps an idle connection
REQUESTS_PER_CONNECTION_MAX = 64
CONNECTIONS_MAX = 256
_READ_BYTES = 8 * 1024
_CLOSE = [("Connection", "close")]

Known = Callable[[bytes], Awaitable[bool]]
"""Whether an info-hash may be tracked."""

log = structlog.get_logger(__name__)


class AnnounceServer:
    """Serve one :class:`Swarms`.

    Args:
        swarms: The core.
        known: Asked about every announced info-hash.
        outcomes: Counts by ``outcome``: announce, scrape, refused, malformed; turned-away is a
            connection beyond ``CONNECTIONS_MAX``, closed without a word.
    """

    def __init__(self, swarms: Swarms, known: Known, outcomes: Counter) -> None:
        self._swarms = swarms
        self._known = known
        self._outcomes = outcomes

    async def serve(
        self,
        address: str,
        port: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until cancelled; ``started`` hands back the port."""
        await serve_bounded(
            self._serve_connection,
            address,
            port,
            where="announce address",
            open_max=CONNECTIONS_MAX,
            turned_away=self._outcomes.labels(outcome="turned-away").inc,
            task_status=task_status,
        )

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            await self._talk(stream, _peer_of(stream))
        except (trio.BrokenResourceError, trio.TooSlowError):
            return
        except Exception:  # one connection must not end the endpoint
            self._outcomes.labels(outcome="crashed").inc()
            log.exception("announce-connection-crashed")

    async def _talk(self, stream: trio.SocketStream, peer: str) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        for _ in range(REQUESTS_PER_CONNECTION_MAX):
            with trio.fail_after(REQUEST_TIMEOUT_S):
                try:
                    request = await _read_request(connection, stream)
                except h11.RemoteProtocolError as error:
                    await self._refuse_http(connection, stream, error)
                    return
                if request is None:
                    return
                status, body = await self._answer(request, peer)
                await _send(connection, stream, status, body)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _refuse_http(
        self, connection: h11.Connection, stream: trio.SocketStream, error: h11.RemoteProtocolError
    ) -> None:
        self._outcomes.labels(outcome="malformed").inc()
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = failure_reply("malformed HTTP request")
            await _send(connection, stream, error.error_status_hint, body, headers=_CLOSE)

    async def _answer(self, request: h11.Request, peer: str) -> tuple[int, bytes]:
        path, _, query = request.target.partition(b"?")
        try:
            if request.method != b"GET":
                raise ProtocolError("only GET is served here")
            if any(name == b"origin" for name, _ in request.headers):
                raise ProtocolError("browsers are not served here")
            if path == b"/announce":
                return 200, await self._announce(query, peer)
            if path == b"/scrape":
                return 200, self._scrape(query)
        except ProtocolError as error:
            self._outcomes.labels(outcome="refused").inc()
            return 200, failure_reply(error.message)
        self._outcomes.labels(outcome="refused").inc()
        return 404, failure_reply("the paths here are /announce and /scrape")

    async def _announce(self, query: bytes, peer: str) -> bytes:
        request = parse_announce(query)
        if not await self._known(request.info_hash):
            raise ProtocolError("this torrent is not registered here")
        answer = self._swarms.announce(request, peer, trio.current_time())
        self._outcomes.labels(outcome="announce").inc()
        return announce_reply(request, answer, self._swarms.config)

    def _scrape(self, query: bytes) -> bytes:
        request = parse_scrape(query)
        self._outcomes.labels(outcome="scrape").inc()
        return scrape_reply({known: self._swarms.counts(known) for known in request.info_hashes})


def _peer_of(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError as error:  # it reset the connection before it was accepted
        raise trio.BrokenResourceError("the client is gone") from error


async def _read_request(
    connection: h11.Connection, stream: trio.SocketStream
) -> h11.Request | None:
    """One whole request, its body thrown away; None when the client is done."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


async def _send(
    connection: h11.Connection,
    stream: trio.SocketStream,
    status: int,
    body: bytes,
    *,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    head = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers]
    response = h11.Response(status_code=status, headers=head)
    parts = (connection.send(response), connection.send(h11.Data(body)))
    end = connection.send(h11.EndOfMessage())
    await stream.send_all(b"".join(part for part in (*parts, end) if part))
