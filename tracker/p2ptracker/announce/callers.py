"""Who calls the announce endpoint, and at which address its peers will find it.

A host is who its certificate says and where the inventory says: neither a parameter nor the socket
has a word in it.  The lab has neither certificate nor inventory for public clients; there a client
is where its socket is, which is why a lab stays on loopback.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from math import ceil
from typing import Protocol

import msgspec
import trio

from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.places import Places, address_of
from p2pdeploy.topology import Host
from p2pdeploy.trust.identity import HostId, spiffe_id
from p2pdeploy.trust.streams import accept_peer
from p2pdeploy.trust.tls import Peer
from p2ptracker.announce.rates import Rates, RatesConfig
from p2ptracker.announce.requests import AnnounceRequest

__all__ = [
    "CONNECTIONS_MAX",
    "Caller",
    "Door",
    "FloodError",
    "HostDoor",
    "LabDoor",
    "Visit",
    "require_own",
]

HANDSHAKE_TIMEOUT_S = 10.0  # two round trips and a signature; longer only holds a place
# A host with 64 services that starts announces them all twice, then each of them once a minute.
RATES = RatesConfig(per_s=4.0, burst=128, callers_max=4_096)
CONNECTIONS_MAX = 256
OPEN_PER_CALLER_MAX = 8  # one that takes what it gets leaves room for the others


class FloodError(RefusedError):
    """The caller comes too often; ``retry_s`` says when to come back."""

    code = "flood"

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many requests; again in {ceil(retry_s)} s")
        self.retry_s = retry_s


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an announce is of.  ``port`` None: the one that it says."""

    cell: str
    address: str
    port: int | None


class Visit(msgspec.Struct, frozen=True):
    """One connection.

    ``who`` is asked before each request and raises TrustError or FloodError.
    """

    stream: trio.abc.Stream
    who: Callable[[], Caller]


class Door(Protocol):
    """Lets connections in."""

    def admit(self, stream: trio.SocketStream) -> AbstractAsyncContextManager[Visit]:
        """Find out who opened *stream*.

        Raises:
            TrustError: nobody whom we serve; it was told by an alert of TLS at most.
            FloodError: it comes too often; nothing was said.
            trio.BrokenResourceError: it has gone.
        """
        ...


class LabDoor:
    """Everybody, over plain HTTP, at the address of the socket; all in one cell without a name."""

    @asynccontextmanager
    async def admit(self, stream: trio.SocketStream) -> AsyncGenerator[Visit]:
        caller = Caller(cell="", address=address_of(stream), port=None)
        yield Visit(stream, lambda: caller)


class HostDoor:
    """Hosts of the fleet, over TLS 1.3.

    Args:
        context: Our side of TLS; demands a certificate of the fleet.
        find: The inventory's record of a host.
        is_revoked: Whether a certificate's bearer is to be refused nevertheless.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        find: Callable[[str], Host | None],
        is_revoked: Callable[[Peer], bool],
    ) -> None:
        self._context = context
        self._find = find
        self._is_revoked = is_revoked
        self._connecting, self._asking = Rates(RATES), Rates(RATES)
        self._open = Places(open_max=CONNECTIONS_MAX, each_max=OPEN_PER_CALLER_MAX)

    @asynccontextmanager
    async def admit(self, stream: trio.SocketStream) -> AsyncGenerator[Visit]:
        address = address_of(stream)
        with self._place(address):
            _take(self._connecting, address)  # a handshake costs us more than it costs them
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                secure, peer = await accept_peer(stream, self._context)
        with self._place(spiffe_id(peer.identity)):
            yield Visit(secure, lambda: self._who(peer))

    def _who(self, peer: Peer) -> Caller:
        identity = peer.identity
        if not isinstance(identity, HostId):
            raise TrustError(f"{spiffe_id(identity)} is no host; only hosts announce")
        host = self._find(identity.host)
        if host is None or self._is_revoked(peer):
            raise TrustError(f"{spiffe_id(identity)} is not a host of this fleet any more")
        if (host.environment, host.machine_function) != (
            identity.environment,
            identity.machine_function,
        ):
            raise TrustError(f"{spiffe_id(identity)} is not what the inventory says of this host")
        _take(self._asking, identity.host)
        return Caller(cell=host.cell, address=host.address, port=host.swarm_port)

    @contextmanager
    def _place(self, who: str) -> Generator[None]:
        if not self._open.has_room(who):
            raise FloodError(1.0)
        with self._open.hold(who):
            yield


def require_own(request: AnnounceRequest, caller: Caller) -> AnnounceRequest:
    """The request as it may be stored: a host speaks for its own address and port alone.

    Raises:
        TrustError: it names another.
    """
    if caller.port is None:
        return request
    for claimed in request.claimed_addresses:
        if claimed != caller.address:
            raise TrustError(f"{claimed} is not your address, {caller.address} is")
    if request.port != caller.port:
        raise TrustError(f"port {request.port} is not your swarm port, {caller.port} is")
    return request


def _take(rates: Rates, who: str) -> None:
    retry_s = rates.take(who, trio.current_time())
    if retry_s:
        raise FloodError(retry_s)
