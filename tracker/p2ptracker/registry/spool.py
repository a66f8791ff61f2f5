"""The spool: one release on its way into the registry, on disk, safe from a kill at any point.

::

    uploads/<manifest digest>/manifest   the bytes as announced; written first, atomically
                              chunks     the chunk index, likewise
                              blob-0007  blob 7, as long as the blob; each chunk at its offset
                              journal    4 bytes per chunk that arrived: its number, big-endian

A chunk's bytes are written before its number is.  So whatever the journal names is there after a
kill of the process.  After a power cut it may not be: the commit verifies every byte, and
:meth:`Spool.forget` takes back what turns out wrong.

All methods block and may be called from several threads.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import blake3
import msgspec

from p2pdeploy.errors import IntegrityError, ProtocolError, UnavailableError
from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Manifest, digest_of
from p2pdeploy.payload.check import check_chunk_index
from p2ptracker.registry.chunk_map import Chunk, ChunkMap

__all__ = ["Received", "Spool"]

_NUMBER_BYTES = 4


class Received(msgspec.Struct, frozen=True):
    """One chunk as it came from the wire; ``data`` is valid only during the call it is given to."""

    number: int
    data: memoryview


class Spool:
    """An open spool.  One per manifest digest in a process; :meth:`close` it.

    Args:
        folder: The spool's own folder; made, or gone on with.
        manifest_bytes: Checked by the caller.
        chunk_index_bytes: The manifest's.

    Raises:
        IntegrityError, ProtocolError: the chunk index is another one, or doesn't fit the manifest.
    """

    def __init__(self, folder: Path, manifest_bytes: bytes, chunk_index_bytes: bytes) -> None:
        self.folder = folder
        self.digest: Digest = digest_of(manifest_bytes)
        self.manifest_bytes = manifest_bytes
        self.chunk_index_bytes = chunk_index_bytes
        self.manifest = Manifest.from_bytes(manifest_bytes)
        self.chunks = ChunkMap(check_chunk_index(self.manifest, chunk_index_bytes))
        self._lock = threading.Lock()
        self._arrived = bytearray(len(self.chunks))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_atomically(folder / "manifest", manifest_bytes)
        _write_atomically(folder / "chunks", chunk_index_bytes)
        self._journal = os.open(folder / "journal", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._journal_bytes = self._replay()

    def __repr__(self) -> str:
        return f"<Spool {self.digest[:12]} {sum(self._arrived)}/{len(self.chunks)} chunks>"

    def close(self) -> None:
        """Close the journal; what arrived stays for the next time."""
        with self._lock:
            if self._journal >= 0:
                os.close(self._journal)
            self._journal = -1  # a chunk that comes now is written in vain, never elsewhere

    def remove(self) -> None:
        """Delete the folder; the spool must be closed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def has(self, number: int) -> bool:
        """Whether the chunk arrived over the wire."""
        return bool(self._arrived[number])

    def blob_path(self, blob_index: int) -> Path:
        return self.folder / f"blob-{blob_index:04d}"

    def write(self, batch: Sequence[Received]) -> None:
        """Verify and store the chunks of *batch*; on return a kill no longer loses them.

        Raises:
            ProtocolError: a number or a size is not of this release.
            IntegrityError: a chunk's bytes do not have its digest.  The chunks before the one
                that is wrong stay.
            UnavailableError: the disk is full.
        """
        numbers = bytearray()
        try:
            try:
                self._store(batch, numbers)
            finally:
                self._note(numbers)
        except OSError as error:
            raise UnavailableError(
                f"cannot store the upload: {error.strerror}", code="registry-disk"
            ) from error

    def _store(self, batch: Sequence[Received], numbers: bytearray) -> None:
        """Write the bytes of *batch*; *numbers* gets those that are in their files."""
        with _BlobFiles(self) as files:
            for received in batch:
                chunk = self._judge(received)
                if not self._arrived[chunk.number]:  # else another client sent it just now
                    _pwrite_all(files.of(chunk), received.data, chunk.offset_bytes)
                    numbers += chunk.number.to_bytes(_NUMBER_BYTES, "big")

    def _judge(self, received: Received) -> Chunk:
        """The chunk that was received, if its bytes are what they must be."""
        if received.number >= len(self.chunks):
            raise ProtocolError(f"chunk {received.number} of {len(self.chunks)}")
        chunk = self.chunks[received.number]
        if len(received.data) != chunk.size_bytes:
            raise ProtocolError(
                f"chunk {chunk.number} has {chunk.size_bytes} bytes, {len(received.data)} came"
            )
        if blake3.blake3(received.data).digest() != chunk.digest:
            raise IntegrityError(
                f"chunk {chunk.number} does not have its digest",
                hint="the file changed after it was hashed, or the line corrupts data",
                code="chunk-corrupt",
            )
        return chunk

    def _note(self, numbers: bytearray) -> None:
        with self._lock:
            if not numbers or self._journal < 0:
                return
            # Behind what is whole: a number that a full disk or a kill tore is written over.
            _pwrite_all(self._journal, memoryview(numbers), self._journal_bytes)
            self._journal_bytes += len(numbers)
            for start in range(0, len(numbers), _NUMBER_BYTES):
                number = int.from_bytes(numbers[start : start + _NUMBER_BYTES], "big")
                self._arrived[number] = 1

    def open_blob(self, blob_index: int) -> int:
        """Open a blob's file, made at its full length at first use; the caller closes it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.blob_path(blob_index), flags, 0o600)
        size_bytes = self.manifest.blobs[blob_index].size_bytes
        if os.fstat(descriptor).st_size != size_bytes:
            os.ftruncate(descriptor, size_bytes)
        return descriptor

    def forget(self, numbers: Iterable[int]) -> None:
        """Take back chunks whose bytes turned out wrong; the next begin asks for them again."""
        with self._lock:
            for number in numbers:
                self._arrived[number] = 0
            kept = b"".join(
                number.to_bytes(_NUMBER_BYTES, "big")
                for number, arrived in enumerate(self._arrived)
                if arrived
            )
            _write_atomically(self.folder / "journal", kept)  # the old one is in use if this fails
            journal = os.open(self.folder / "journal", os.O_RDWR | os.O_CLOEXEC)
            os.close(self._journal)
            self._journal, self._journal_bytes = journal, len(kept)

    def _replay(self) -> int:
        """Read the journal, cut off a number that a kill tore; returns how long it is."""
        journal = os.pread(self._journal, os.fstat(self._journal).st_size, 0)
        whole = len(journal) - len(journal) % _NUMBER_BYTES
        os.ftruncate(self._journal, whole)
        for start in range(0, whole, _NUMBER_BYTES):
            number = int.from_bytes(journal[start : start + _NUMBER_BYTES], "big")
            if number < len(self._arrived):
                self._arrived[number] = 1
        return whole


class _BlobFiles:
    """The file of the blob at hand: chunks come in order, so one stays open at a time."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._blob_index = -1
        self._descriptor = -1

    def __enter__(self) -> _BlobFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def of(self, chunk: Chunk) -> int:
        if chunk.blob_index != self._blob_index:
            self.__exit__()
            self._descriptor = -1  # stays so if the next open fails
            self._descriptor = self._spool.open_blob(chunk.blob_index)
            self._blob_index = chunk.blob_index
        return self._descriptor


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _pwrite_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
