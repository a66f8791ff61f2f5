"""Ask one host's daemon; used by the control plane and the command line.  Runs on trio."""

from __future__ import annotations

from typing import TypeVar

import trio

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import (
    NotFoundError,
    P2PDeployError,
    ProtocolError,
    RefusedError,
    UnavailableError,
)
from p2pdeploy.messages.cache import Cache, CacheRequest, Pruned, PruneRequest
from p2pdeploy.messages.host import (
    HOST_REPLY_BYTES_MAX,
    HostReply,
    HostRequest,
    Logs,
    LogsRequest,
    Metrics,
    MetricsRequest,
    Refusal,
    Status,
    StatusRequest,
    Why,
    WhyRequest,
)
from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_host

__all__ = [
    "PRUNE_TIMEOUT_S",
    "HostAddress",
    "ask_cache",
    "ask_logs",
    "ask_metrics",
    "ask_prune",
    "ask_status",
    "ask_why",
]

ASK_TIMEOUT_S = 5.0  # a daemon answers from memory, or from the end of a log file
PRUNE_TIMEOUT_S = 60.0  # deleting ten releases of 100,000 files each
_READ_BYTES = 64 * 1024

Reply = TypeVar("Reply", Logs, Status, Metrics, Why, Cache, Pruned)


class HostAddress:
    """Where the daemon of host *name* answers, as whom and from where we ask."""

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        *,
        identity: IdentityFiles,
        source: str | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.identity = identity
        self.source = source

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


async def ask_logs(host: HostAddress, request: LogsRequest) -> Logs:
    """The last lines of a service's output.  Raises as all of these do: see :func:`_ask`."""
    return await _ask(host, request, Logs)


async def ask_status(host: HostAddress) -> Status:
    """What runs there, by the daemon's own word."""
    return await _ask(host, StatusRequest(), Status)


async def ask_metrics(host: HostAddress) -> Metrics:
    """Counters and gauges of the daemon."""
    return await _ask(host, MetricsRequest(), Metrics)


async def ask_why(host: HostAddress, request: WhyRequest) -> Why:
    """What holds a service's next step there."""
    return await _ask(host, request, Why)


async def ask_cache(host: HostAddress) -> Cache:
    """Which releases lie there, and how much room there is."""
    return await _ask(host, CacheRequest(), Cache)


async def ask_prune(host: HostAddress) -> Pruned:
    """Have what is unused deleted there; only the control plane's identity is heard."""
    return await _ask(host, PruneRequest(), Pruned, timeout_s=PRUNE_TIMEOUT_S)


async def _ask(
    host: HostAddress, request: HostRequest, kind: type[Reply], *, timeout_s: float = ASK_TIMEOUT_S
) -> Reply:
    """One request, one reply.

    Raises:
        UnavailableError: the daemon is down, too slow, or cuts the stream off.
        NotFoundError, RefusedError: it says no, with its reason.
        TrustError, ProtocolError: what answers there is not the daemon of that host.
        ConfigError: our own identity is not usable.
    """
    try:
        with trio.fail_after(timeout_s):
            payload = await _exchange(host, encode(request))
    except trio.TooSlowError as error:
        raise UnavailableError(f"no answer within {timeout_s:g} s", where=str(host)) from error
    reply: HostReply = decode(payload, HostReply, bytes_max=HOST_REPLY_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
    if isinstance(reply, Refusal):
        raise _refusal(reply)
    if not isinstance(reply, kind):
        raise ProtocolError(f"asked for {kind.__name__}, got {type(reply).__name__}")
    return reply


async def _exchange(host: HostAddress, request: bytes) -> bytes:
    context = client_context(host.identity, is_host(host.name), who=f"host {host.name}")
    try:
        stream = await open_stream(host.address, host.port, context, source=host.source)
    except OSError as error:
        raise UnavailableError("the host's daemon cannot be reached", where=str(host)) from error
    # Who refuses our certificate hangs up: an end or a reset, as it meets what we were sending.
    try:
        async with stream:
            await stream.send_all(frame(request))
            reader = FrameReader(bytes_max=HOST_REPLY_BYTES_MAX)
            while data := await stream.receive_some(_READ_BYTES):
                reader.feed(bytes(data))
                for payload in reader:
                    return payload
    except trio.BrokenResourceError as error:
        raise _hung_up(host) from error
    raise _hung_up(host)


def _hung_up(host: HostAddress) -> UnavailableError:
    return UnavailableError(
        "the host closed the stream without an answer",
        where=str(host),
        hint="has your certificate expired, or been revoked?",
    )


def _refusal(reply: Refusal) -> P2PDeployError:
    error = reply.error
    kind = NotFoundError if error.code == NotFoundError.code else RefusedError
    return kind(error.message, where=error.where, hint=error.hint, code=error.code)
