"""The last step of a publish: every byte is verified, then the release becomes visible at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set

import msgspec
import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.errors import IntegrityError, P2PDeployError, RefusedError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.manifest import Manifest
from p2pdeploy.messages.api import ReleaseView
from p2pdeploy.payload.torrent import info_hash_v2, torrent_bytes
from p2ptracker.registry.assemble import (
    Needs,
    check_digests,
    check_trees,
    copy_known_chunks,
    needs_of,
    sync_blobs,
    wrong_chunks,
)
from p2ptracker.registry.spool import Spool
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import (
    ChunkPlace,
    ManifestRow,
    chunk_places,
    forget_chunks,
    insert_release,
    known_blobs,
)
from p2ptracker.threads import Threads

__all__ = ["Committer", "Comparison"]

log = structlog.get_logger(__name__)


class Comparison(msgspec.Struct, frozen=True):
    """A spool beside the store: what it needs, and which chunks the store can copy from where."""

    needs: Needs
    places: Mapping[bytes, ChunkPlace]


class Committer:
    """Verifies spools and makes them releases.

    Args:
        database: Where releases become visible.
        store: Where their blobs go.
        swarm_authority_pem: The swarm CA, which every torrent names.
        threads: Where bytes are hashed.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        swarm_authority_pem: bytes,
        threads: Threads,
    ) -> None:
        self._database = database
        self._store = store
        self._swarm_authority_pem = swarm_authority_pem
        self._threads = threads
        self._writing = Threads(1)  # waits for the disk, so it takes no thread from the hashes

    def __repr__(self) -> str:
        return f"<Committer {self._store!r}>"

    async def compare(self, spool: Spool) -> Comparison:
        """Find out what of a release the store has already."""
        blobs = sorted({blob.digest for blob in spool.manifest.blobs})

        def look(connection: sa.Connection) -> tuple[set[Digest], dict[bytes, ChunkPlace]]:
            digests = list({chunk.digest for chunk in spool.chunks})
            return known_blobs(connection, blobs), chunk_places(connection, digests)

        known, places = await self._database.read(look)
        return await self._threads.run(_compare, spool, self._store, known, places)

    async def is_whole(self, digest: Digest) -> bool:
        """Whether the store has every blob of a published manifest, as long as it must be."""
        return await self._threads.run(_is_whole, self._store, digest)

    async def verify(self, spool: Spool) -> Comparison:
        """Fill the spool with what the store has, and compare every byte with the manifest.

        Raises:
            RefusedError: chunks are missing or damaged (``chunks-missing``: begin again).
            IntegrityError: the manifest's own hashes contradict its chunks; the spool is of no
                use to anybody.
            OSError: the disk did not take the bytes; they are still in the spool.
        """
        compared = await self.compare(spool)
        needs, places = compared.needs, compared.places
        if needs.missing:
            raise RefusedError(
                f"{len(needs.missing)} chunks have not arrived",
                hint="begin again and send what is listed as missing",
                code="chunks-missing",
            )
        await self._threads.run(copy_known_chunks, spool, needs, places, self._store)
        wrong: set[int] = set()

        async def check(run: Callable[[Spool, Sequence[int]], list[int]]) -> None:
            wrong.update(await self._threads.run(run, spool, needs.blobs))

        faults: list[OSError] = []

        async def write() -> None:
            try:
                await self._writing.run(sync_blobs, spool, needs.blobs)
            except OSError as error:  # raised below as itself, not in a group
                faults.append(error)

        async with trio.open_nursery() as nursery:  # two hashes, two cores, and the disk
            nursery.start_soon(write)
            nursery.start_soon(check, check_trees)
            nursery.start_soon(check, check_digests)
        if faults:
            raise faults[0]
        if wrong:
            await self._refuse_damaged(spool, sorted(wrong), places)
        return compared

    async def _refuse_damaged(
        self, spool: Spool, blobs: list[int], places: Mapping[bytes, ChunkPlace]
    ) -> None:
        """Find out why *blobs* are not what they should be; always raises."""
        damaged = await self._threads.run(wrong_chunks, spool, blobs)
        if not damaged:
            raise IntegrityError(
                "the manifest's hashes contradict its own chunks",
                where=spool.manifest.blobs[blobs[0]].path,
                code="manifest-lies",
            )
        copied = [chunk.digest for chunk in damaged if chunk.digest in places]
        log.error("chunks-damaged", digest=spool.digest, chunks=len(damaged), copied=len(copied))
        await self._threads.run(spool.forget, [chunk.number for chunk in damaged])
        await self._database.write(lambda connection: forget_chunks(connection, copied))
        raise RefusedError(
            f"{len(damaged)} chunks were damaged on the registry's disk",
            hint="begin again and send what is listed as missing",
            code="chunks-missing",
        )

    async def make_visible(
        self, service: ServiceName, version: Version, spool: Spool, verified: Comparison
    ) -> ReleaseView:
        """Give the bytes to the store, then insert the release in one transaction."""
        needs = verified.needs
        row = await self._threads.run(
            _store_all, spool, needs, self._store, self._swarm_authority_pem
        )
        blobs = spool.manifest.blobs
        sizes = {blobs[number].digest: blobs[number].size_bytes for number in needs.blobs}
        new_chunks = [
            (digest, _place(spool, number))
            for digest, number in needs.first.items()
            if digest not in verified.places
        ]
        published_at = round(time.time(), 6)  # as exact as the API's datetime
        return await self._database.write(
            lambda connection: insert_release(
                connection, service, version, row, sizes, new_chunks, published_at
            )
        )


def _compare(
    spool: Spool,
    store: BlobStore,
    known: Set[Digest],
    places: Mapping[bytes, ChunkPlace],
) -> Comparison:
    """What the database knows counts as far as the disk bears it out."""
    sizes = {blob.digest: blob.size_bytes for blob in spool.manifest.blobs if blob.digest in known}
    lost = {digest for digest, size_bytes in sizes.items() if not store.holds(digest, size_bytes)}
    if lost:
        log.error("blobs-lost", digest=spool.digest, blobs=sorted(lost))
    usable = {chunk: place for chunk, place in places.items() if place.blob not in lost}
    return Comparison(needs_of(spool, known - lost, usable), usable)


def _is_whole(store: BlobStore, digest: Digest) -> bool:
    try:
        manifest = Manifest.from_bytes(store.get_object("manifest", digest))
    except P2PDeployError:
        return False
    return all(store.holds(blob.digest, blob.size_bytes) for blob in manifest.blobs)


def _store_all(
    spool: Spool, needs: Needs, store: BlobStore, swarm_authority_pem: bytes
) -> ManifestRow:
    """Give the verified blobs and the release's small objects to the store; all durable after."""
    for number in needs.blobs:
        store.adopt(spool.manifest.blobs[number].digest, spool.blob_path(number))
    torrent = torrent_bytes(spool.manifest, spool.digest, swarm_authority_pem)
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
