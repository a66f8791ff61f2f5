"""Publishing a release: one HTTP request, one framed TCP stream, one HTTP request.

The exchange, in order:

1. ``POST /v1/releases/{service}/{version}`` with a :class:`PublishRequest` as msgpack
   (``Content-Type: application/msgpack``).  The answer is a ``PublishBegun`` as JSON:

   * state ``published``: the registry has these very bytes under this name; stop, all is well.
   * state ``uploading``: send the chunks of ``missing``, then commit.  ``missing`` may be empty.
   * HTTP 409, code ``version-exists``: other bytes have this name; nothing was changed.

   A *chunk number* counts the chunks of the chunk index over all blobs in manifest order, from 0.
   Of several chunks with one digest only the first is ever asked for.

2. Connect to ``upload_address`` (``host:port``) over TLS 1.3, both sides with certificates: the
   server's is the control plane's, the client's is that of a publisher of the service.

   * Client: one codec frame with an :class:`UploadHello`.
   * Server: one codec frame with :class:`UploadAccepted`, or :class:`UploadRefused` and the end.
   * Client: chunks, each as :data:`CHUNK_HEADER` (chunk number and size in bytes, both unsigned
     32-bit big-endian) and then the bytes themselves, in any order, without waiting.  The last is
     the header of :data:`END_OF_CHUNKS` with size 0.
   * Server, meanwhile: codec frames with :class:`UploadAck`, at the latest every
     :data:`ACK_EVERY_BYTES`; after the end of chunks one last ack that counts them all, then
     it closes.  Read the acks while sending: a client that never reads may be stalled by TCP.
   * Server on any fault: :class:`UploadRefused`, then it closes.

   Why not msgpack for the chunks: each byte would be copied three more times.

3. ``POST /v1/releases/{service}/{version}/commit`` with a :class:`CommitRequest` as msgpack.
   The answer is the ``ReleaseView`` as JSON, after every byte was verified: allow for 1 s per
   100 MB.  HTTP 409 with code ``chunks-missing``: begin again (step 1) and send what is listed.

Resuming is beginning again: the registry knows what arrived, whichever side was killed.
Several uploads of the same bytes at once help each other; all of them succeed.

The upload key says which release the chunks are for; one is given only to who may publish it.
"""

from __future__ import annotations

import struct

import msgspec

from p2pdeploy.ids import Digest
from p2pdeploy.limits import CHUNK_INDEX_BYTES_MAX, MANIFEST_BYTES_MAX
from p2pdeploy.messages.api import ErrorBody

__all__ = [
    "ACK_EVERY_BYTES",
    "CHUNK_BYTES_MAX",
    "CHUNK_HEADER",
    "END_OF_CHUNKS",
    "PUBLISH_BYTES_MAX",
    "CommitRequest",
    "PublishRequest",
    "ServerWord",
    "UploadAccepted",
    "UploadAck",
    "UploadHello",
    "UploadRefused",
]

CHUNK_HEADER = struct.Struct(">II")
"""Chunk number, size in bytes."""
END_OF_CHUNKS = 0xFFFF_FFFF
CHUNK_BYTES_MAX = 256 * 1024  # FastCDC's largest chunk; the receive buffer holds a few of them
ACK_EVERY_BYTES = 8 * 1024 * 1024  # a progress bar moves smoothly, the acks cost nothing
PUBLISH_BYTES_MAX = MANIFEST_BYTES_MAX + CHUNK_INDEX_BYTES_MAX + 1024  # both, and msgpack's heads
HELLO_BYTES_MAX = 1024  # before the hello is read nobody makes the server buffer more


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``manifest`` and ``chunk_index`` are the canonical bytes: their digests are identities."""

    manifest: bytes
    chunk_index: bytes


class CommitRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    manifest_digest: Digest


class UploadHello(msgspec.Struct, frozen=True, kw_only=True):
    """``upload_key`` as PublishBegun gave it."""

    upload_key: str


class UploadAccepted(msgspec.Struct, frozen=True, tag="accepted"):
    """Go on: send chunks."""


class UploadAck(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """Chunks of this connection that are safe from a kill of either side, counted cumulatively."""

    durable_count: int
    durable_bytes: int


class UploadRefused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """What was acknowledged before stays; ``error`` says what was wrong."""

    error: ErrorBody


ServerWord = UploadAccepted | UploadAck | UploadRefused
"""Everything the server says on the stream."""
