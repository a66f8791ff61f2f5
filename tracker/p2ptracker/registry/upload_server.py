"""The server half of the framed upload (``p2pdeploy/messages/upload.py``).

Chunks are received into one buffer, hashed and written from there: no copy in between.  While a
thread does that, the kernel goes on receiving into the socket's own buffer (several MiB).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import structlog
import trio
from prometheus_client import Counter

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError
from p2pdeploy.messages.api import ErrorBody
from p2pdeploy.messages.upload import (
    ACK_EVERY_BYTES,
    CHUNK_BYTES_MAX,
    CHUNK_HEADER,
    END_OF_CHUNKS,
    HELLO_BYTES_MAX,
    ServerWord,
    UploadAccepted,
    UploadAck,
    UploadHello,
    UploadRefused,
    upload_mac,
)
from p2ptracker.listener import serve_bounded
from p2ptracker.registry.spool import Received, Spool

__all__ = ["UploadServer"]

CONNECTIONS_MAX = 16  # a buffer each
OPEN_MAX = 64  # those that receive, and those that wait for one of them to end
THREADS = 2
BUFFER_BYTES = 4 * 1024 * 1024
SILENT_S = 60.0  # a sender that stalls longer has died; its next attempt resumes
HELLO_TIMEOUT_S = 10.0
assert CHUNK_BYTES_MAX + CHUNK_HEADER.size + HELLO_BYTES_MAX <= BUFFER_BYTES // 2
assert BUFFER_BYTES <= ACK_EVERY_BYTES

log = structlog.get_logger(__name__)


class UploadServer:
    """Receives chunks into the spools of a publisher.

    Args:
        spool_of: The spool for an upload key, or None.
        token: The fleet's secret, for the MAC of the hello.
        turned_away: Counts connections beyond ``OPEN_MAX``; they are closed without a word.
        refused: Counts those that were answered with an error, by ``code``.
    """

    def __init__(
        self,
        spool_of: Callable[[str], Spool | None],
        token: str,
        *,
        turned_away: Counter,
        refused: Counter,
    ) -> None:
        self._spool_of = spool_of
        self._token = token
        self._turned_away = turned_away
        self._refused = refused
        self._slots = trio.CapacityLimiter(CONNECTIONS_MAX)
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
            self._serve_in_turn,
            address,
            port,
            where="upload address",
            open_max=OPEN_MAX,
            turned_away=self._turned_away.inc,
            task_status=task_status,
        )

    async def _serve_in_turn(self, stream: trio.SocketStream) -> None:
        async with self._slots:
            try:
                await self._receive(stream)
            except (trio.BrokenResourceError, trio.TooSlowError):
                return  # the client went away; it resumes by beginning again
            except P2PDeployError as error:
                log.warning("upload-refused", code=error.code, reason=str(error))
                await self._refuse(stream, error)
            except Exception as error:  # one upload must not end the others
                log.exception("upload-crashed")
                await self._refuse(stream, P2PDeployError(f"the registry failed: {error!r}"))

    async def _refuse(self, stream: trio.SocketStream, error: P2PDeployError) -> None:
        self._refused.labels(code=error.code).inc()
        await _refuse(stream, error)

    async def _receive(self, stream: trio.SocketStream) -> None:
        with trio.fail_after(HELLO_TIMEOUT_S):
            hello, rest = await _read_hello(stream)
            spool = self._admit(hello)
            await _say(stream, UploadAccepted())
        await _Reception(stream, spool, self._threads).run(rest)

    def _admit(self, hello: UploadHello) -> Spool:
        if not hmac.compare_digest(hello.mac, upload_mac(self._token, hello.upload_key)):
            raise TrustError("the hello's MAC is wrong: another fleet's token")
        spool = self._spool_of(hello.upload_key)
        if spool is None:
            raise TrustError("this upload key is not in use", hint="begin again")
        return spool


class _Reception:
    """The chunks of one connection."""

    def __init__(
        self, stream: trio.SocketStream, spool: Spool, threads: trio.CapacityLimiter
    ) -> None:
        self._stream = stream
        self._spool = spool
        self._threads = threads
        self._durable_count = 0
        self._durable_bytes = 0

    async def run(self, rest: bytes) -> None:
        """Receive until the end of chunks; *rest* came behind the hello."""
        buffer = memoryview(bytearray(BUFFER_BYTES))
        buffer[: len(rest)] = rest
        filled = len(rest)
        while True:
            batch, used, ended = _cut(buffer[:filled])
            while not ended and used < BUFFER_BYTES // 2:
                filled += await self._receive_into(buffer[filled:])
                more, size, ended = _cut(buffer[used:filled])
                batch += more
                used += size
            await self._store(batch)
            if ended:
                return
            buffer[: filled - used] = buffer[used:filled]
            filled -= used

    async def _receive_into(self, room: memoryview) -> int:
        assert len(room), "a chunk fits in half the buffer, so there is always room for more"
        with trio.fail_after(SILENT_S):
            try:
                count = await self._stream.socket.recv_into(room)
            except OSError as error:
                raise trio.BrokenResourceError("the client reset the connection") from error
        if count == 0:
            raise trio.BrokenResourceError("the client hung up before the end of chunks")
        return count

    async def _store(self, batch: list[Received]) -> None:
        await trio.to_thread.run_sync(self._spool.write, batch, limiter=self._threads)
        self._durable_count += len(batch)
        self._durable_bytes += sum(len(received.data) for received in batch)
        ack = UploadAck(durable_count=self._durable_count, durable_bytes=self._durable_bytes)
        with trio.fail_after(SILENT_S):
            await _say(self._stream, ack)


def _cut(data: memoryview) -> tuple[list[Received], int, bool]:
    """The whole chunks at the start of *data*, how many bytes they are, and whether they end."""
    batch: list[Received] = []
    at = 0
    while len(data) - at >= CHUNK_HEADER.size:
        number, size = CHUNK_HEADER.unpack_from(data, at)
        if number == END_OF_CHUNKS:
            return batch, at, True
        if not 0 < size <= CHUNK_BYTES_MAX:
            raise ProtocolError(f"chunk {number} of {size} bytes, at most {CHUNK_BYTES_MAX}")
        start = at + CHUNK_HEADER.size
        if len(data) - start < size:
            break
        batch.append(Received(number, data[start : start + size]))
        at = start + size
    return batch, at, False


async def _read_hello(stream: trio.SocketStream) -> tuple[UploadHello, bytes]:
    """The first frame, and what came behind it."""
    came = b""
    while True:
        data = await stream.receive_some(HELLO_BYTES_MAX)
        if not data:
            raise trio.BrokenResourceError("the client hung up before its hello")
        came += data
        reader = FrameReader(bytes_max=HELLO_BYTES_MAX)
        reader.feed(came)
        for payload in reader:
            return decode(payload, UploadHello, bytes_max=HELLO_BYTES_MAX), came[
                len(frame(payload)) :
            ]
        if len(came) > HELLO_BYTES_MAX:
            raise ProtocolError("no hello")


async def _say(stream: trio.SocketStream, word: ServerWord) -> None:
    await stream.send_all(frame(encode(word)))


async def _refuse(stream: trio.SocketStream, error: P2PDeployError) -> None:
    body = ErrorBody(code=error.code, message=error.message, where=error.where, hint=error.hint)
    with trio.move_on_after(HELLO_TIMEOUT_S):
        try:
            await _say(stream, UploadRefused(error=body))
            await _hang_up(stream)
        except trio.BrokenResourceError:
            return


async def _hang_up(stream: trio.SocketStream) -> None:
    """Close our side and read on: closing with unread bytes would reset the refusal away."""
    await stream.send_eof()
    while await stream.receive_some(BUFFER_BYTES):
        pass
