"""Judge a manifest or chunk index from elsewhere before anything is done with it.  Pure.

A digest says that bytes are those that were named, not that they are harmless.  What passes here
can be staged without leaving its folder, and its parts fit each other.  ``format`` 1 leaves no
freedom: the blobs, their order and the piece size follow from the entries.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NoReturn

from p2pdeploy.errors import IntegrityError, ProtocolError, RefusedError
from p2pdeploy.ids import check_digest, check_service
from p2pdeploy.limits import CHUNK_INDEX_BYTES_MAX, FILES_PER_RELEASE_MAX
from p2pdeploy.manifest import Blob, ChunkIndex, Entry, Manifest, digest_of
from p2pdeploy.merkle import HASH_BYTES, layer_root
from p2pdeploy.payload.cut import CHUNK_BYTES_MAX
from p2pdeploy.payload.layout import piece_size_for, plan_blobs
from p2pdeploy.payload.paths import link_fault, path_fault, path_key
from p2pdeploy.payload.service_spec import SERVICE_TOML
from p2pdeploy.printable import printable

__all__ = ["check_chunk_index", "check_manifest"]

RELEASE_BYTES_MAX = 1 << 42  # 4 TiB: keeps sums and libtorrent's piece numbers far from overflow
_DIGEST_BYTES = 32
_EMPTY = digest_of(b"")


def check_manifest(manifest: Manifest) -> None:
    """Return if *manifest* describes one release soundly.

    Raises:
        ProtocolError: a format that this program does not know.
        IntegrityError: a rule is broken; the message names the path.  Refuse the release.
    """
    if manifest.format != 1:
        raise ProtocolError(f"manifest format {manifest.format} is not known", code="bad-format")
    try:
        check_service(manifest.service)
        check_digest(manifest.chunk_index)
    except RefusedError as error:
        _refuse("", error.message)
    if not 0 < manifest.chunk_index_bytes <= CHUNK_INDEX_BYTES_MAX:
        _refuse("", f"chunk index of {manifest.chunk_index_bytes} bytes")
    _check_entries(manifest.entries)
    _check_layout(manifest)
    for blob in manifest.blobs:
        _check_blob(blob, manifest.piece_size_bytes)


def check_chunk_index(manifest: Manifest, data: bytes) -> ChunkIndex:
    """Decode *data*, the chunk index of a checked *manifest*.

    Raises:
        IntegrityError: these are other bytes, or the chunks do not add up to the blobs.
        ProtocolError: not a chunk index.
    """
    if len(data) != manifest.chunk_index_bytes or digest_of(data) != manifest.chunk_index:
        _refuse("", "the chunk index does not have its digest")
    index = ChunkIndex.from_bytes(data)
    if len(index.blobs) != len(manifest.blobs):
        _refuse("", f"chunk index of {len(index.blobs)} blobs, not {len(manifest.blobs)}")
    for blob, chunks in zip(manifest.blobs, index.blobs, strict=True):
        if len(chunks.digests) != _DIGEST_BYTES * len(chunks.sizes_bytes):
            _refuse(blob.path, "has not as many chunk digests as sizes")
        if not all(0 < size <= CHUNK_BYTES_MAX for size in chunks.sizes_bytes):
            _refuse(blob.path, "has a chunk of impossible size")
        if sum(chunks.sizes_bytes) != blob.size_bytes:
            _refuse(blob.path, "has chunks that do not add up to its size")
    return index


def _check_entries(entries: tuple[Entry, ...]) -> None:
    if len(entries) > FILES_PER_RELEASE_MAX:
        _refuse("", f"{len(entries)} entries, at most {FILES_PER_RELEASE_MAX} allowed")
    folders = {""}
    for entry in entries:
        if fault := path_fault(entry.path) or _entry_fault(entry):
            _refuse(entry.path, fault)
        if entry.path.rpartition("/")[0] not in folders:
            _refuse(entry.path, "is not inside a folder of the manifest")
        if entry.kind == "dir":
            folders.add(entry.path)
    for before, after in pairwise(entries):
        if path_key(before.path) >= path_key(after.path):
            _refuse(after.path, "is out of order or listed twice")
    if not any(entry.path == SERVICE_TOML and entry.kind == "file" for entry in entries):
        _refuse(SERVICE_TOML, "is missing")
    if sum(entry.size_bytes for entry in entries) > RELEASE_BYTES_MAX:
        _refuse("", f"more than {RELEASE_BYTES_MAX} bytes")


def _entry_fault(entry: Entry) -> str:
    if entry.kind == "file":
        return _file_fault(entry)
    bare = Entry(path=entry.path, kind=entry.kind, mode=entry.mode, target=entry.target)
    if entry != bare:
        return f"is a {entry.kind} and has file fields"
    if entry.kind == "link":
        return link_fault(entry.path, entry.target) or (
            "" if entry.mode == 0o777 else "is a link with a mode"
        )
    if entry.target:
        return "is a folder and has a target"
    return _mode_fault(entry.mode, needed=0o500)


def _file_fault(entry: Entry) -> str:
    if not 0 <= entry.size_bytes <= RELEASE_BYTES_MAX:
        return f"has size {entry.size_bytes}"
    if entry.target:
        return "is a file and has a target"
    try:
        check_digest(entry.digest)
    except RefusedError as error:
        return error.message
    if entry.size_bytes == 0 and (entry.blob_index, entry.offset_bytes) != (-1, 0):
        return "is empty and has a place in a blob"
    if entry.size_bytes == 0 and entry.digest != _EMPTY:
        return "is empty and has another digest"
    return _mode_fault(entry.mode, needed=0o400)


def _mode_fault(mode: int, *, needed: int) -> str:
    if mode & ~0o777 or mode & needed != needed:
        return f"has mode {mode:o}"
    return ""


def _check_layout(manifest: Manifest) -> None:
    plans = plan_blobs(manifest.entries)
    if [(plan.path, plan.size_bytes) for plan in plans] != [
        (blob.path, blob.size_bytes) for blob in manifest.blobs
    ]:
        _refuse("", "the blobs are not those that follow from the entries")
    for blob_index, plan in enumerate(plans):
        offset_bytes = 0
        for entry in plan.files:
            if (entry.blob_index, entry.offset_bytes) != (blob_index, offset_bytes):
                _refuse(entry.path, "is not where it must be in the blobs")
            offset_bytes += entry.size_bytes
        if len(plan.files) == 1 and plan.files[0].digest != manifest.blobs[blob_index].digest:
            _refuse(plan.path, "has another digest than its only file")
    wanted = piece_size_for(manifest.size_bytes)
    if manifest.piece_size_bytes != wanted:
        _refuse("", f"piece size {manifest.piece_size_bytes}, must be {wanted}")


def _check_blob(blob: Blob, piece_size_bytes: int) -> None:
    try:
        check_digest(blob.digest)
    except RefusedError as error:
        _refuse(blob.path, error.message)
    pieces = -(-blob.size_bytes // piece_size_bytes)
    layer_bytes = HASH_BYTES * pieces if pieces > 1 else 0
    if len(blob.pieces_root) != HASH_BYTES or len(blob.piece_layer) != layer_bytes:
        _refuse(blob.path, "has a piece layer of the wrong size")
    if blob.piece_layer and layer_root(blob.piece_layer, piece_size_bytes) != blob.pieces_root:
        _refuse(blob.path, "has a piece layer that does not belong to its root")


def _refuse(path: str, message: str) -> NoReturn:
    where = f"manifest: {printable(path)}" if path else "manifest"
    raise IntegrityError(message, where=where, code="bad-manifest")
