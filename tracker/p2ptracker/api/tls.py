"""Hypercorn over TLS 1.3, with the peer's identity in every request's scope.

Hypercorn makes its own context, hides the peer's certificate, and changes protocols in the middle
of a connection.  Against these are small hooks of version 0.18: ``Config.create_ssl_context``, the
class that serves one connection, and the one that speaks HTTP/1.1.  What one connection raises ends
that one; left to Hypercorn it would end the process.

Connections are bounded.  Whoever has shown no certificate is a stranger, by address; hosts and
operators have places of their own, by identity, so that no kind takes another's.
"""

from __future__ import annotations

import ssl
import traceback
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT
from typing import Any, cast

import hypercorn.protocol
import hypercorn.trio.run
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from prometheus_client import Counter

from p2pdeploy.errors import TrustError
from p2pdeploy.places import Places, address_of
from p2pdeploy.trust.identity import HostId, spiffe_id
from p2pdeploy.trust.tls import IdentityFiles, Peer, peer_of, server_context
from p2ptracker.api import body_room
from p2ptracker.api.http11 import OnlyHttp11

__all__ = ["TlsConfig"]

LINGER_S = 2.0  # a client that still sends the body of a request that was answered already
HANDSHAKE_TIMEOUT_S = 10.0  # two round trips and a signature; longer only holds a socket
IDLE_S = 5.0  # between two requests; who comes back later pays a handshake of a millisecond
QUEUE_MAX = 2  # pieces of 64 KiB of a body that nobody has read yet, on each connection
# Of one connection, in the kernel: so that what "was sent" has left, but for what is on the wire.
NOT_SENT_BYTES_MAX = 4 * 1024
STRANGER_S = 60.0  # joining takes two requests; whoever dribbles one holds a place no longer
# In handshakes, and without a certificate: a rack that joins comes from one address at worst.
STRANGERS_MAX, STRANGERS_OF_ONE_MAX = 512, 128
HOSTS_MAX, HOSTS_OF_ONE_MAX = 4_096, 16  # a daemon opens six, its short-lived children one each
OPERATORS_MAX, OPERATORS_OF_ONE_MAX = 512, 64  # a CI job's name runs many commands at once
_CAUSE_CHARS_MAX = 200  # of an error in the log, which may quote what was sent

log = structlog.get_logger(__name__)


class TlsConfig(Config):
    """A configuration that serves with our identity and asks clients for theirs.

    A client without a certificate gets as far as the guard, which tells it what it lacks.

    Args:
        files: What we present, and the CA of our clients.
        turned_away: Counts connections that were closed for want of a place, by ``who``:
            stranger, host or operator.
        crashed: Counts connections that ended by an error of ours.
    """

    def __init__(self, files: IdentityFiles, turned_away: Counter, crashed: Counter) -> None:
        super().__init__()
        self.ssl_handshake_timeout = HANDSHAKE_TIMEOUT_S
        self.keep_alive_timeout = IDLE_S
        self.max_app_queue_size = QUEUE_MAX
        self.turned_away = turned_away
        self.crashed = crashed
        self.strangers = Places(open_max=STRANGERS_MAX, each_max=STRANGERS_OF_ONE_MAX)
        self.hosts = Places(open_max=HOSTS_MAX, each_max=HOSTS_OF_ONE_MAX)
        self.operators = Places(open_max=OPERATORS_MAX, each_max=OPERATORS_OF_ONE_MAX)
        # Only so that Hypercorn serves TLS; what it serves with is the context below.
        self.certfile, self.keyfile = str(files.certificate), str(files.key)
        self._files = files

    def create_ssl_context(self) -> ssl.SSLContext:
        return server_context(self._files, demands_certificate=False)


class _PeerServer(TCPServer):
    """One connection.  ``scope["state"]`` of its requests has ``peer`` and ``valid_until``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._is_closing = False
        self._heard_all = trio.Event()

    async def run(self) -> None:
        config = cast(TlsConfig, self.config)
        try:
            await self._serve(config)
        except* Exception as errors:  # one connection must not end the others
            config.crashed.inc()
            log.error("api-connection-crashed", cause=_cause_of(errors))

    async def _serve(self, config: TlsConfig) -> None:
        try:
            self.stream.transport_stream.setsockopt(
                IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES_MAX
            )
            address = address_of(self.stream.transport_stream)
        except trio.BrokenResourceError:
            return
        if config.strangers.displace(address):
            config.turned_away.labels(who="stranger").inc()
        with config.strangers.hold(address) as scope:
            scope.deadline = trio.current_time() + STRANGER_S
            if not await self._find_peer():
                return
            if "peer" not in self.state:
                await super().run()
                return
        peer = cast(dict[str, Any], self.state).get("peer")
        if peer is not None:  # and it was not displaced
            await self._serve_peer(config, peer)

    async def _serve_peer(self, config: TlsConfig, peer: Peer) -> None:
        is_host = isinstance(peer.identity, HostId)
        places, who = (config.hosts, "host") if is_host else (config.operators, "operator")
        name = spiffe_id(peer.identity)
        if not places.has_room(name):
            config.turned_away.labels(who=who).inc()
            log.warning("too-many-connections", caller=name)
            return
        with places.hold(name):
            await super().run()

    async def _find_peer(self) -> bool:
        """Shake hands; whether it came to that."""
        try:
            with trio.fail_after(self.config.ssl_handshake_timeout):
                await self.stream.do_handshake()
            self.state = cast(Any, {**self.state, **_state_of(self.stream)})
        except (trio.BrokenResourceError, trio.TooSlowError):
            return False  # its own reason is in the alert that the client got
        except TrustError as error:
            log.warning("strange-certificate", reason=str(error))
            return False
        return True

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        finally:
            self._heard_all.set()
        await self.idle_task.stop()  # it would hold the place of a client that has gone

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
            return
        if isinstance(event, Updated) and event.idle and self._heard_all.is_set():
            return  # nothing more can be asked: there is nothing to be idle for
        await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        """Hypercorn's own has no deadline: who does not read would hold its place for ever."""
        async with self.send_lock:
            try:
                with trio.fail_after(body_room.allowed_s(len(data)), shield=True):
                    await self.stream.send_all(data)
                return
            except trio.TooSlowError:
                await trio.aclose_forcefully(self.stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the protocol hears of it below
        await self.protocol.handle(Closed())

    async def _close(self) -> None:
        """End our side and let the other finish: closing with bytes unread would be a reset, and
        take the answer with it.
        """
        if not self._is_closing:
            self._is_closing = True
            gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
            with gone, trio.move_on_after(LINGER_S):
                async with self.send_lock:  # behind the answer that is being sent
                    await self.stream.transport_stream.send_eof()
                await self._heard_all.wait()
        await trio.aclose_forcefully(self.stream)


def _cause_of(error: BaseException) -> str:
    """In one short line: whoever finds another such input sends it a thousand times."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{repr(error)[:_CAUSE_CHARS_MAX]} in {at.filename}:{at.lineno}"


def _state_of(stream: trio.SSLStream[trio.SocketStream]) -> dict[str, Any]:
    """Who the other side is; nothing when it presented no certificate."""
    certificate: dict[str, Any] | None = stream.getpeercert()
    if not certificate:
        return {}
    valid_until = ssl.cert_time_to_seconds(certificate["notAfter"])
    return {"peer": peer_of(certificate), "valid_until": valid_until}


hypercorn.trio.run.TCPServer = _PeerServer  # pyright: ignore[reportPrivateImportUsage]
hypercorn.protocol.H11Protocol = OnlyHttp11  # pyright: ignore[reportPrivateImportUsage]
