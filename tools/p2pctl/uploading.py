"""The chunks of a publish on their way: the client half of ``messages/upload.py``.

One thread reads the payload and sends, the other reads acks and tells the progress.  A kill at
any moment loses nothing that was acknowledged: the registry lists what is missing next time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Protocol

import msgspec

from p2pdeploy.codec import FrameReader, decode, encode, frame
from p2pdeploy.errors import P2PDeployError, ProtocolError, RefusedError, UnavailableError
from p2pdeploy.manifest import ChunkIndex
from p2pdeploy.messages.upload import (
    CHUNK_HEADER,
    END_OF_CHUNKS,
    ServerWord,
    UploadAccepted,
    UploadAck,
    UploadHello,
    UploadRefused,
    upload_mac,
)
from p2pdeploy.trust.loopback import require_loopback

__all__ = ["BytesSource", "Chunk", "chunks_of", "select", "send_chunks"]

# One read of the payload serves many chunks; more would only hold memory.
_READ_BYTES_MAX = 4 * 1024 * 1024
# Longer silence than this from either side means that the other end is gone.
_SILENCE_S = 60.0
_WORD_BYTES_MAX = 16 * 1024  # an ack is 40 bytes, a refusal a few sentences
_RECEIVE_BYTES = 64 * 1024


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
    token: str,
    chunks: Sequence[Chunk],
    source: BytesSource,
    *,
    on_durable: Callable[[int], None],
) -> None:
    """Send *chunks* and return when the registry has all of them on disk.

    Args:
        address: ``host:port`` of the upload listener.
        key: The upload key of PublishBegun.
        token: The fleet's token; only a MAC made with it is sent.
        chunks: What to send, in this order.
        source: Where their bytes are.
        on_durable: Called with the bytes that are safe so far, from one thread.

    Raises:
        UnavailableError: the connection broke; publish again, what arrived stays.
        RefusedError: the registry refused; the text is its own.
        PayloadError: the payload changed while it was sent (from *source*).
    """
    host, _, port = address.rpartition(":")
    require_loopback(host, where="upload address")
    try:
        with socket.create_connection((host, int(port)), timeout=_SILENCE_S) as connection:
            _exchange(connection, key, token, chunks, source, on_durable)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"the upload broke off: {error}",
            where=address,
            hint="publish again; what arrived is not sent twice",
            code="upload-broken",
        ) from error


def _exchange(
    connection: socket.socket,
    key: str,
    token: str,
    chunks: Sequence[Chunk],
    source: BytesSource,
    on_durable: Callable[[int], None],
) -> None:
    hello = UploadHello(upload_key=key, mac=upload_mac(token, key))
    connection.sendall(frame(encode(hello)))
    words = _words(connection)
    first = next(words)
    if not isinstance(first, UploadAccepted):
        raise _refusal(first)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="send-chunks") as pool:
        sending = pool.submit(_send, connection, chunks, source)
        try:
            _read_acks(words, len(chunks), on_durable)
        except BaseException as error:
            connection.shutdown(socket.SHUT_RDWR)  # frees the sender from a full pipe
            cause = sending.exception()
            # What the payload did wrong explains why the registry saw the stream end.
            raise (cause if isinstance(cause, P2PDeployError) else error) from None
        sending.result()


def _send(connection: socket.socket, chunks: Sequence[Chunk], source: BytesSource) -> None:
    try:
        for run in _runs(chunks):
            head = run[0]
            size = sum(chunk.size_bytes for chunk in run)
            data = memoryview(source.pread(head.blob_index, head.offset_bytes, size))
            for chunk in run:
                start = chunk.offset_bytes - head.offset_bytes
                header = CHUNK_HEADER.pack(chunk.number, chunk.size_bytes)
                _send_both(connection, header, data[start : start + chunk.size_bytes])
        connection.sendall(CHUNK_HEADER.pack(END_OF_CHUNKS, 0))
    except P2PDeployError:
        connection.shutdown(socket.SHUT_RDWR)  # wakes the reader of acks
        raise


def _send_both(connection: socket.socket, header: bytes, body: memoryview) -> None:
    sent = connection.sendmsg([header, body])
    if sent < len(header):
        connection.sendall(header[sent:])
        sent = len(header)
    connection.sendall(body[sent - len(header) :])


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


def _read_acks(
    words: Iterator[ServerWord], expected: int, on_durable: Callable[[int], None]
) -> None:
    for word in words:
        if not isinstance(word, UploadAck):
            raise _refusal(word)
        on_durable(word.durable_bytes)
        if word.durable_count >= expected:
            return


def _words(connection: socket.socket) -> Iterator[ServerWord]:
    reader = FrameReader(bytes_max=_WORD_BYTES_MAX)
    while data := connection.recv(_RECEIVE_BYTES):
        reader.feed(data)
        for payload in reader:
            yield decode(payload, ServerWord, bytes_max=_WORD_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
    raise ConnectionError("the registry closed the stream")


def _refusal(word: ServerWord) -> P2PDeployError:
    if isinstance(word, UploadRefused):
        error = word.error
        return RefusedError(error.message, where=error.where, hint=error.hint, code=error.code)
    return ProtocolError(f"the registry said {type(word).__name__} out of turn")
