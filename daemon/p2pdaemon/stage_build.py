"""Bring one build onto this disk: whole, verified, and seeded to the others.

release (its envelope opened) -> manifest (digest-checked, judged) -> what older releases here
already have -> the swarm for the rest -> the final tree, verified file by file.  Every step may
be cut off by a kill and is begun again: pieces that lie on the disk are believed only after their
hash was checked (``payload.delta``), which costs one read of what was fetched so far, about 1 GB/s.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

import structlog
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.isolate import isolated
from p2pdaemon.mesh import Mesh
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Staged
from p2pdeploy.errors import IntegrityError, TrustError, UnavailableError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.messages.orders import Build
from p2pdeploy.messages.release import Release
from p2pdeploy.payload import stage
from p2pdeploy.payload.check import check_manifest
from p2pdeploy.payload.delta import DeltaResult, Older, local_pieces
from p2pdeploy.payload.torrent import piece_count, torrent_bytes, verify_piece
from p2pdeploy.swarm.dealer_client import ReleaseKey
from p2pdeploy.swarm.fetch import fetch_release
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.trust.envelope import Verifier, open_envelope

__all__ = ["BuildStager"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = structlog.get_logger(part="stage")
# Hashing and copying of one release at a time: two would only fight for the disk, and the daemon
# must stay below 150 MiB while it fetches.
_disk = trio.CapacityLimiter(1)


class BuildStager:
    """Stages builds, and seeds every staged one.

    Args:
        config: Names this host and its cell to the dealer.
        store: Where releases lie.
        control: Manifests, chunk indexes and deals.
        session: The swarm.
        mesh: Whom to exchange pieces with.
        rng: Spreads retries.
        keys: Opens the registry's word on a release.
    """

    def __init__(
        self,
        config: DaemonConfig,
        store: ReleaseStore,
        control: ControlPlane,
        session: Session,
        mesh: Mesh,
        rng: random.Random,
        keys: Verifier,
    ) -> None:
        self._cell = config.cell
        self._host = config.name
        self._store = store
        self._control = control
        self._session = session
        self._mesh = mesh
        self._rng = rng
        self._keys = keys
        self._torrents: dict[Digest, Torrent] = {}
        self._users: Counter[Digest] = Counter()  # tasks that stage or begin to seed it
        self._deleting = trio.Lock()  # held while one release is deleted, or marked as used
        self._adding = trio.Lock()  # the session refuses one torrent twice

    def __repr__(self) -> str:
        return f"<BuildStager {len(self._torrents)} torrents, {len(self._users)} in use>"

    def in_use(self) -> frozenset[Digest]:
        """Builds that are being staged: their folders must stay."""
        return frozenset(self._users)

    def torrents(self) -> dict[Digest, Torrent]:
        """What is fetched and seeded, for the metrics."""
        return dict(self._torrents)

    async def stage(self, service: ServiceName, build: Build) -> Staged:
        """Stage *build* and go on seeding it.  Idempotent; cancelling keeps what was fetched.

        Raises:
            UnavailableError: control plane, neighbours or disk; try again later.
            IntegrityError, ProtocolError: the manifest or the origin's bytes are wrong.
            TrustError: the registry's envelope of the release is forged or no release's.
        """
        try:
            async with self._using(build.digest):
                return await self._stage(service, build)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise UnavailableError(
                "the disk is full" if full else f"the disk fails: {error.strerror}",
                where=str(self._store.root(build.digest)),
                hint="free some space" if full else "",
                code="disk-full" if full else "disk-error",
            ) from error

    async def seed_all(self) -> None:
        """Seed every release that is staged on this disk."""
        for digest in await _hop(self._store.digests):
            async with self._using(digest):
                if not await _hop(self._store.is_staged, digest):
                    continue
                manifest = await _hop(self._store.read_manifest, digest)
                if manifest is not None:
                    await isolated(f"seed {digest}", partial(self._seed, digest, manifest))

    async def delete(self, digest: Digest, *, is_kept: Callable[[], bool]) -> bool:
        """Stop seeding *digest* and delete it, unless it is being used or *is_kept* now.

        Who wants to stage it meanwhile waits, and then finds nothing on the disk.

        Returns:
            Whether it was deleted.

        Raises:
            OSError: the disk fails; try again later.
        """
        async with self._deleting:
            if digest in self._users or is_kept():
                return False
            await self._drop(digest)
            await _hop(self._store.remove, digest)
            return True

    @asynccontextmanager
    async def _using(self, digest: Digest) -> AsyncGenerator[None]:
        """Keep the folder of *digest*: a deletion under way ends first, others are refused."""
        async with self._deleting:
            self._users[digest] += 1
        try:
            yield
        finally:
            self._users[digest] -= 1
            if not self._users[digest]:
                del self._users[digest]

    async def _stage(self, service: ServiceName, build: Build) -> Staged:
        manifest = await self._manifest(service, build)
        if await _hop(self._store.is_staged, build.digest):
            await isolated(f"seed {service}", partial(self._seed, build.digest, manifest))
            return Staged(service=service, digest=build.digest)
        return await self._fetch(service, build.digest, manifest)

    async def _drop(self, digest: Digest) -> None:
        """Leave the swarm of *digest*; what was fetched stays on the disk."""
        torrent = self._torrents.pop(digest, None)
        if torrent is not None:
            await torrent.remove()

    # -- the parts of a release --------------------------------------------------------------

    async def _manifest(self, service: ServiceName, build: Build) -> Manifest:
        """The manifest of *build*.  It lies on the disk only after its release was vouched for,
        so what was fetched once is staged, seeded and gone back to without the control plane.
        """
        digest = build.digest
        manifest = await _hop(self._store.read_manifest, digest)
        if manifest is None:
            release = await self._release(service, build)
            data = await self._control.fetch_manifest(digest)
            manifest = Manifest.from_bytes(data)
            await _hop(check_manifest, manifest)
            if manifest.size_bytes != release.size_bytes:
                raise IntegrityError("the release's envelope names another size", where=digest)
            await _hop(self._store.write_manifest, digest, data)
        if manifest.service != service:
            raise IntegrityError(f"is a release of {manifest.service!r}", where=digest)
        return manifest

    async def _release(self, service: ServiceName, build: Build) -> Release:
        """The registry's word on *build*; refused unless it names this very service and digest."""
        where = f"{service} {build.version}"
        envelope = await self._control.fetch_release_envelope(service, build.version)
        release = open_envelope(envelope, self._keys)
        if not isinstance(release, Release):
            raise TrustError(f"the envelope holds a {type(release).__name__}", where=where)
        if (release.service, release.version) != (service, build.version):
            raise IntegrityError(
                f"the envelope is of {release.service} {release.version}", where=where
            )
        if release.manifest_digest != build.digest:
            raise IntegrityError("the envelope names another digest than the plan", where=where)
        return release

    async def _chunk_index(self, digest: Digest, manifest: Manifest) -> ChunkIndex:
        index = await _hop(self._store.read_chunk_index, digest, manifest)
        if index is None:
            data = await self._control.fetch_chunk_index(digest, manifest.chunk_index)
            await _hop(self._store.write_chunk_index, digest, manifest, data)
            index = ChunkIndex.from_bytes(data)
        return index

    async def _fetch(self, service: ServiceName, digest: Digest, manifest: Manifest) -> Staged:
        index = await self._chunk_index(digest, manifest)
        root = self._store.root(digest)
        await self._drop(digest)  # of an earlier try; what it fetched is found on the disk
        await _hop(stage.prepare, root, manifest)
        here = await _hop(_local_pieces, self._store, service, digest, manifest, index)
        async with self._adding:
            torrent = await self._add(digest, manifest, here.have)
        _log.info(
            "fetching",
            service=service,
            digest=digest,
            pieces=len(here.have),
            pieces_here=sum(here.have),
        )
        async with AsyncExitStack() as unfinished:
            unfinished.push_async_callback(self._abandon, digest)
            report = await fetch_release(
                torrent,
                self._control,
                key=ReleaseKey(cell=self._cell, manifest_digest=digest, host=self._host),
                neighbours=self._mesh.neighbours,
                locate=self._mesh.locate,
                verify_piece=partial(verify_piece, manifest),
                jitter=self._rng,
                reused_bytes=here.reused_bytes,
            )
            await _hop(stage.finish, root, manifest)
            unfinished.pop_all()
        _log.info(
            "staged",
            service=service,
            digest=digest,
            dealt_bytes=report.dealt_bytes,
            peer_bytes=report.peer_bytes,
            reused_bytes=here.reused_bytes,
            duration_s=round(report.duration_s, 3),
        )
        return Staged(
            service=service,
            digest=digest,
            fetched_bytes=report.dealt_bytes + report.peer_bytes,
            reused_bytes=here.reused_bytes,
        )

    async def _abandon(self, digest: Digest) -> None:
        """Fetch no more of what failed or was superseded, even when cancelled: removal is short."""
        with trio.CancelScope(shield=True):
            await self._drop(digest)

    # -- the swarm ---------------------------------------------------------------------------

    async def _seed(self, digest: Digest, manifest: Manifest) -> None:
        async with self._adding:
            if digest not in self._torrents:
                await self._add(digest, manifest, [True] * piece_count(manifest))

    async def _add(self, digest: Digest, manifest: Manifest, have: list[bool]) -> Torrent:
        root = self._store.root(digest)
        paths = {
            blob.path: stage.blob_path(root, manifest, number)
            for number, blob in enumerate(manifest.blobs)
        }
        data = await _hop(torrent_bytes, manifest, digest)
        torrent = self._torrents[digest] = await self._session.add(data, paths, have)
        return torrent


def _local_pieces(
    store: ReleaseStore,
    service: ServiceName,
    digest: Digest,
    manifest: Manifest,
    index: ChunkIndex,
) -> DeltaResult:
    """Copy what older releases of the service have; blocking."""
    olds: list[Older] = []
    for other, old in store.staged():
        old_index = store.read_chunk_index(other, old) if old.service == service else None
        if old_index is not None:
            olds.append(Older(old, old_index, store.root(other)))
    return local_pieces(manifest, index, olds, store.root(digest))


async def _hop(work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    return await trio.to_thread.run_sync(work, *args, limiter=_disk)
