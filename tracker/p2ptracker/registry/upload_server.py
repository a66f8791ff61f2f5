"""The server half of the framed upload (``p2pdeploy/messages/upload.py``).

Who connects shows a certificate in the handshake, before we read anything else it sends.  The
upload key then says which release the chunks are for; whoever sends them must be allowed to publish
that service.  It need not be who began: publishers of the same bytes help each other, and a stolen
key lets nobody send who might not have begun it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import structlog
import trio
from prometheus_client import Counter

from p2pdeploy.codec import FrameReader, decode, frame
from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.api import ErrorBody
from p2pdeploy.messages.upload import (
    HELLO_BYTES_MAX,
    UploadAccepted,
    UploadHello,
    UploadRefused,
)
from p2pdeploy.places import Places, Slots, address_of
from p2pdeploy.trust.identity import spiffe_id
from p2pdeploy.trust.tls import Peer
from p2ptracker.listener import serve_bounded
from p2ptracker.registry.reception import Reception, say
from p2ptracker.registry.sealed_stream import SealedStream
from p2ptracker.registry.spool import Spool

__all__ = ["UploadServer"]

CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX = 16, 8  # that receive; buffers of 7 MiB each
STRANGERS_MAX, STRANGERS_OF_ONE_MAX = 64, 16  # in handshakes, by address
PUBLISHERS_MAX, PUBLISHERS_OF_ONE_MAX = 64, 16  # that receive or wait for it, by identity
OPEN_MAX = 160  # strangers, publishers, and those that are being closed
THREADS = 2  # hashing fills a core
HANDSHAKE_TIMEOUT_S = 10.0  # two round trips and a signature; longer only holds a place
HELLO_TIMEOUT_S = 10.0
REFUSAL_TIMEOUT_S = 2.0  # who may publish nothing gets one line
assert STRANGERS_MAX + PUBLISHERS_MAX < OPEN_MAX, "strangers leave room for publishers"

log = structlog.get_logger(__name__)


class UploadServer:
    """Receives chunks into the spools of a publisher.

    Args:
        spool_of: The spool for an upload key, or None.
        context: Our side of TLS; demands a certificate.
        may_publish: Whether somebody with that certificate may publish anything now; nobody else
            gets further than the handshake.
        admits: Whether somebody with that certificate may publish a service now; asked again and
            again, so that taking a certificate back ends its uploads.
        turned_away: Counts connections that were closed without a word: those beyond
            ``OPEN_MAX``, and strangers that had to make room.
        refused: Counts those that were answered with an error, by ``code``; ``crashed`` is an
            error of ours.
    """

    def __init__(
        self,
        spool_of: Callable[[str], Spool | None],
        context: ssl.SSLContext,
        may_publish: Callable[[Peer], bool],
        admits: Callable[[Peer, ServiceName], bool],
        *,
        turned_away: Counter,
        refused: Counter,
    ) -> None:
        self._spool_of = spool_of
        self._context = context
        self._may_publish = may_publish
        self._admits = admits
        self._turned_away = turned_away
        self._refused = refused
        self._strangers = Places(open_max=STRANGERS_MAX, each_max=STRANGERS_OF_ONE_MAX)
        self._publishers = Places(open_max=PUBLISHERS_MAX, each_max=PUBLISHERS_OF_ONE_MAX)
        self._slots = Slots(in_all=CONNECTIONS_MAX, of_one=CONNECTIONS_OF_ONE_MAX)
        self._threads = trio.CapacityLimiter(THREADS)

    async def serve(
        self,
        address: str,
        port: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until cancelled; ``started`` hands back the port."""
        await serve_bounded(
            self._serve_stream,
            address,
            port,
            open_max=OPEN_MAX,
            turned_away=self._turned_away.inc,
            task_status=task_status,
        )

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        sealed = SealedStream(stream, self._context)
        try:
            peer = await self._admit(sealed, address_of(stream))
            if peer is not None:
                with self._publishers.hold(spiffe_id(peer.identity)):
                    await self._serve_peer(sealed, peer)
        except trio.BrokenResourceError:
            return
        except (trio.TooSlowError, TrustError) as error:
            log.warning("upload-stranger", reason=str(error) or "too slow")
            self._refused.labels(code="stranger").inc()
            # TLS has told it what it lacks
        except Exception:  # one connection must not end the others
            log.exception("upload-connection-crashed")
            self._refused.labels(code="crashed").inc()

    async def _admit(self, stream: SealedStream, address: str) -> Peer | None:
        """Shake hands, and turn away who may not publish; None when it did not get in."""
        if self._strangers.displace(address):
            self._turned_away.inc()
        with self._strangers.hold(address):
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                peer = await stream.accept()
            error = self._reason_against(peer)
            if error is None:
                return peer
            with trio.move_on_after(REFUSAL_TIMEOUT_S):
                await self._refuse(stream, error)
        return None

    def _reason_against(self, peer: Peer) -> P2PDeployError | None:
        who = spiffe_id(peer.identity)
        if not self._may_publish(peer):
            return TrustError(
                f"{who} may publish nothing",
                hint="it needs the role of a publisher, and a certificate that holds",
                code="forbidden",
            )
        if not self._publishers.has_room(who):
            return UnavailableError(
                f"{who} has {PUBLISHERS_OF_ONE_MAX} uploads open, or everybody together too many",
                hint="try again when one has ended",
                code="too-many-connections",
            )
        return None

    async def _serve_peer(self, stream: SealedStream, peer: Peer) -> None:
        try:
            await self._receive(stream, peer)
        except (trio.BrokenResourceError, trio.TooSlowError):
            return  # the client went away; it resumes by beginning again
        except P2PDeployError as error:
            log.warning("upload-refused", code=error.code, reason=str(error))
            await self._refuse(stream, error)
        except Exception as error:  # one upload must not end the others
            log.exception("upload-crashed")
            await self._refuse(stream, P2PDeployError(f"the registry failed: {error!r}"))

    async def _refuse(self, stream: SealedStream, error: P2PDeployError) -> None:
        self._refused.labels(code=error.code).inc()
        await _refuse(stream, error)

    async def _receive(self, stream: SealedStream, peer: Peer) -> None:
        with trio.fail_after(HELLO_TIMEOUT_S):
            hello, rest = await _read_hello(stream)
        spool = self._find(hello)
        self._check(peer, spool)
        async with self._slots.take(spiffe_id(peer.identity)):  # behind the hello: no idle one
            with trio.fail_after(HELLO_TIMEOUT_S):
                await say(stream, UploadAccepted())
            reception = Reception(stream, spool, self._threads, lambda: self._check(peer, spool))
            await reception.run(rest)
        with trio.move_on_after(HELLO_TIMEOUT_S):
            await stream.say_goodbye()

    def _check(self, peer: Peer, spool: Spool) -> None:
        service = spool.manifest.service
        if not self._admits(peer, service):
            raise TrustError(
                f"{spiffe_id(peer.identity)} may not publish {service}",
                hint=f"it needs the role publisher:{service}, and a certificate that holds",
                code="forbidden",
            )

    def _find(self, hello: UploadHello) -> Spool:
        spool = self._spool_of(hello.upload_key)
        if spool is None:
            raise TrustError("this upload key is not in use", hint="begin again")
        return spool


async def _read_hello(stream: SealedStream) -> tuple[UploadHello, bytes]:
    """The first frame, and what came behind it."""
    came = b""
    while True:
        came += await stream.receive_some(HELLO_BYTES_MAX)
        reader = FrameReader(bytes_max=HELLO_BYTES_MAX)
        reader.feed(came)
        for payload in reader:
            return decode(payload, UploadHello, bytes_max=HELLO_BYTES_MAX), came[
                len(frame(payload)) :
            ]
        if len(came) > HELLO_BYTES_MAX:
            raise ProtocolError("no hello")


async def _refuse(stream: SealedStream, error: P2PDeployError) -> None:
    body = ErrorBody(code=error.code, message=error.message, where=error.where, hint=error.hint)
    with trio.move_on_after(HELLO_TIMEOUT_S):
        try:
            await say(stream, UploadRefused(error=body))
            await stream.hang_up()
        except trio.BrokenResourceError:
            return
