"""Releases, manifests, blobs and chunks: rows in, rows out, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.messages.api import ReleaseView
from p2ptracker.storage.release_tables import blobs, chunks, manifests, releases

__all__ = [
    "ChunkPlace",
    "ManifestRow",
    "announce_hash_known",
    "chunk_places",
    "find_release",
    "forget_chunks",
    "insert_release",
    "known_blobs",
    "list_releases",
    "manifest_row",
    "published_at",
    "versions_of",
]

_NAMES_PER_QUERY = 500  # SQLite's oldest limit is 999 variables per statement
RELEASES_PER_PAGE_MAX = 1_000


class ChunkPlace(msgspec.Struct, frozen=True):
    """Bytes of a stored blob that are known to be one chunk."""

    blob: Digest
    offset_bytes: int
    size_bytes: int


class ManifestRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry knows of a manifest without reading it."""

    digest: Digest
    chunk_index: Digest
    info_hash_v2: str
    size_bytes: int
    file_count: int
    piece_size_bytes: int


def find_release(
    connection: sa.Connection, service: ServiceName, version: Version
) -> ReleaseView | None:
    """Return the release of that name, if any."""
    rows = connection.execute(
        _release_query().where(releases.c.service == service, releases.c.version == version)
    )
    return next((_release_view(row) for row in rows), None)


def list_releases(
    connection: sa.Connection, service: ServiceName, *, limit: int, after: str = ""
) -> list[ReleaseView]:
    """Newest first; *after* is the version that ended the page before (keyset pagination)."""
    query = _release_query().where(releases.c.service == service)
    if after:
        last = find_release(connection, service, Version(after))
        if last is None:
            raise NotFoundError(f"{service} has no release {after}", code="no-release")
        position = sa.tuple_(releases.c.published_at, releases.c.version)
        query = query.where(position < sa.tuple_(last.published_at.timestamp(), after))
    query = query.order_by(releases.c.published_at.desc(), releases.c.version.desc())
    return [_release_view(row) for row in connection.execute(query.limit(limit))]


def versions_of(
    connection: sa.Connection, digests: Sequence[Digest]
) -> dict[Digest, list[Version]]:
    """The versions that were published with each of *digests*, the oldest first."""
    found: dict[Digest, list[Version]] = {}
    for first in range(0, len(digests), _NAMES_PER_QUERY):
        batch = digests[first : first + _NAMES_PER_QUERY]
        query = sa.select(releases.c.manifest_digest, releases.c.version)
        query = query.where(releases.c.manifest_digest.in_(batch))
        for row in connection.execute(query.order_by(releases.c.published_at)):
            found.setdefault(Digest(row.manifest_digest), []).append(Version(row.version))
    return found


def insert_release(
    connection: sa.Connection,
    service: ServiceName,
    version: Version,
    manifest: ManifestRow,
    blob_sizes: dict[Digest, int],
    verified_chunks: Iterable[tuple[bytes, ChunkPlace]],
    published_at: float,
) -> ReleaseView:
    """Make the release visible, with everything it stands on.  Idempotent for the same bytes.

    Raises:
        RefusedError: other bytes have this name (``version-exists``); nothing was changed.
    """
    check_same(find_release(connection, service, version), service, version, manifest.digest)
    values = msgspec.structs.asdict(manifest)
    values["announce_hash"] = bytes.fromhex(manifest.info_hash_v2)[:20]
    connection.execute(insert(manifests).on_conflict_do_nothing(), values)
    _insert_blobs(connection, blob_sizes, verified_chunks)
    connection.execute(
        insert(releases).on_conflict_do_nothing(),
        {
            "service": service,
            "version": version,
            "manifest_digest": manifest.digest,
            "published_at": published_at,
        },
    )
    found = find_release(connection, service, version)
    assert found is not None, "inserted in this transaction"
    return found


def check_same(
    found: ReleaseView | None, service: ServiceName, version: Version, digest: Digest
) -> None:
    """Refuse when *found* has other bytes than *digest*."""
    if found is not None and found.manifest_digest != digest:
        raise RefusedError(
            f"{service} {version} is published with other bytes",
            hint="a release never changes: publish these bytes under a new version",
            code="version-exists",
        )


