"""From a directory tree to a manifest: the whole of what ``p2pctl publish`` knows of a payload."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from p2pdeploy.errors import PayloadError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.limits import CHUNK_INDEX_BYTES_MAX, MANIFEST_BYTES_MAX
from p2pdeploy.manifest import ChunkIndex, Entry, Manifest, digest_of
from p2pdeploy.payload.layout import BlobPlan, piece_size_for, plan_blobs
from p2pdeploy.payload.reading import BlobResult, Progress, Reading
from p2pdeploy.payload.service_toml import check_tree
from p2pdeploy.payload.sources import BlobReader, changed
from p2pdeploy.payload.walk import Found, walk

__all__ = ["Built", "Progress", "build"]


class Built(NamedTuple):
    """A payload that is ready to be published.

    ``manifest_bytes`` and ``chunk_index_bytes`` are the canonical bytes; ``sources`` reads the
    blobs from the tree.
    """

    manifest: Manifest
    manifest_bytes: bytes
    manifest_digest: Digest
    chunk_index: ChunkIndex
    chunk_index_bytes: bytes
    sources: BlobReader


def build(path: Path, service: ServiceName, *, progress: Progress | None = None) -> Built:
    """Read the tree at *path* and describe it.  Nothing is written; about 20 MiB of memory.

    The same tree gives the same bytes on every machine: names, contents, modes and links count,
    owners and times do not.

    Raises:
        PayloadError: the tree or its service.toml breaks the payload contract, it is the tree of
            another service, or it changed while it was read.  The message names the file.
    """
    found = walk(path)
    check_tree(path, service)
    blobs = plan_blobs(found)
    total_bytes = sum(blob.size_bytes for blob in blobs)
    piece_size_bytes = piece_size_for(total_bytes)
    with Reading(path, piece_size_bytes, total_bytes, progress) as reading:
        results = [reading.read_blob(plan) for plan in blobs]
    _check_unchanged(path, found)
    return _assemble(path, service, found, blobs, results, piece_size_bytes)


def _check_unchanged(root: Path, before: list[Found]) -> None:
    for old, new in zip_longest(before, walk(root)):
        if old != new:
            raise changed(root / (old or new).path)


def _assemble(
    path: Path,
    service: ServiceName,
    found: list[Found],
    plans: list[BlobPlan[Found]],
    results: list[BlobResult],
    piece_size_bytes: int,
) -> Built:
    chunk_index = ChunkIndex(tuple(result.chunks for result in results))
    chunk_index_bytes = chunk_index.to_bytes()
    manifest = Manifest(
        service=service,
        piece_size_bytes=piece_size_bytes,
        entries=tuple(_entries(found, plans, results)),
        blobs=tuple(result.blob for result in results),
        chunk_index=digest_of(chunk_index_bytes),
        chunk_index_bytes=len(chunk_index_bytes),
    )
    manifest_bytes = manifest.to_bytes()
    too_large = (
        len(manifest_bytes) > MANIFEST_BYTES_MAX or len(chunk_index_bytes) > CHUNK_INDEX_BYTES_MAX
    )
    if too_large:
        raise PayloadError(
            "the tree is too large to be described", where=str(path), code="tree-too-large"
        )
    return Built(
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        manifest_digest=digest_of(manifest_bytes),
        chunk_index=chunk_index,
        chunk_index_bytes=chunk_index_bytes,
        sources=BlobReader(path, plans),
    )


def _entries(
    found: list[Found], plans: list[BlobPlan[Found]], results: list[BlobResult]
) -> Iterator[Entry]:
    """The entries of the manifest, in the order in which the tree was walked."""
    places: dict[str, tuple[int, int, Digest]] = {}
    for blob_index, (plan, result) in enumerate(zip(plans, results, strict=True)):
        offset_bytes = 0
        for file, digest in zip(plan.files, result.file_digests, strict=True):
            places[file.path] = (blob_index, offset_bytes, digest)
            offset_bytes += file.size_bytes
    nowhere = (-1, 0, digest_of(b""))
    for item in found:
        if item.kind == "file":
            blob_index, offset_bytes, digest = places.get(item.path, nowhere)
            yield Entry(
                path=item.path,
                mode=item.mode,
                size_bytes=item.size_bytes,
                digest=digest,
                blob_index=blob_index,
                offset_bytes=offset_bytes,
            )
        else:
            yield Entry(path=item.path, kind=item.kind, mode=item.mode, target=item.target)
