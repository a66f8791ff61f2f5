"""The chunks of a publish on their way: the client half of ``messages/upload.py``.

Acks are read between two parts of the payload: they are few and small, so they wait in the
kernel meanwhile.  A kill at any moment loses nothing that was acknowledged: the registry lists
what is missing next time.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Protocol

import msgspec

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import (
    P2PDeployError,
    ProtocolError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.manifest import ChunkIndex
from p2pdeploy.messages.upload import (
    CHUNK_HEADER,
    END_OF_CHUNKS,
    ServerWord,
    UploadAccepted,
    UploadAck,
    UploadHello,
    UploadRefused,
)
from p2pdeploy.trust.addresses import require_address
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane

__all__ = ["BytesSource", "Chunk", "chunks_of", "repeated_bytes", "select", "send_chunks"]

# One read of the payload serves many chunks; more would only hold memory.
_READ_BYTES_MAX = 4 * 1024 * 1024
# Longer silence than this from either side means that the other end is gone.
_SILENCE_S = 60.0
_WORD_BYTES_MAX = 16 * 1024  # an ack is 40 bytes, a refusal a few sentences
_RECEIVE_BYTES = 64 * 1024
_DIGEST_BYTES = 32  # of each chunk in an index, BLAKE3


class BytesSource(Protocol):
    """Reads any part of any blob of a payload."""

    def pread(self, blob_index: int, offset: int, size: int, /) -> bytes: ...


class Chunk(msgspec.Struct, frozen=True):
    """One chunk: its number over all blobs, and where its bytes are."""

    number: int
    blob_index: int
    offset_bytes: int
    size_bytes: int


def chunks_of(index: ChunkIndex) -> list[Chunk]:
    """Every chunk of *index* in number order."""
    chunks: list[Chunk] = []
    for blob_index, blob in enumerate(index.blobs):
        offset = 0
        for size in blob.sizes_bytes:
            chunks.append(Chunk(len(chunks), blob_index, offset, size))
            offset += size
    return chunks


def repeated_bytes(index: ChunkIndex) -> int:
    """Bytes of chunks that *index* names before: they are sent once."""
    seen = set[bytes]()
    repeated = 0
    for blob in index.blobs:
        for number, size in enumerate(blob.sizes_bytes):
            digest = blob.digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES]
            repeated += size if digest in seen else 0
            seen.add(digest)
    return repeated


def select(chunks: Sequence[Chunk], runs: Sequence[tuple[int, int]]) -> list[Chunk]:
    """The chunks that the ``[first, count]`` *runs* name.

    Raises:
        ProtocolError: the registry names chunks that there are not.
    """
    for first, count in runs:
        if first < 0 or count < 0 or first + count > len(chunks):
            raise ProtocolError(f"the registry asks for chunks {first} to {first + count}")
    return list(chain.from_iterable(chunks[first : first + count] for first, count in runs))


def send_chunks(
    address: str,
    key: str,
    identity: IdentityFiles,
    chunks: Sequence[Chunk],
    source: BytesSource,
    *,
    on_durable: Callable[[int], None],
) -> None:
    """Send *chunks* and return when the registry has all of them on disk.

    Args:
        address: ``host:port`` of the upload listener.
        key: The upload key of PublishBegun.
        identity: What we present, and the authority we believe.
        chunks: What to send, in this order.
        source: Where their bytes are.
        on_durable: Called with the bytes that are safe so far.

    Raises:
        UnavailableError: the connection broke; publish again, what arrived stays.
        RefusedError: the registry refused; the text is its own.
        TrustError: what listens there is not the control plane, or it refuses our certificate.
        ConfigError: our identity is not usable.
        PayloadError: the payload changed while it was sent (from *source*).
    """
    host, _, port = address.rpartition(":")
    require_address(host, where="upload address")
    context = client_context(identity, is_control_plane, who="the control plane of this fleet")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=_SILENCE_S) as plain,
            context.wrap_socket(plain) as connection,
        ):
            _exchange(connection, key, chunks, source, on_durable)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise _broken(address, error) from error
    except ssl.SSLError as error:
        raise TrustError(
            f"the upload was not let through: {error}",
            where=address,
            hint="not the control plane of this fleet, or our certificate has expired",
        ) from error
    except (OSError, ValueError) as error:
        raise _broken(address, error) from error


def _broken(address: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the upload broke off: {error}",
        where=address,
        hint="publish again; what arrived is not sent twice",
        code="upload-broken",
    )


def _exchange(
    connection: ssl.SSLSocket,
    key: str,
    chunks: Sequence[Chunk],
    source: BytesSource,
    on_durable: Callable[[int], None],
) -> None:
    connection.sendall(frame(encode(UploadHello(upload_key=key))))
    words = _Words(connection)
    first = words.wait()
    if not isinstance(first, UploadAccepted):
        raise _refusal(first)
    for run in _runs(chunks):
        _send(connection, run, source)
        for word in words.come():
            on_durable(_ack(word).durable_bytes)
    connection.sendall(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
    is_durable = False
    while not is_durable:
        ack = _ack(words.wait())
        on_durable(ack.durable_bytes)
        is_durable = ack.durable_count >= len(chunks)


def _send(connection: ssl.SSLSocket, run: list[Chunk], source: BytesSource) -> None:
    head = run[0]
    size = sum(chunk.size_bytes for chunk in run)
    data = memoryview(source.pread(head.blob_index, head.offset_bytes, size))
    parts: list[bytes | memoryview] = []
    for chunk in run:
        start = chunk.offset_bytes - head.offset_bytes
        parts.append(CHUNK_HEADER.pack(chunk.number, chunk.size_bytes))
        parts.append(data[start : start + chunk.size_bytes])
    connection.sendall(b"".join(parts))  # as one: each call ends a TLS record, headers too


def _runs(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Group neighbours of one blob, so that one read serves them all."""
    run: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if run and (
            chunk.blob_index != run[-1].blob_index
            or chunk.offset_bytes != run[-1].offset_bytes + run[-1].size_bytes
            or size + chunk.size_bytes > _READ_BYTES_MAX
        ):
            yield run
            run, size = [], 0
        run.append(chunk)
        size += chunk.size_bytes
    if run:
        yield run


class _Words:
    """What the registry says on one connection."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._reader = FrameReader(bytes_max=_WORD_BYTES_MAX)
        self._heard: deque[ServerWord] = deque()

    def wait(self) -> ServerWord:
        """The next word; raises OSError when none comes."""
        while not self._heard:
            self._take(self._connection.recv(_RECEIVE_BYTES))
        return self._heard.popleft()

    def come(self) -> Iterator[ServerWord]:
        """Every word that has come, without waiting."""
        self._connection.settimeout(0)
        try:
            self._take(self._connection.recv(_RECEIVE_BYTES))
        except ssl.SSLWantReadError:
            pass
        finally:
            self._connection.settimeout(_SILENCE_S)
        while self._heard:
            yield self._heard.popleft()

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionError("the registry closed the stream")
        self._reader.feed(data)
        for payload in self._reader:
            self._heard.append(decode(payload, ServerWord, bytes_max=_WORD_BYTES_MAX))  # pyright: ignore[reportArgumentType] a union is a type form


def _ack(word: ServerWord) -> UploadAck:
    if not isinstance(word, UploadAck):
        raise _refusal(word)
    return word


def _refusal(word: ServerWord) -> P2PDeployError:
    if isinstance(word, UploadRefused):
        error = word.error
        return RefusedError(error.message, where=error.where, hint=error.hint, code=error.code)
    return ProtocolError(f"the registry said {type(word).__name__} out of turn")