def known_blobs(connection: sa.Connection, digests: Sequence[Digest]) -> set[Digest]:
    """Which of *digests* the store holds whole and verified."""
    found: set[Digest] = set()
    for first in range(0, len(digests), _NAMES_PER_QUERY):
        batch = digests[first : first + _NAMES_PER_QUERY]
        rows = connection.execute(sa.select(blobs.c.digest).where(blobs.c.digest.in_(batch)))
        found.update(Digest(row.digest) for row in rows)
    return found


def chunk_places(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, ChunkPlace]:
    """Where each chunk that the store knows can be copied from."""
    found: dict[bytes, ChunkPlace] = {}
    columns = (chunks.c.digest, blobs.c.digest, chunks.c.offset_bytes, chunks.c.size_bytes)
    query = sa.select(*columns).join(blobs, blobs.c.id == chunks.c.blob_id)
    for first in range(0, len(digests), _NAMES_PER_QUERY):
        batch = digests[first : first + _NAMES_PER_QUERY]
        for chunk, blob, offset, size in connection.execute(
            query.where(chunks.c.digest.in_(batch))
        ):
            found[chunk] = ChunkPlace(Digest(blob), offset, size)
    return found


def forget_chunks(connection: sa.Connection, digests: Sequence[bytes]) -> None:
    """Drop places whose bytes turned out wrong, so that the next publisher sends them."""
    for first in range(0, len(digests), _NAMES_PER_QUERY):
        batch = digests[first : first + _NAMES_PER_QUERY]
        connection.execute(chunks.delete().where(chunks.c.digest.in_(batch)))


def manifest_row(connection: sa.Connection, digest: Digest) -> ManifestRow:
    """Return the row of a published manifest; raises NotFoundError."""
    names = ManifestRow.__struct_fields__
    query = sa.select(*(manifests.c[name] for name in names)).where(manifests.c.digest == digest)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"there is no manifest {digest}", code="no-manifest")
    return ManifestRow(**row._mapping)


def published_at(connection: sa.Connection, digest: Digest) -> float:
    """When a manifest was first published, in seconds since the epoch; raises NotFoundError."""
    query = sa.select(sa.func.min(releases.c.published_at))
    found = connection.execute(query.where(releases.c.manifest_digest == digest)).scalar()
    if found is None:
        raise NotFoundError(f"no release has the manifest {digest}", code="no-manifest")
    return found


def announce_hash_known(connection: sa.Connection, info_hash: bytes) -> bool:
    """Whether a published release announces under these 20 bytes."""
    query = sa.select(manifests.c.digest).where(manifests.c.announce_hash == info_hash)
    return connection.execute(query).first() is not None


def _insert_blobs(
    connection: sa.Connection,
    blob_sizes: dict[Digest, int],
    verified_chunks: Iterable[tuple[bytes, ChunkPlace]],
) -> None:
    if not blob_sizes:
        return
    rows = [{"digest": digest, "size_bytes": size} for digest, size in blob_sizes.items()]
    connection.execute(insert(blobs).on_conflict_do_nothing(), rows)
    ids: dict[str, int] = {}
    for digest in blob_sizes:
        query = sa.select(blobs.c.id).where(blobs.c.digest == digest)
        ids[digest] = connection.execute(query).scalar_one()
    places = [
        {
            "digest": chunk,
            "blob_id": ids[place.blob],
            "offset_bytes": place.offset_bytes,
            "size_bytes": place.size_bytes,
        }
        for chunk, place in verified_chunks
    ]
    if places:
        connection.execute(insert(chunks).on_conflict_do_nothing(), places)


def _release_query() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        releases.c.service,
        releases.c.version,
        releases.c.manifest_digest,
        releases.c.published_at,
        manifests.c.info_hash_v2,
        manifests.c.size_bytes,
        manifests.c.file_count,
        manifests.c.piece_size_bytes,
    ).join(manifests, manifests.c.digest == releases.c.manifest_digest)


def _release_view(row: sa.Row[Any]) -> ReleaseView:
    values = dict(row._mapping)
    values["published_at"] = datetime.fromtimestamp(values["published_at"], UTC)
    return ReleaseView(**values, torrent_path=f"/v1/manifests/{values['manifest_digest']}/torrent")
