"""A small HTTP/1.1 server for announce and scrape: GET only, bounded in every direction.

Faults inside a well-formed HTTP request are answered with 200 and a bencoded ``failure reason``,
because that is what BitTorrent clients show; broken HTTP gets 400 and the connection is closed.
Who may come at all is the door's business (:mod:`~p2ptracker.announce.callers`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import h11
import structlog
import trio
from prometheus_client import Counter

from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError
from p2ptracker.announce.callers import (
    CONNECTIONS_MAX,
    Caller,
    Door,
    FloodError,
    Visit,
    require_own,
)
from p2ptracker.announce.cells import CellSwarms
from p2ptracker.announce.replies import announce_reply, failure_reply, scrape_reply
from p2ptracker.announce.requests import parse_announce, parse_scrape
from p2ptracker.listener import serve_bounded

__all__ = ["AnnounceServer"]

HEADER_BYTES_MAX = 8 * 1024  # the longest scrape is 64 hashes of 60 characters
REQUEST_TIMEOUT_S = 10.0  # a client that dribbles its request, or keeps an idle connection
REQUESTS_PER_CONNECTION_MAX = 64
_READ_BYTES = 8 * 1024
_CLOSE = [("Connection", "close")]

Known = Callable[[bytes], Awaitable[bool]]
"""Whether an info-hash may be tracked."""

log = structlog.get_logger(__name__)


class AnnounceServer:
    """Serve the swarms of every cell.

    Args:
        swarms: The core.
        door: Says who calls.
        known: Asked about every announced info-hash.
        outcomes: Counts by ``outcome``: announce, scrape, refused, malformed; stranger is nobody
            whom the door lets in, or not with this request; flood is a caller that comes too
            often; turned-away is a connection beyond ``CONNECTIONS_MAX``, closed without a word.
    """

    def __init__(self, swarms: CellSwarms, door: Door, known: Known, outcomes: Counter) -> None:
        self._swarms = swarms
        self._door = door
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
            open_max=CONNECTIONS_MAX,
            turned_away=self._outcomes.labels(outcome="turned-away").inc,
            task_status=task_status,
        )

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            async with self._door.admit(stream) as visit:
                await self._talk(visit)
        except (trio.BrokenResourceError, trio.TooSlowError):
            return
        except TrustError as error:
            self._outcomes.labels(outcome="stranger").inc()
            log.warning("announce-stranger", reason=str(error))
        except FloodError:
            self._outcomes.labels(outcome="flood").inc()
        except Exception:  # one connection must not end the endpoint
            self._outcomes.labels(outcome="crashed").inc()
            log.exception("announce-connection-crashed")

    async def _talk(self, visit: Visit) -> None:
        stream = visit.stream
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
                status, body = await self._answer(request, visit)
                await _send(connection, stream, status, body)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _refuse_http(
        self, connection: h11.Connection, stream: trio.abc.Stream, error: h11.RemoteProtocolError
    ) -> None:
        self._outcomes.labels(outcome="malformed").inc()
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = failure_reply("malformed HTTP request")
            await _send(connection, stream, error.error_status_hint, body, headers=_CLOSE)

    async def _answer(self, request: h11.Request, visit: Visit) -> tuple[int, bytes]:
        try:
            return await self._serve(request, visit)
        except FloodError as error:
            self._outcomes.labels(outcome="flood").inc()
            return 200, failure_reply(error.message, retry_s=error.retry_s)
        except TrustError as error:
            self._outcomes.labels(outcome="stranger").inc()
            log.warning("announce-refused", reason=str(error))
            return 200, failure_reply(error.message)
        except P2PDeployError as error:
            self._outcomes.labels(outcome="refused").inc()
            return 200, failure_reply(error.message)

    async def _serve(self, request: h11.Request, visit: Visit) -> tuple[int, bytes]:
        caller = visit.who()  # before anything costs something
        path, _, query = request.target.partition(b"?")
        if request.method != b"GET":
            raise ProtocolError("only GET is served here")
        if any(name == b"origin" for name, _ in request.headers):
            raise ProtocolError("browsers are not served here")
        if path == b"/announce":
            return 200, await self._announce(query, caller)
        if path == b"/scrape":
            return 200, self._scrape(query, caller)
        self._outcomes.labels(outcome="refused").inc()
        return 404, failure_reply("the paths here are /announce and /scrape")

    async def _announce(self, query: bytes, caller: Caller) -> bytes:
        request = require_own(parse_announce(query), caller)
        if not await self._known(request.info_hash):
            raise ProtocolError("this torrent is not registered here")
        swarms = self._swarms.of(caller.cell)
        answer = swarms.announce(request, caller.address, trio.current_time())
        self._outcomes.labels(outcome="announce").inc()
        return announce_reply(request, answer, swarms.config)

    def _scrape(self, query: bytes, caller: Caller) -> bytes:
        request, swarms = parse_scrape(query), self._swarms.of(caller.cell)
        self._outcomes.labels(outcome="scrape").inc()
        return scrape_reply({known: swarms.counts(known) for known in request.info_hashes})


async def _read_request(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Request | None:
    """One whole request, its body thrown away; None when the client is done."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


async def _send(
    connection: h11.Connection,
    stream: trio.abc.Stream,
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
