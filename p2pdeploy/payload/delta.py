"""What of a new release is already on this host: in an interrupted fetch, or in older releases.

Chunks are found by their digest and copied to where the new release has them; each piece that is
whole then is verified like one from the mesh.  Content-defined cuts make this work when bytes
were inserted or moved to another file, pack or service.  What changed begins and ends inside a
chunk: of those the *outline* says which smaller parts are here (``messages.outline``).  Of a piece
that is there in part, its *gaps* say what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import blake3
import msgspec

from p2pdeploy.errors import IntegrityError
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.messages.outline import ChunkPlace, Outline
from p2pdeploy.payload.chunk_runs import Place, Run, locate, runs_of
from p2pdeploy.payload.copy_range import Copied, copy_range
from p2pdeploy.payload.cover import Cover, Range
from p2pdeploy.payload.edges import CopiedRun, Edge, OldBytes, edges_of
from p2pdeploy.payload.on_disk import LazyBlob, is_right, pieces_on_disk, spans_by_blob
from p2pdeploy.payload.outline import find_parts
from p2pdeploy.payload.stage import open_blob
from p2pdeploy.payload.torrent import PieceCheck, PieceSpan

__all__ = ["Delta", "DeltaResult", "Gaps", "Older"]

Gaps = Mapping[int, tuple[Range, ...]]
"""What is missing of pieces that are there in part, in bytes of the piece."""

_WRITE = os.O_RDWR | os.O_CREAT


class Older(NamedTuple):
    """A staged release to copy from: its manifest, its chunk index and its folder."""

    manifest: Manifest
    chunk_index: ChunkIndex
    root: Path


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


class Delta:
    """Fills a prepared release with what is on this disk.  Used once, by one thread at a time.

    Do it before the mesh writes to the blobs, in this order: :meth:`copy_chunks`, then perhaps
    :meth:`copy_parts` with the outlines of :attr:`edges`, then :meth:`result`.  Idempotent: what an
    interrupted run or fetch left is found again.  What is missing or damaged in an older release is
    just not reused.  Memory: about 200 bytes for each chunk, one older index, and one piece.

    Args:
        manifest: Of the new release; judged by ``check_manifest``.
        root: Its folder.
    """

    def __init__(self, manifest: Manifest, root: Path) -> None:
        self._manifest = manifest
        self._root = root
        self._had = pieces_on_disk(manifest, root)
        self._covers = [Cover() for _ in manifest.blobs]
        self._olds: list[tuple[Manifest, Path]] = []
        self._shared_bytes = 0
        self.edges: list[Edge] = []

    def copy_chunks(self, index: ChunkIndex, olds: Iterable[Older]) -> None:
        """Copy every chunk that another release has.  Blocking.

        Args:
            index: The chunks of the new release.
            olds: Where to copy from, what is likeliest to help first; read only as far as needed.

        Raises:
            OSError: the blobs can't be written; no space, mostly.
        """
        if all(self._had):
            return
        places = locate(index, self._note(olds))
        at = 0
        for blob_index, spans in spans_by_blob(self._manifest):
            if not all(self._had[at : at + len(spans)]):
                chunks = index.blobs[blob_index]
                copied = [self._copy_run(run, blob_index) for run in runs_of(chunks, places)]
                runs = [run for run in copied if run is not None]
                edges = edges_of(blob_index, chunks, runs)
                self.edges += [edge for edge in edges if self._is_lacking(edge.chunk, at)]
            at += len(spans)

    def copy_parts(self, edges: Iterable[Edge], outlines: Iterable[Outline]) -> None:
        """Copy what is found of *edges*, some of :attr:`edges`, by their *outlines*.  Blocking.

        Raises:
            OSError: as :meth:`copy_chunks`.
        """
        for edge, outline in zip(edges, outlines, strict=True):
            for old in edge.olds:
                self._copy_matches(edge.chunk, outline, old)

    def result(self) -> DeltaResult:
        """Verify what is whole now, and tell what is missing of the rest.  Blocking."""
        have: list[bool] = []
        gaps: dict[int, tuple[Range, ...]] = {}
        kept_bytes = reused_bytes = 0
        check = PieceCheck(self._manifest)
        for blob_index, spans in spans_by_blob(self._manifest):
            with LazyBlob(self._root, self._manifest, blob_index) as reader:
                for span in spans:
                    number = len(have)
                    missing = () if self._had[number] else self._gaps(span)
                    right = self._had[number] or (
                        not missing and is_right(check, number, span, reader.handle)
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
            self._olds.append((blobs_only, older.root))
            yield older.chunk_index

    def _gaps(self, span: PieceSpan) -> tuple[Range, ...]:
        first = span.offset_bytes
        found = self._covers[span.blob_index].gaps(first, first + span.size_bytes)
        return tuple((start - first, end - first) for start, end in found)

    def _is_lacking(self, chunk: ChunkPlace, first_piece: int) -> bool:
        """Whether a piece that *chunk* reaches into was not there before."""
        size_bytes = self._manifest.piece_size_bytes
        first = first_piece + chunk.offset_bytes // size_bytes
        last = first_piece + (chunk.offset_bytes + chunk.size_bytes - 1) // size_bytes
        return not all(self._had[first : last + 1])

    def _copy_run(self, run: Run, blob_index: int) -> CopiedRun | None:
        """What was copied; None when nothing was."""
        source = self._open_old(run.place)
        if source is None:
            return None
        try:
            size_bytes = _good_bytes(run, source)
            if not size_bytes:
                return None
            copied = self._copy(source, run, blob_index, size_bytes)
        finally:
            os.close(source)
        at = run.new_offset_bytes
        self._covers[blob_index].add(at, at + copied.size_bytes)
        self._shared_bytes += copied.shared_bytes
        # One that shrank while it was copied does not end with a chunk: nothing is beside it.
        whole = copied.size_bytes == size_bytes
        return CopiedRun(at, copied.size_bytes, run.place) if whole else None

    def _copy(self, source: int, run: Run, blob_index: int, size_bytes: int) -> Copied:
        target = open_blob(self._root, self._manifest, blob_index, _WRITE)
        try:
            offset = run.place.offset_bytes
            return copy_range(source, offset, target, run.new_offset_bytes, size_bytes)
        finally:
            os.close(target)

    def _copy_matches(self, chunk: ChunkPlace, outline: Outline, old: OldBytes) -> None:
        source = self._open_old(old.place)
        if source is None:
            return
        try:
            data = os.pread(source, old.size_bytes, old.place.offset_bytes)
        except OSError:
            return  # a bad sector in the older release
        finally:
            os.close(source)
        matches = find_parts(outline, data)
        if not matches:
            return
        target = open_blob(self._root, self._manifest, chunk.blob_index, _WRITE)
        try:
            for match in matches:
                at, size = chunk.offset_bytes + match.offset_bytes, match.size_bytes
                found = data[match.found_bytes : match.found_bytes + size]
                self._covers[chunk.blob_index].add(at, at + os.pwrite(target, found, at))
        finally:
            os.close(target)

    def _open_old(self, place: Place) -> int | None:
        """A blob of an older release; None when it was collected or damaged."""
        manifest, root = self._olds[place.older_index]
        try:
            return open_blob(root, manifest, place.blob_index)
        except (OSError, IntegrityError):
            return None


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
