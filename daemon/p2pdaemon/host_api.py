"""The daemon's own small server: logs, status, metrics, why nothing happens, and its releases.

One request and one reply per TLS stream (``messages/host.py``), on the host's own address.  A
stream that is a stranger's, malformed, slow or one too many is closed without an answer, and
counted.  So is one that we fail to answer by a fault of our own; that fault is logged, and ends
nothing else.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import trio

from p2pdaemon.isolate import isolated
from p2pdaemon.release_cache import ReleaseCache
from p2pdaemon.reporter import Reporter
from p2pdaemon.services.logs import tail
from p2pdaemon.store import ReleaseStore
from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import (
    ConfigError,
    NotFoundError,
    P2PDeployError,
    ProtocolError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.host_client import PRUNE_TIMEOUT_S
from p2pdeploy.ids import ServiceName, check_service
from p2pdeploy.messages.api import ErrorBody
from p2pdeploy.messages.cache import CacheRequest, PruneRequest
from p2pdeploy.messages.host import (
    HOST_REQUEST_BYTES_MAX,
    LOG_BYTES_MAX,
    HostReply,
    HostRequest,
    Logs,
    LogsRequest,
    Metrics,
    MetricsRequest,
    Refusal,
    StatusRequest,
    Why,
    WhyRequest,
)
from p2pdeploy.places import Places, address_of
from p2pdeploy.trust.identity import ControlPlaneId, OperatorId
from p2pdeploy.trust.streams import SecureStream, accept_peer
from p2pdeploy.trust.tls import Peer

__all__ = ["HostApi"]

STREAMS_MAX = 8  # of strangers in handshakes; and of known ones, each with a reply of 4 MiB
STREAM_TIMEOUT_S = 5.0
_READ_BYTES = 4096

_files = trio.CapacityLimiter(2)


class HostApi:
    """Serves operators.

    Args:
        reporter: Knows status and metrics.
        store: Where the services' logs lie.
        cache: Knows which releases are there.
        context: What we present; demands a certificate of this fleet.
        is_revoked: Whether a valid certificate is to be refused nevertheless.
    """

    def __init__(
        self,
        reporter: Reporter,
        store: ReleaseStore,
        cache: ReleaseCache,
        context: ssl.SSLContext,
        is_revoked: Callable[[Peer], bool],
    ) -> None:
        self._reporter = reporter
        self._is_revoked = is_revoked
        self._store = store
        self._cache = cache
        self._context = context
        self._strangers = Places(open_max=STREAMS_MAX, each_max=STREAMS_MAX)
        self._answers = 0

    async def serve(
        self,
        address: str,
        port: int,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until cancelled.

        Raises:
            ConfigError: the address is not this host's, or the port is taken.
        """
        try:
            listeners = await trio.open_tcp_listeners(port, host=address)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            raise ConfigError(
                "port already in use" if in_use else f"cannot bind: {error.strerror}",
                where=f"host {address}:{port}",
                hint="is another daemon of this host running?" if in_use else "",
            ) from error
        await trio.serve_listeners(self._serve_stream, listeners, task_status=_void(task_status))

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        if await isolated("answer a stream", partial(self._serve_once, stream)) is not None:
            self._reporter.requests_dropped += 1

    async def _serve_once(self, stream: trio.SocketStream) -> None:
        """Answer one request; what strangers can cause is counted and not logged."""
        try:
            with trio.fail_after(STREAM_TIMEOUT_S) as patience:
                secure, peer = await self._shake_hands(stream)
                _check_asker(peer)
                if self._is_revoked(peer):
                    raise TrustError("the certificate was revoked", code="revoked")
                with self._room_for_an_answer():
                    request = await self._receive(secure)
                    if isinstance(request, PruneRequest):
                        _check_pruner(peer)
                        patience.deadline += PRUNE_TIMEOUT_S
                    reply = await self._answer(request)
                    await secure.send_all(frame(encode(reply)))
        except (P2PDeployError, trio.BrokenResourceError, trio.TooSlowError):
            self._reporter.requests_dropped += 1

    async def _shake_hands(self, stream: trio.SocketStream) -> tuple[SecureStream, Peer]:
        """Whoever opens one stream after the other displaces itself, not who comes to ask."""
        address = address_of(stream)
        self._strangers.displace(address)
        with self._strangers.hold(address):
            return await accept_peer(stream, self._context)
        raise UnavailableError("another stream took its place")

    @contextmanager
    def _room_for_an_answer(self) -> Generator[None]:
        if self._answers >= STREAMS_MAX:
            raise UnavailableError(f"{STREAMS_MAX} streams are answered already")
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1

    async def _receive(self, stream: SecureStream) -> HostRequest:
        reader = FrameReader(bytes_max=HOST_REQUEST_BYTES_MAX)
        while data := await stream.receive_some(_READ_BYTES):
            reader.feed(bytes(data))
            for payload in reader:
                request: HostRequest = decode(
                    payload,
                    HostRequest,  # pyright: ignore[reportArgumentType] a union is a type form
                    bytes_max=HOST_REQUEST_BYTES_MAX,
                )
                return request
        raise ProtocolError("the stream ended before its request")

    async def _answer(self, request: HostRequest) -> HostReply:
        try:
            match request:
                case LogsRequest():
                    return await self._logs(request)
                case WhyRequest():
                    return self._why(request)
                case StatusRequest():
                    return self._reporter.status()
                case CacheRequest():
                    return await self._cache.show()
                case PruneRequest():
                    return await self._cache.prune()
                case MetricsRequest():
                    return Metrics(text=self._reporter.metrics())
        except P2PDeployError as error:
            body = ErrorBody(
                code=error.code, message=error.message, where=error.where, hint=error.hint
            )
            return Refusal(error=body)

    async def _logs(self, request: LogsRequest) -> Logs:
        path = self._store.log_path(check_service(request.service))
        read = partial(tail, path, lines_max=request.lines_max, bytes_max=LOG_BYTES_MAX)
        try:
            if not await trio.to_thread.run_sync(path.exists, limiter=_files):
                raise _unknown(request.service)
            lines = await trio.to_thread.run_sync(read, limiter=_files)
        except OSError as error:  # a service that is the daemon's user may put anything there
            raise UnavailableError(
                f"the log cannot be read: {error.strerror}",
                where=str(path),
                hint="has the service replaced its log file?",
                code="log-unreadable",
            ) from error
        return Logs(service=request.service, lines=lines)

    def _why(self, request: WhyRequest) -> Why:
        service = request.service
        hold = self._reporter.why(service)
        if hold is not None:
            return Why(service=service, code=hold.code, message=hold.message)
        if self._reporter.attestation(service) is None:
            raise _unknown(service)
        return Why(service=service, code="", message="nothing holds it")


def _check_asker(peer: Peer) -> None:
    """Operators and the control plane may look; one host has no business with another's logs."""
    if not isinstance(peer.identity, ControlPlaneId | OperatorId):
        raise TrustError(f"{peer.identity} may not ask a daemon")


def _check_pruner(peer: Peer) -> None:
    """Who may have something deleted is the control plane's to judge, and to put on record."""
    if not isinstance(peer.identity, ControlPlaneId):
        raise TrustError(f"{peer.identity} may not have releases deleted")


def _unknown(service: ServiceName) -> NotFoundError:
    return NotFoundError(f"this host has never had {service!r}")


class _Started:
    """Passes on that the server listens, and keeps its listeners to itself."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, value: object = None) -> None:
        self._task_status.started()


def _void(task_status: trio.TaskStatus[None]) -> trio.TaskStatus[list[trio.SocketListener]]:
    return _Started(task_status)
