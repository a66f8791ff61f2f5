"""What of a new release is already on this host: in an interrupted fetch, or in older releases.

Chunks are found by their digest and copied to where the new release has them; each piece that is
whole then is verified like one from the mesh.  Content-defined cuts make this work when bytes
were inserted or moved to another file, pack or service.  Of a piece that is there in part, its
*gaps* say what is missing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import blake3
import msgspec

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.payload.chunk_runs import Older, Run, locate, runs_of
from p2pdeploy.payload.copy_range import Copied, copy_range
from p2pdeploy.payload.cover import Cover, Range
from p2pdeploy.payload.stage import open_blob
from p2pdeploy.payload.torrent import PieceCheck, PieceSpan, piece_spans

__all__ = ["DeltaResult", "Gaps", "Older", "local_pieces", "pieces_on_disk"]

Gaps = Mapping[int, tuple[Range, ...]]
"""What is missing of pieces that are there in part, in bytes of the piece."""

_WRITE = os.O_RDWR | os.O_CREAT


class DeltaResult(NamedTuple):
    """``have`` by piece number; ``gaps`` of each piece that is there in part.

    ``kept_bytes`` were on disk before, ``reused_bytes`` came out of older releases,
    ``shared_bytes`` of those without being written; the rest of the release is to be fetched.
    """

    have: list[bool]
    gaps: Gaps
    reused_bytes: int
    kept_bytes: int
    shared_bytes: int


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
    new_manifest: Manifest, new_index: ChunkIndex, olds: Iterable[Older], root: Path
) -> DeltaResult:
    """Copy into the prepared *root* what older releases have, and say which pieces are there.

    Run it before the mesh writes to the blobs.  Idempotent: what an interrupted run or fetch left
    is found again.  A chunk that is missing or damaged in an older release is just not reused.
    Memory: about 200 bytes for each chunk of the new release, one older index, and one piece.

    Args:
        new_manifest: Judged by ``check_manifest``.
        new_index: Its chunks.
        olds: Where to copy from, what is likeliest to help first.  Read only as far as needed.
        root: The folder of the new release.

    Raises:
        OSError: the blobs of *root* can't be written; no space, mostly.
    """
    delta = _Delta(new_manifest, root)
    delta.copy_chunks(new_index, olds)
    return delta.result()


class _Delta:
    """The state of one run."""

    def __init__(self, manifest: Manifest, root: Path) -> None:
        self._manifest = manifest
        self._root = root
        self._had = pieces_on_disk(manifest, root)
        self._covers = [Cover() for _ in manifest.blobs]
        self._olds: list[tuple[Manifest, Path]] = []
        self._shared_bytes = 0

    def copy_chunks(self, index: ChunkIndex, olds: Iterable[Older]) -> None:
        if all(self._had):
            return
        places = locate(index, self._note(olds))
        at = 0
        for blob_index, spans in _spans_by_blob(self._manifest):
            if not all(self._had[at : at + len(spans)]):
                for run in runs_of(index.blobs[blob_index], places):
                    self._copy_run(run, blob_index)
            at += len(spans)

    def result(self) -> DeltaResult:
        """Verify what is whole now, and tell what is missing of the rest."""
        have: list[bool] = []
        gaps: dict[int, tuple[Range, ...]] = {}
        kept_bytes = reused_bytes = 0
        check = PieceCheck(self._manifest)
        for blob_index, spans in _spans_by_blob(self._manifest):
            with _Reader(self._root, self._manifest, blob_index) as reader:
                for span in spans:
                    number = len(have)
                    missing = () if self._had[number] else self._gaps(span)
                    right = self._had[number] or (
                        not missing and _is_right(check, number, span, reader.handle)
                    )
                    have.append(right)
                    if self._had[number]:
                        kept_bytes += span.size_bytes
                    elif right:
                        reused_bytes += span.size_bytes
                    elif missing and missing != ((0, span.size_bytes),):
                        gaps[number] = missing
                        reused_bytes += span.size_bytes - sum(end - at for at, end in missing)
        return DeltaResult(have, gaps, reused_bytes, kept_bytes, self._shared_bytes)

    def _note(self, olds: Iterable[Older]) -> Iterator[ChunkIndex]:
        for older in olds:
            # Where its blobs lie is all that is needed; entries can be 100,000.
            blobs_only = msgspec.structs.replace(older.manifest, entries=())
            self._olds.append((blobs_only, Path(older.root)))
            yield older.chunk_index

    def _gaps(self, span: PieceSpan) -> tuple[Range, ...]:
        first = span.offset_bytes
        found = self._covers[span.blob_index].gaps(first, first + span.size_bytes)
        return tuple((start - first, end - first) for start, end in found)

    def _copy_run(self, run: Run, blob_index: int) -> None:
        manifest, root = self._olds[run.place.older_index]
        try:
            source = open_blob(root, manifest, run.place.blob_index)
        except (OSError, IntegrityError):
            return  # collected or damaged: it comes over the mesh
        try:
            size_bytes = _good_bytes(run, source)
            if size_bytes:
                copied = self._copy(source, run, blob_index, size_bytes)
                at = run.new_offset_bytes
                self._covers[blob_index].add(at, at + copied.size_bytes)
                self._shared_bytes += copied.shared_bytes
        finally:
            os.close(source)

    def _copy(self, source: int, run: Run, blob_index: int, size_bytes: int) -> Copied:
        target = open_blob(self._root, self._manifest, blob_index, _WRITE)
        try:
            offset = run.place.offset_bytes
            return copy_range(source, offset, target, run.new_offset_bytes, size_bytes)
        finally:
            os.close(target)


class _Reader:
    """A blob of the new release, opened when it is first asked for."""

    def __init__(self, root: Path, manifest: Manifest, blob_index: int) -> None:
        self._blob = (root, manifest, blob_index)
        self._handle = -1

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    @property
    def handle(self) -> int:
        if self._handle < 0:
            self._handle = open_blob(*self._blob)
        return self._handle


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


def _good_bytes(run: Run, source: int) -> int:
    """How many bytes of *run* are right, up to the first damaged chunk.

    They are verified first and then copied at once: for what did not change the filesystem may
    then share the blocks instead of copying.
    """
    good_bytes = 0
    for digest, size in run.chunks:
        try:
            data = os.pread(source, size, run.place.offset_bytes + good_bytes)
        except OSError:
            break  # a bad sector in the older release
        if blake3.blake3(data).digest() != digest:
            break
        good_bytes += size
    return good_bytes
