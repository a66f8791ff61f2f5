"""The chunks of one upload connection: received, decrypted, verified, stored, acknowledged.

What came is still encrypted; a thread decrypts it into a buffer, hashes the chunks there and writes
them from there.  Meanwhile the event loop receives what comes next into a second buffer.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdeploy.codec import encode, frame
from p2pdeploy.errors import P2PDeployError, ProtocolError
from p2pdeploy.messages.upload import (
    ACK_EVERY_BYTES,
    CHUNK_BYTES_MAX,
    CHUNK_HEADER,
    END_OF_CHUNKS,
    ServerWord,
    UploadAck,
)
from p2ptracker.registry.sealed_stream import SealedStream
from p2ptracker.registry.spool import Received, Spool

__all__ = ["Reception", "say"]

SILENT_S = 60.0  # a sender that stalls longer has died; its next attempt resumes
SEALED_BYTES = 2 * 1024 * 1024  # decrypted by one thread call, which costs nothing beside that
PLAIN_BYTES = 3 * 1024 * 1024
PAUSE_S = 0.01  # waiting longer for a full buffer would slow down a small release
_REST_BYTES_MAX = CHUNK_HEADER.size + CHUNK_BYTES_MAX + 64 * 1024  # half a chunk, behind the hello
assert SEALED_BYTES + _REST_BYTES_MAX <= PLAIN_BYTES <= ACK_EVERY_BYTES

_FAULTS = (P2PDeployError, trio.BrokenResourceError, trio.TooSlowError)


class Reception:
    """Receives into *spool* what comes over *stream*.

    Args:
        stream: Behind the hello.
        spool: Where the chunks belong.
        threads: How many connections may hash at a time.
        check_sender: Raises when the sender may not go on; asked before anything is stored.
    """

    def __init__(
        self,
        stream: SealedStream,
        spool: Spool,
        threads: trio.CapacityLimiter,
        check_sender: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._spool = spool
        self._threads = threads
        self._check_sender = check_sender
        self._plain = memoryview(bytearray(PLAIN_BYTES))
        self._filled = 0
        self._sealed = memoryview(bytearray(SEALED_BYTES))  # what is decrypted next
        self._coming = memoryview(bytearray(SEALED_BYTES))  # what is received meanwhile
        self._coming_count = 0
        self._durable_count = 0
        self._durable_bytes = 0

    def __repr__(self) -> str:
        return f"<Reception {self._durable_count} chunks into {self._spool!r}>"

    async def run(self, rest: bytes) -> None:
        """Receive until the end of chunks; *rest* came behind the hello.

        Raises:
            ProtocolError, IntegrityError: the client sent what it must not.
            TrustError: the sender may not go on.
            UnavailableError: the disk is full.
            trio.BrokenResourceError, trio.TooSlowError: the client went away.
        """
        self._plain[: len(rest)] = rest
        self._filled = len(rest)
        while not await self._take_turn():
            self._sealed, self._coming = self._coming, self._sealed

    async def _take_turn(self) -> bool:
        """Store what was received while more is received; returns whether the chunks end."""
        faults: list[Exception] = []
        sealed_count, self._coming_count = self._coming_count, 0
        has_ended = False

        async def receive() -> None:
            try:
                self._coming_count = await self._receive(self._coming)
            except _FAULTS as fault:
                faults.append(fault)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            try:
                has_ended = await self._store(sealed_count)
            except _FAULTS as fault:  # raised below as itself, not in a group
                faults.insert(0, fault)
            if has_ended or faults:
                nursery.cancel_scope.cancel()
        if faults and not has_ended:
            raise faults[0]
        return has_ended

    async def _receive(self, room: memoryview) -> int:
        """Wait for bytes, then a moment for more; returns how many came."""
        with trio.fail_after(SILENT_S):
            filled = await self._stream.receive_sealed(room)
        if filled == 0:
            raise trio.BrokenResourceError("the client hung up before the end of chunks")
        with trio.move_on_after(PAUSE_S):
            while filled < len(room):
                count = await self._stream.receive_sealed(room[filled:])
                if count == 0:
                    break  # the next turn finds out, after what came before it was stored
                filled += count
        return filled

    async def _store(self, sealed_count: int) -> bool:
        """Decrypt, store and acknowledge what was received; returns whether the chunks end."""
        self._check_sender()
        before = self._durable_count
        has_ended = await trio.to_thread.run_sync(self._take, sealed_count, limiter=self._threads)
        if self._durable_count > before or has_ended:
            await self._acknowledge()
        if self._stream.has_ended and not has_ended:
            raise trio.BrokenResourceError("the client hung up before the end of chunks")
        return has_ended

    def _take(self, sealed_count: int) -> bool:
        """Decrypt and store what was received; returns whether the chunks end.  For a thread."""
        self._filled += self._stream.decrypt(
            self._sealed[:sealed_count], self._plain[self._filled :]
        )
        batch, used, has_ended = _cut(self._plain[: self._filled])
        if batch:
            self._spool.write(batch)
            self._durable_count += len(batch)
            self._durable_bytes += sum(len(received.data) for received in batch)
        rest = self._filled - used
        self._plain[:rest] = self._plain[used : self._filled]
        self._filled = rest
        return has_ended

    async def _acknowledge(self) -> None:
        ack = UploadAck(durable_count=self._durable_count, durable_bytes=self._durable_bytes)
        with trio.fail_after(SILENT_S):
            await say(self._stream, ack)


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


async def say(stream: SealedStream, word: ServerWord) -> None:
    """Send one word of the server's."""
    await stream.send_all(frame(encode(word)))
