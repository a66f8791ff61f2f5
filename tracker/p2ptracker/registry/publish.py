"""Publishing: begin says what the registry lacks, commit verifies everything and makes it visible.

What is visible is pending: no host takes it before its publishers sign it (p2ptracker/releases).

The exchange is described in ``p2pdeploy/messages/upload.py``.  Rules:

* (service, version) -> manifest digest is written once and never changes.
* Nothing is visible before every byte of it was verified against the manifest.
* What the disk has lost of a release comes back when the same bytes are published again.
* A kill at any point loses nothing that was acknowledged; whoever comes back begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from p2pdeploy.errors import IntegrityError, ProtocolError, RefusedError
from p2pdeploy.ids import Digest, ServiceName, Version, check_digest, check_service, check_version
from p2pdeploy.manifest import Manifest, digest_of
from p2pdeploy.messages.api import PublishBegun, ReleaseView
from p2pdeploy.messages.upload import PublishRequest
from p2pdeploy.payload.check import check_chunk_index, check_manifest
from p2pdeploy.trust.tls import Peer
from p2ptracker.registry.chunk_map import runs_of
from p2ptracker.registry.commit import Committer
from p2ptracker.registry.spool import Spool
from p2ptracker.registry.upload_shares import owner_of
from p2ptracker.registry.uploads import Upload, Uploads
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import check_same, find_release
from p2ptracker.threads import Threads

__all__ = ["Publisher"]

THREADS = 2  # hashing fills a core per thread; two commits at once share them

log = structlog.get_logger(__name__)


class Publisher:
    """All releases on their way in.

    Args:
        database: Where releases become visible.
        store: Where their blobs go.
        folder: Where uploads are spooled; on the store's filesystem.
        swarm_authority_pem: The swarm CA, which every torrent names.
        is_revoked: Whether a certificate was taken back: what its bearer began is dropped.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        folder: Path,
        swarm_authority_pem: bytes,
        is_revoked: Callable[[Peer], bool],
    ) -> None:
        self._database = database
        self._threads = Threads(THREADS)
        self._uploads = Uploads(folder, self._threads, is_revoked)
        self._committer = Committer(database, store, swarm_authority_pem, self._threads)
        self.upload_address = ""  # set once the listener is bound

    def __repr__(self) -> str:
        return f"<Publisher {self._uploads!r}>"

    def spool_of(self, upload_key: str) -> Spool | None:
        """The upload that *upload_key* was given out for, if it is still open."""
        return self._uploads.spool_of(upload_key)

    async def begin(
        self, service: ServiceName, version: Version, request: PublishRequest, peer: Peer
    ) -> PublishBegun:
        """Say what the registry lacks of a release; of a published one, what its disk lost.

        What *peer* leaves unfinished counts against its share.

        Idempotent.

        Raises:
            RefusedError: other bytes have this name (``version-exists``), or a name breaks its
                rule; nothing was changed.
            ProtocolError, IntegrityError: the manifest or chunk index is malformed or hostile.
            UnavailableError: too many unfinished uploads.
        """
        check_service(service)
        check_version(version)
        digest = await self._threads.run(_judge, service, request)
        found = await self._database.read(partial(find_release, service=service, version=version))
        check_same(found, service, version, digest)
        if found is not None and await self._committer.is_whole(digest):
            return PublishBegun(state="published", manifest_digest=digest)
        upload = await self._uploads.begin(digest, request, owner_of(peer))
        needs = (await self._committer.compare(upload.spool)).needs
        log.info("publish-begun", service=service, version=version, missing=len(needs.missing))
        return PublishBegun(
            state="uploading",
            manifest_digest=digest,
            missing=runs_of(needs.missing),
            upload_address=self.upload_address,
            upload_key=upload.key,
        )

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
        if found is not None and await self._committer.is_whole(digest):
            return found
        upload = await self._uploads.resume(digest)
        if upload.spool.manifest.service != service:
            raise RefusedError(f"these bytes are of {upload.spool.manifest.service}, not {service}")
        async with upload.lock:
            # A commit of the same bytes may have finished while this one waited.
            if not self._uploads.is_open(upload):
                return await self.commit(service, version, digest)
            view = await self._finish(service, version, upload)
        log.info("published", service=service, version=version, digest=digest)
        return view

    async def _finish(self, service: ServiceName, version: Version, upload: Upload) -> ReleaseView:
        """Make *upload* a release; its lock is held."""
        try:
            verified = await self._committer.verify(upload.spool)
        except IntegrityError:  # no other bytes can make it true
            await self._uploads.drop(upload)
            raise
        view = await self._committer.make_visible(service, version, upload.spool, verified)
        await self._uploads.drop(upload)
        return view


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
    check_chunk_index(manifest, request.chunk_index)
    return digest_of(request.manifest)
