"""Publishing: begin says what the registry lacks, commit verifies everything and makes it visible.

The exchange is described in ``p2pdeploy/messages/upload.py``.  Rules:

* (service, version) -> manifest digest is written once and never changes.
* Nothing is visible before every byte of it was verified against the manifest.
* A kill at any point loses nothing that was acknowledged; whoever comes back begins again.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import IntegrityError, ProtocolError, RefusedError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName, Version, check_digest, check_service, check_version
from p2pdeploy.manifest import ChunkIndex, Manifest, digest_of
from p2pdeploy.messages.api import PublishBegun, ReleaseView
from p2pdeploy.messages.release import Release
from p2pdeploy.messages.upload import PublishRequest
from p2pdeploy.payload.check import check_manifest
from p2pdeploy.payload.torrent import info_hash_v2, torrent_bytes
from p2pdeploy.trust.envelope import HmacKeyring, seal
from p2ptracker.registry.assemble import (
    Needs,
    check_digests,
    check_trees,
    copy_known_chunks,
    needs_of,
    wrong_chunks,
)
from p2ptracker.registry.chunk_map import ChunkMap, runs_of
from p2ptracker.registry.spool import Spool
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import (
    ChunkPlace,
    ManifestRow,
    check_same,
    chunk_places,
    find_release,
    forget_chunks,
    insert_release,
    known_blobs,
)

__all__ = ["Publisher"]

UPLOADS_MAX = 64  # unfinished releases on disk; each is bounded by its own manifest
UPLOAD_LIFETIME_S = 7 * 24 * 3600.0  # nobody resumes a publish of last week
THREADS = 2  # hashing fills a core per thread; two commits at once share them

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = structlog.get_logger(__name__)


class _Upload:
    """One release on its way in.  ``lock`` is held by a commit."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.key = secrets.token_urlsafe(18)
        self.lock = trio.Lock()


