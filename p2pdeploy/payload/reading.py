"""Read every blob of a payload once and compute all its digests on the way.

Two threads share the work: one reads, cuts chunks and computes BLAKE3, the other computes the
SHA-256 trees; the libraries release the interpreter lock for large buffers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import blake3

from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Blob, BlobChunks
from p2pdeploy.merkle import PieceTree
from p2pdeploy.payload.cut import CHUNK_BYTES_MAX, ChunkCutter
from p2pdeploy.payload.layout import BlobPlan
from p2pdeploy.payload.sources import changed, open_unchanged
from p2pdeploy.payload.walk import Found

__all__ = ["BlobResult", "Progress", "Reading"]

WINDOW_BYTES = 4 * 1024 * 1024  # large against a thread switch and a carried chunk; a whole block
_WINDOWS = 3  # one is read and cut, one is hashed by the other thread, one waits between them

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, from the thread that reads."""


class BlobResult(NamedTuple):
    """One blob as it was read; ``file_digests`` in the order of its plan."""

    blob: Blob
    chunks: BlobChunks
    file_digests: list[Digest]


class Reading:
    """The one pass over all bytes; a context manager, because it owns a thread.

    Memory: three windows of 4 MiB, whatever the payload.
    """

    def __init__(
        self, root: Path, piece_size_bytes: int, total_bytes: int, progress: Progress | None
    ) -> None:
        self._root = root
        self._piece_size_bytes = piece_size_bytes
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._progress = progress
        # A window stands behind room for the chunk that is carried over from the one before.
        self._buffers = [
            memoryview(bytearray(CHUNK_BYTES_MAX + WINDOW_BYTES)) for _ in range(_WINDOWS)
        ]
        self._hashed: list[Future[None] | None] = [None] * _WINDOWS
        self._turn = 0
        self._tree_thread = ThreadPoolExecutor(1, thread_name_prefix="merkle")

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._tree_thread.shutdown()

    def read_blob(self, plan: BlobPlan[Found]) -> BlobResult:
        """Read the files of one blob and compute everything about it."""
        tree, cutter, whole = PieceTree(self._piece_size_bytes), ChunkCutter(), blake3.blake3()
        carried = memoryview(b"")
        left_bytes = plan.size_bytes
        with _FileStream(self._root, plan.files) as files:
            while left_bytes:
                buffer = self._next_buffer()
                size_bytes = min(left_bytes, WINDOW_BYTES)
                left_bytes -= size_bytes
                end = CHUNK_BYTES_MAX + size_bytes
                window = buffer[CHUNK_BYTES_MAX:end]
                files.read_into(window)
                self._hashed[self._turn] = self._tree_thread.submit(tree.feed, window)
                whole.update(window)
                start = CHUNK_BYTES_MAX - len(carried)
                buffer[start:CHUNK_BYTES_MAX] = carried
                cutter.feed(buffer[start:end], last=left_bytes == 0)
                carried = window[size_bytes - cutter.carried_bytes :]
                self._tell(size_bytes)
            file_digests = files.finish()
        pieces_root, piece_layer = self._tree_thread.submit(tree.finish).result()
        blob = Blob(
            path=plan.path,
            size_bytes=plan.size_bytes,
            digest=Digest(whole.hexdigest()),
            pieces_root=pieces_root,
            piece_layer=piece_layer,
        )
        return BlobResult(blob, cutter.finish(), file_digests or [blob.digest])

    def _next_buffer(self) -> memoryview:
        self._turn = (self._turn + 1) % _WINDOWS
        hashed = self._hashed[self._turn]
        if hashed is not None:
            hashed.result()
        return self._buffers[self._turn]

    def _tell(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, self._total_bytes)


class _FileStream:
    """Several files read as one stream, each with its digest.

    A blob of one file has the file's digest, so that one is not computed twice.
    """

    def __init__(self, root: Path, files: tuple[Found, ...]) -> None:
        self._root = root
        self._waiting = iter(files)
        self._digest = blake3.blake3() if len(files) > 1 else None
        self._digests: list[Digest] = []
        self._file = ExitStack()
        self._handle = -1
        self._left_bytes = 0

    def __enter__(self) -> _FileStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read_into(self, window: memoryview) -> None:
        """Fill *window*.  Raises PayloadError when a file is not as it was."""
        at = 0
        while at < len(window):
            if self._left_bytes == 0:
                self._open_next()
            part = window[at : at + self._left_bytes]
            count = os.readv(self._handle, [part])
            if count == 0:
                raise changed(self._root / self._current.path)
            if self._digest is not None:
                self._digest.update(part[:count])
            at += count
            self._left_bytes -= count

    def finish(self) -> list[Digest]:
        """The digests of all files; none when the blob's own digest says it."""
        assert self._left_bytes == 0
        self._end_file()
        return self._digests

    def _open_next(self) -> None:
        self._end_file()
        self._current = next(self._waiting)
        self._handle = self._file.enter_context(open_unchanged(self._root, self._current))
        self._left_bytes = self._current.size_bytes

    def _end_file(self) -> None:
        self._file.close()  # looks whether the file changed
        if self._digest is not None and self._handle >= 0:
            self._digests.append(Digest(self._digest.hexdigest()))
            self._digest = blake3.blake3()
