"""TLS 1.3 over one TCP connection whose bytes are decrypted in a thread, many at a time.

``trio.SSLStream`` hands over one TLS record of 16 KiB per turn of the event loop; at the speed of
a disk that loop would do nothing else.  Here the loop receives what is still encrypted, as much as
has come, and a thread decrypts all of it at once.  Python's ``ssl.SSLSocket`` in a thread of its
own costs a third more: it asks the kernel twice for each record.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import cast

import trio

from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.trust.tls import Peer, peer_of

__all__ = ["SealedStream"]

_RECEIVE_BYTES = 16 * 1024  # for handshakes and hellos
_STEP_BYTES = 256 * 1024  # decrypted while they are in the processor's cache


class SealedStream:
    """The server's end.  One caller at a time; it bounds every wait and closes *stream*.

    Args:
        stream: Just accepted.
        context: Our side of TLS; demands a certificate.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.has_ended = False
        """Whether the client said goodbye, behind everything that was decrypted."""

    def __repr__(self) -> str:
        return f"<SealedStream {self._stream.socket!r}>"

    async def accept(self) -> Peer:
        """Shake hands; returns whom the client's certificate speaks for.

        Raises:
            TrustError: no TLS 1.3, or no certificate of this fleet that holds now.  The client
                was told by an alert and nothing else.
            trio.BrokenResourceError: the client went away.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError as error:
                await self._flush()  # the alert
                raise TrustError(f"handshake failed: {error}") from error
            else:
                await self._flush()
                return peer_of(self._tls.getpeercert())

    async def receive_some(self, bytes_max: int) -> bytes:
        """Some decrypted bytes: for what is short.

        Raises:
            ProtocolError: a record is damaged or forged.
            trio.BrokenResourceError: the client went away.
        """
        room = memoryview(bytearray(bytes_max))
        while not (count := self.decrypt(b"", room)):
            if self.has_ended:
                raise trio.BrokenResourceError("the client hung up")
            await self._receive()
        return bytes(room[:count])

    async def receive_sealed(self, room: memoryview) -> int:
        """Put what has come into *room*, still encrypted; returns how many bytes, 0 at the end.

        Raises:
            trio.BrokenResourceError: the client reset the connection.
        """
        try:
            return await self._stream.socket.recv_into(room)
        except OSError as error:
            raise trio.BrokenResourceError("the client reset the connection") from error

    def decrypt(self, sealed: bytes | memoryview, room: memoryview) -> int:
        """Decrypt *sealed* into *room*; returns how many bytes came out.  Blocks: for a thread.

        What does not fit, and the beginning of a record whose end has not come, stays for the
        next call.

        Raises:
            ProtocolError: a record is damaged or forged.
        """
        filled = self._read_into(room)
        for start in range(0, len(sealed), _STEP_BYTES):
            self._incoming.write(sealed[start : start + _STEP_BYTES])
            filled += self._read_into(room[filled:])
        return filled

    def _read_into(self, room: memoryview) -> int:
        filled = 0
        try:
            while filled < len(room):
                count = cast(int, self._tls.read(len(room) - filled, room[filled:]))
                if count == 0:
                    self.has_ended = True
                    break
                filled += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise ProtocolError(f"no TLS record: {error}") from error
        return filled

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send *data*.

        Raises:
            trio.BrokenResourceError: the client went away, or TLS ended with a fault of its.
        """
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            await self._flush()  # the alert
            raise trio.BrokenResourceError("the stream is no TLS any more") from error
        await self._flush()

    async def say_goodbye(self) -> None:
        """Say that no more comes: what was said so far was not cut short by somebody else."""
        with contextlib.suppress(ssl.SSLError):  # wants the client's goodbye, which is not owed
            self._tls.unwrap()
        await self._flush()

    async def hang_up(self) -> None:
        """Say goodbye, and read on until the client has closed its side too.

        Closing with unread bytes would reset away what was said last.
        """
        await self.say_goodbye()
        await self._stream.send_eof()
        while await self._stream.receive_some(_STEP_BYTES):
            pass

    async def _receive(self) -> None:
        data = await self._stream.receive_some(_RECEIVE_BYTES)
        if not data:
            raise trio.BrokenResourceError("the client hung up")
        self._incoming.write(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._stream.send_all(self._outgoing.read())