class Publisher:
    """All releases on their way in.

    Args:
        database: Where releases become visible.
        store: Where their blobs go.
        folder: Where uploads are spooled; on the store's filesystem.
        keyring: Seals the releases.
    """

    def __init__(
        self, database: Database, store: BlobStore, folder: Path, keyring: HmacKeyring
    ) -> None:
        self._database = database
        self._store = store
        self._folder = folder
        self._sealer = keyring.named("release")
        self._uploads: dict[Digest, _Upload] = {}
        self._threads = trio.CapacityLimiter(THREADS)
        self._opening = trio.Lock()
        self.upload_address = ""  # set once the listener is bound

    def __repr__(self) -> str:
        return f"<Publisher {len(self._uploads)} uploads>"

    async def begin(
        self, service: ServiceName, version: Version, request: PublishRequest
    ) -> PublishBegun:
        """Say what the registry lacks of a release.  Idempotent.

        Raises:
            RefusedError: other bytes have this name (``version-exists``), or a name breaks its
                rule; nothing was changed.
            ProtocolError, IntegrityError: the manifest or chunk index is malformed or hostile.
            UnavailableError: too many unfinished uploads.
        """
        check_service(service)
        check_version(version)
        digest = await self._in_thread(_judge, service, request)
        found = await self._database.read(partial(find_release, service=service, version=version))
        check_same(found, service, version, digest)
        if found is not None:
            return PublishBegun(state="published", manifest_digest=digest)
        upload = await self._open(digest, request)
        needs, _ = await self._compare(upload.spool)
        log.info("publish-begun", service=service, version=version, missing=len(needs.missing))
        return PublishBegun(
            state="uploading",
            manifest_digest=digest,
            missing=runs_of(needs.missing),
            upload_address=self.upload_address,
            upload_key=upload.key,
        )

    def spool_of(self, upload_key: str) -> Spool | None:
        """The upload that *upload_key* was given out for, if it is still open."""
        keys = ((upload.key, upload.spool) for upload in self._uploads.values())
        return next((spool for key, spool in keys if secrets.compare_digest(key, upload_key)), None)

    async def commit(self, service: ServiceName, version: Version, digest: Digest) -> ReleaseView:
        """Verify every byte of an uploaded release and make it visible.  Idempotent.

        Raises:
            RefusedError: other bytes have this name (``version-exists``), or chunks are missing
                or damaged (``chunks-missing``: begin again).
            IntegrityError: the manifest's own hashes contradict its chunks; the upload is gone.
        """
        check_service(service)
        check_version(version)
        check_digest(digest)
        found = await self._database.read(partial(find_release, service=service, version=version))
        check_same(found, service, version, digest)
        if found is not None:
            return found
        upload = await self._open(digest, None)
        if upload.spool.manifest.service != service:
            raise RefusedError(f"these bytes are of {upload.spool.manifest.service}, not {service}")
        async with upload.lock:
            # A commit of the same bytes may have finished while this one waited.
            if self._uploads.get(digest) is not upload:
                return await self.commit(service, version, digest)
            needs, places = await self._verify(upload.spool)
            view = await self._make_visible(service, version, upload.spool, needs, places)
            await self._drop(upload)
        log.info("published", service=service, version=version, digest=digest)
        return view

    # -- uploads -----------------------------------------------------------------------------

    async def _open(self, digest: Digest, request: PublishRequest | None) -> _Upload:
        """The upload of *digest*; opened from *request*, or from what a kill left on disk."""
        async with self._opening:
            upload = self._uploads.get(digest)
            if upload is None:
                if request is not None:
                    await self._make_room(digest)
                spool = await self._in_thread(_open_spool, self._folder, digest, request)
                upload = self._uploads[digest] = _Upload(spool)
            return upload

    async def _drop(self, upload: _Upload) -> None:
        async with self._opening:
            await self._discard(upload)

    async def _discard(self, upload: _Upload) -> None:
        """Close and delete *upload*; ``_opening`` is held."""
        del self._uploads[upload.spool.digest]
        await self._in_thread(_remove_spool, upload.spool)

    async def _make_room(self, digest: Digest) -> None:
        """Drop uploads that nobody came back for, and refuse *digest* when it is one too many."""
        place = self._folder / digest
        others, stale = await self._in_thread(_look_round, place, time.time())
        for folder in stale:
            upload = self._uploads.get(Digest(folder.name))
            if upload is None:
                await self._in_thread(partial(shutil.rmtree, ignore_errors=True), folder)
            elif not upload.lock.locked():  # else a commit is reading it right now
                await self._discard(upload)
        if others - len(stale) >= UPLOADS_MAX:
            raise UnavailableError(
                f"{UPLOADS_MAX} uploads are unfinished",
                hint="finish or wait for one; unfinished ones are dropped after a week",
                code="too-many-uploads",
            )

    async def _compare(self, spool: Spool) -> tuple[Needs, dict[bytes, ChunkPlace]]:
        blobs = sorted({blob.digest for blob in spool.manifest.blobs})

        def look(connection: sa.Connection) -> tuple[set[Digest], dict[bytes, ChunkPlace]]:
            digests = list({chunk.digest for chunk in spool.chunks})
            return known_blobs(connection, blobs), chunk_places(connection, digests)

        present, places = await self._database.read(look)
        return await self._in_thread(needs_of, spool, present, places), places

    # -- commit ------------------------------------------------------------------------------

    async def _verify(self, spool: Spool) -> tuple[Needs, dict[bytes, ChunkPlace]]:
        needs, places = await self._compare(spool)
        if needs.missing:
            raise RefusedError(
                f"{len(needs.missing)} chunks have not arrived",
                hint="begin again and send what is listed as missing",
                code="chunks-missing",
            )
        await self._in_thread(copy_known_chunks, spool, needs, places, self._store)
        wrong: set[int] = set()

        async def check(run: Callable[[Spool, Sequence[int]], list[int]]) -> None:
            wrong.update(await self._in_thread(run, spool, needs.blobs))

        async with trio.open_nursery() as nursery:  # two hashes, two cores
            nursery.start_soon(check, check_trees)
            nursery.start_soon(check, check_digests)
        if wrong:
            await self._repair(spool, sorted(wrong), places)
        return needs, places

    async def _repair(
        self, spool: Spool, blobs: list[int], places: dict[bytes, ChunkPlace]
    ) -> None:
        """Find out why *blobs* are not what they should be; always raises."""
        damaged = await self._in_thread(wrong_chunks, spool, blobs)
        if not damaged:
            await self._drop(self._uploads[spool.digest])
            raise IntegrityError(
                "the manifest's hashes contradict its own chunks",
                where=spool.manifest.blobs[blobs[0]].path,
                code="manifest-lies",
            )
        copied = [chunk.digest for chunk in damaged if chunk.digest in places]
        log.error("chunks-damaged", digest=spool.digest, chunks=len(damaged), copied=len(copied))
        await self._in_thread(spool.forget, [chunk.number for chunk in damaged])
        await self._database.write(lambda connection: forget_chunks(connection, copied))
        raise RefusedError(
            f"{len(damaged)} chunks were damaged on the registry's disk",
            hint="begin again and send what is listed as missing",
            code="chunks-missing",
        )

    async def _make_visible(
        self,
        service: ServiceName,
        version: Version,
        spool: Spool,
        needs: Needs,
        places: dict[bytes, ChunkPlace],
    ) -> ReleaseView:
        row = await self._in_thread(_store_all, spool, needs, self._store)
        blobs = spool.manifest.blobs
        sizes = {blobs[number].digest: blobs[number].size_bytes for number in needs.blobs}
        verified = [
            (digest, _place(spool, number))
            for digest, number in needs.first.items()
            if digest not in places
        ]
        release = Release(
            service=service,
            version=version,
            manifest_digest=spool.digest,
            size_bytes=spool.manifest.size_bytes,
            published_at=round(time.time(), 6),  # as exact as the API's datetime
        )
        envelope = seal(release, self._sealer)
        return await self._database.write(
            lambda connection: insert_release(
                connection, service, version, row, sizes, verified, release.published_at, envelope
            )
        )

    async def _in_thread(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(work, *args, limiter=self._threads)


def _judge(service: ServiceName, request: PublishRequest) -> Digest:
    """Refuse a manifest or a chunk index that is not what it should be; return the digest."""
    manifest = Manifest.from_bytes(request.manifest)
    if manifest.to_bytes() != request.manifest:
        raise ProtocolError("the manifest is not in its canonical form")
    check_manifest(manifest)
    if manifest.service != service:
        raise RefusedError(
            f"the payload is of service {manifest.service}, not {service}", code="other-service"
        )
    if (
        digest_of(request.chunk_index) != manifest.chunk_index
        or len(request.chunk_index) != manifest.chunk_index_bytes
    ):
        raise IntegrityError("the chunk index is not the one that the manifest names")
    ChunkMap(manifest, ChunkIndex.from_bytes(request.chunk_index))
    return digest_of(request.manifest)


def _open_spool(folder: Path, digest: Digest, request: PublishRequest | None) -> Spool:
    place = folder / digest
    if request is not None:
        return Spool(place, request.manifest, request.chunk_index)
    try:
        return Spool(place, (place / "manifest").read_bytes(), (place / "chunks").read_bytes())
    except FileNotFoundError as error:
        raise RefusedError(
            "no upload of these bytes is under way", hint="begin first", code="chunks-missing"
        ) from error


def _look_round(place: Path, now: float) -> tuple[int, list[Path]]:
    """How many uploads lie beside *place*, and which of them got nothing for a lifetime."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    others = [other for other in place.parent.iterdir() if other != place]
    oldest = now - UPLOAD_LIFETIME_S
    return len(others), [other for other in others if _last_word_at(other) < oldest]


def _last_word_at(place: Path) -> float:
    """When a chunk last arrived or the upload was last begun: the folder's own time tells neither,
    because blobs and journal are written in place.
    """
    try:
        return (place / "journal").stat().st_mtime
    except FileNotFoundError:  # killed before there was one
        return place.stat().st_mtime


def _store_all(spool: Spool, needs: Needs, store: BlobStore) -> ManifestRow:
    """Give the verified blobs and the release's small objects to the store; all durable after."""
    for number in needs.blobs:
        store.adopt(spool.manifest.blobs[number].digest, spool.blob_path(number))
    torrent = torrent_bytes(spool.manifest, spool.digest)
    store.put_object("manifest", spool.digest, spool.manifest_bytes)
    store.put_object("chunks", spool.digest, spool.chunk_index_bytes)
    store.put_object("torrent", spool.digest, torrent)
    return ManifestRow(
        digest=spool.digest,
        chunk_index=spool.manifest.chunk_index,
        info_hash_v2=info_hash_v2(torrent),
        size_bytes=spool.manifest.size_bytes,
        file_count=sum(entry.kind == "file" for entry in spool.manifest.entries),
        piece_size_bytes=spool.manifest.piece_size_bytes,
    )


def _place(spool: Spool, number: int) -> ChunkPlace:
    chunk = spool.chunks[number]
    blob = spool.manifest.blobs[chunk.blob_index].digest
    return ChunkPlace(blob, chunk.offset_bytes, chunk.size_bytes)


def _remove_spool(spool: Spool) -> None:
    spool.close()
    spool.remove()
