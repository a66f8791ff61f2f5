"""What of a new release is already on this host: in an interrupted fetch, or in older releases.

Chunks are found by their digest, copied to where the new release has them, and each piece that is
whole then is verified like one from the mesh.  Content-defined cuts make this work when bytes
were inserted or moved to another file or pack.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import blake3

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import BlobChunks, ChunkIndex, Manifest
from p2pdeploy.payload.stage import open_blob
from p2pdeploy.payload.torrent import PieceCheck, PieceSpan, piece_spans

__all__ = ["DeltaResult", "Older", "local_pieces", "pieces_on_disk"]

_DIGEST_BYTES = 32
_WRITE = os.O_RDWR | os.O_CREAT
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Older(NamedTuple):
    """A staged release to copy from: its manifest, its chunk index and its folder."""

    manifest: Manifest
    chunk_index: ChunkIndex
    root: Path


class DeltaResult(NamedTuple):
    """``have`` by piece number.

    ``kept_bytes`` were on disk before, ``reused_bytes`` came out of older releases; the rest of
    the release is to be fetched.
    """

    have: list[bool]
    reused_bytes: int
    kept_bytes: int


class _NewBlob(NamedTuple):
    """A blob to copy into."""

    manifest: Manifest
    root: Path
    blob_index: int


class _Run(NamedTuple):
    """Chunks that follow each other in an older blob as well as in the new one."""

    older_index: int
    blob_index: int
    offset_bytes: int
    new_offset_bytes: int
    chunks: list[tuple[bytes, int]]  # digest, size


def pieces_on_disk(manifest: Manifest, root: Path) -> list[bool]:
    """Which pieces are right in the blobs below *root*, by piece number.  Holes are skipped."""
    have: list[bool] = []
    check = PieceCheck(manifest)
    for blob_index, spans in _spans_by_blob(manifest):
        first = len(have)
        try:
            handle = open_blob(root, manifest, blob_index)
        except (OSError, IntegrityError):  # not begun; what is in the way is prepare's business
            have += [False] * len(spans)
            continue
        try:
            have += [_is_right(check, first + n, span, handle) for n, span in enumerate(spans)]
        finally:
            os.close(handle)
    return have


def local_pieces(
    new_manifest: Manifest, new_index: ChunkIndex, olds: list[Older], root: Path
) -> DeltaResult:
    """Copy into the prepared *root* what older releases have, and say which pieces are there.

    Run it before the mesh writes to the blobs.  Idempotent: what an interrupted run or fetch left
    is found again.  A chunk that is missing or damaged in an older release is just not reused.
    Memory: about 200 bytes for each chunk of the new release and one piece.

    Raises:
        OSError: the blobs of *root* can't be written; no space, mostly.
    """
    had = pieces_on_disk(new_manifest, root)
    have = list(had)
    places = _locate(new_index, olds)
    check = PieceCheck(new_manifest)
    first = 0
    for blob_index, spans in _spans_by_blob(new_manifest):
        numbers = range(first, first + len(spans))
        first += len(spans)
        if all(have[number] for number in numbers):
            continue
        runs = _runs(new_index.blobs[blob_index], places)
        blob = _NewBlob(new_manifest, root, blob_index)
        covered = _copy_runs(blob, runs, olds, len(spans))
        if not any(covered):
            continue
        handle = open_blob(root, new_manifest, blob_index)
        try:
            for number, span, count in zip(numbers, spans, covered, strict=True):
                if not have[number] and count == span.size_bytes:
                    have[number] = _is_right(check, number, span, handle)
        finally:
            os.close(handle)
    sizes = [span.size_bytes for span in piece_spans(new_manifest)]
    kept = sum(size for size, before in zip(sizes, had, strict=True) if before)
    total = sum(size for size, now in zip(sizes, have, strict=True) if now)
    return DeltaResult(have, reused_bytes=total - kept, kept_bytes=kept)


def _spans_by_blob(manifest: Manifest) -> Iterator[tuple[int, list[PieceSpan]]]:
    grouped: list[list[PieceSpan]] = [[] for _ in manifest.blobs]
    for span in piece_spans(manifest):
        grouped[span.blob_index].append(span)
    return iter(enumerate(grouped))


def _is_right(check: PieceCheck, number: int, span: PieceSpan, handle: int) -> bool:
    try:
        if os.lseek(handle, span.offset_bytes, os.SEEK_DATA) >= span.offset_bytes + span.size_bytes:
            return False  # nothing was ever written here
    except OSError as error:
        if error.errno == errno.ENXIO:  # nor anywhere after
            return False
        raise
    return check.is_right(number, os.pread(handle, span.size_bytes, span.offset_bytes))


def _chunks(chunks: BlobChunks) -> Iterator[tuple[bytes, int, int]]:
    """Digest, offset and size of each chunk of a blob."""
    offset = 0
    for number, size in enumerate(chunks.sizes_bytes):
        yield chunks.digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES], offset, size
        offset += size


def _locate(new_index: ChunkIndex, olds: list[Older]) -> dict[bytes, tuple[int, int, int]]:
    """Where older releases have the chunks of the new one: release, blob, offset."""
    wanted = {digest for blob in new_index.blobs for digest, _, _ in _chunks(blob)}
    places: dict[bytes, tuple[int, int, int]] = {}
    for older_index, older in enumerate(olds):
        for blob_index, blob in enumerate(older.chunk_index.blobs):
            for digest, offset, _ in _chunks(blob):
                if digest in wanted:
                    places.setdefault(digest, (older_index, blob_index, offset))
    return places


def _runs(chunks: BlobChunks, places: dict[bytes, tuple[int, int, int]]) -> Iterator[_Run]:
    run: _Run | None = None
    run_bytes = 0
    for digest, offset, size in _chunks(chunks):
        place = places.get(digest)
        follows = (
            run is not None
            and place == (run.older_index, run.blob_index, run.offset_bytes + run_bytes)
            and offset == run.new_offset_bytes + run_bytes
        )
        if run is not None and not follows:
            yield run
            run = None
        if place is not None:
            if run is None:
                run, run_bytes = _Run(*place, offset, []), 0
            run.chunks.append((digest, size))
            run_bytes += size
    if run is not None:
        yield run


def _copy_runs(
    blob: _NewBlob, runs: Iterator[_Run], olds: list[Older], piece_count: int
) -> list[int]:
    """Copy *runs* into *blob*; how many bytes of each of its pieces were copied."""
    covered = [0] * piece_count
    for run in runs:
        older = olds[run.older_index]
        try:
            source = open_blob(older.root, older.manifest, run.blob_index)
        except (OSError, IntegrityError):
            continue  # collected or damaged: it comes over the mesh
        try:
            copied = _copy_run(run, source, blob)
        finally:
            os.close(source)
        at, end = run.new_offset_bytes, run.new_offset_bytes + copied
        while at < end:
            piece, inside = divmod(at, blob.manifest.piece_size_bytes)
            step = min(end - at, blob.manifest.piece_size_bytes - inside)
            covered[piece] += step
            at += step
    return covered


def _copy_run(run: _Run, source: int, blob: _NewBlob) -> int:
    """Copy the chunks of *run* up to the first damaged one; how many bytes that were.

    They are verified first and then copied at once: for a file that did not change the
    filesystem may then share the blocks instead of copying.
    """
    good_bytes = 0
    for digest, size in run.chunks:
        try:
            data = os.pread(source, size, run.offset_bytes + good_bytes)
        except OSError:
            break  # a bad sector in the older release
        if blake3.blake3(data).digest() != digest:
            break
        good_bytes += size
    if good_bytes:
        target = open_blob(blob.root, blob.manifest, blob.blob_index, _WRITE)
        try:
            _copy(source, run.offset_bytes, target, run.new_offset_bytes, good_bytes)
        finally:
            os.close(target)
    return good_bytes


def _copy(source: int, offset: int, target: int, new_offset: int, size: int) -> None:
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(
                source, target, size - done, offset + done, new_offset + done
            )
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            data = os.pread(source, min(size - done, 1 << 20), offset + done)
            count = os.pwrite(target, data, new_offset + done)
        if count == 0:
            return  # the source shrank; the piece's own hash finds it out
        done += count
