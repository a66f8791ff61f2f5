"""The manifest: everything that a release is, down to each byte, in one digest.

* An *entry* is one path of the final tree: a file, a directory or a symbolic link.
* A *blob* is one file of the torrent: a large file of the tree in its final place, or a *pack*
  of small files in path order (small torrent files are dear: ``docs/adr/0004``).
* The *chunk index* lists the content-defined chunks of every blob.  It is an object of its own,
  named by its digest, because only a host that holds an older release needs it.

The manifest digest, BLAKE3 of the encoded manifest, is the release's identity.
The info-hash of the torrent is derived from it and never signed.
"""

from __future__ import annotations

from typing import Literal

import blake3
import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.limits import CHUNK_INDEX_BYTES_MAX, MANIFEST_BYTES_MAX

__all__ = ["Blob", "BlobChunks", "ChunkIndex", "Entry", "Manifest", "digest_of"]


def digest_of(data: bytes | memoryview) -> Digest:
    """BLAKE3-256 of *data* in hexadecimal."""
    return Digest(blake3.blake3(data).hexdigest())


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One path of the final tree.  ``path`` is relative, with ``/``, without ``.`` or ``..``.

    A file's bytes are ``size_bytes`` of blob number ``blob_index`` from ``offset_bytes``
    (0 for a large file, which is its blob).  An empty file has ``blob_index`` -1.
    ``mode`` holds the permission bits only; set-id and sticky bits are refused at publish.
    """

    path: str
    kind: Literal["file", "dir", "link"] = "file"
    mode: int = 0o644
    size_bytes: int = 0
    digest: Digest = Digest("")
    blob_index: int = -1
    offset_bytes: int = 0
    target: str = ""  # of a link


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the torrent.

    ``path`` is the tree path of a large file, or ``.p2pdeploy/pack-NNNN`` for a pack.
    ``pieces_root`` is the BEP 52 merkle root, ``piece_layer`` the concatenated 32-byte hashes of
    the pieces (empty when the blob fits one piece, as BEP 52 has it).
    """

    path: str
    size_bytes: int
    digest: Digest
    pieces_root: bytes
    piece_layer: bytes = b""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a release consists of.  Entries are sorted by path, blobs by path."""

    service: ServiceName
    piece_size_bytes: int
    entries: tuple[Entry, ...]
    blobs: tuple[Blob, ...]
    chunk_index: Digest
    chunk_index_bytes: int
    format: int = 1

    @property
    def size_bytes(self) -> int:
        """Bytes that travel: the sum of all blobs."""
        return sum(blob.size_bytes for blob in self.blobs)

    def to_bytes(self) -> bytes:
        """The canonical bytes whose digest is the release's identity."""
        return encode(self)

    @staticmethod
    def from_bytes(data: bytes) -> Manifest:
        """Decode without judging paths; ``payload.check`` does that.  Raises ProtocolError."""
        return decode(data, Manifest, bytes_max=MANIFEST_BYTES_MAX)


class BlobChunks(msgspec.Struct, frozen=True, array_like=True):
    """The chunks of one blob in order: ``digests`` holds 32 bytes for each of ``sizes_bytes``."""

    digests: bytes
    sizes_bytes: tuple[int, ...]


class ChunkIndex(msgspec.Struct, frozen=True):
    """The chunks of every blob of one manifest, in the manifest's blob order."""

    blobs: tuple[BlobChunks, ...]

    def to_bytes(self) -> bytes:
        return encode(self)

    @staticmethod
    def from_bytes(data: bytes) -> ChunkIndex:
        """Decode; raises ProtocolError."""
        return decode(data, ChunkIndex, bytes_max=CHUNK_INDEX_BYTES_MAX)
