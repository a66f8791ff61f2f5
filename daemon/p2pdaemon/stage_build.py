"""Bring one build onto this disk: whole, verified, and seeded to the others.

release (signed by its publishers) -> manifest (digest-checked, judged) -> what older releases here
already have -> the swarm for the rest -> the final tree, verified file by file.  Every step may
be cut off by a kill and is begun again: pieces that lie on the disk are believed only after their
hash was checked (``payload.delta``), which costs one read of what was fetched so far, about 1 GB/s.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.disk import disk_failure
from p2pdaemon.isolate import isolated
from p2pdaemon.log import get_logger
from p2pdaemon.mesh import Mesh
from p2pdaemon.release_parts import Judge, ReleaseParts, disk_hop
from p2pdaemon.release_torrents import ReleaseTorrents
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Staged
from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import Manifest
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload import stage
from p2pdeploy.payload.delta import DeltaResult
from p2pdeploy.payload.torrent import PieceCheck
from p2pdeploy.swarm.dealer_client import ReleaseKey
from p2pdeploy.swarm.fetch import FetchReport, fetch_release
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["BuildStager", "Reused"]

_log = get_logger("stage")


class Reused:
    """Bytes that came out of other releases on this host since the daemon started."""

    def __init__(self) -> None:
        self.copied_bytes = 0
        self.shared_bytes = 0  # by reference: neither written nor taking room

    def add(self, here: DeltaResult) -> None:
        """Count one run."""
        self.copied_bytes += here.reused_bytes - here.shared_bytes
        self.shared_bytes += here.shared_bytes


class BuildStager:
    """Stages builds, and seeds every staged one.

    Args:
        config: Names this host and its cell to the dealer.
        store: Where releases lie.
        control: Manifests, chunk indexes and deals.
        session: The swarm.
        mesh: Whom to exchange pieces with.
        rng: Spreads retries.
        judge: Knows what publishers signed.
    """

    def __init__(
        self,
        config: DaemonConfig,
        store: ReleaseStore,
        control: ControlPlane,
        session: Session,
        mesh: Mesh,
        rng: random.Random,
        judge: Judge,
    ) -> None:
        self._cell = config.cell
        self._host = config.name
        self._store = store
        self._control = control
        self._mesh = mesh
        self._rng = rng
        self._parts = ReleaseParts(store, control, judge)
        self._torrents = ReleaseTorrents(store, session)
        self.reused = Reused()
        self._users: Counter[Digest] = Counter()  # tasks that stage or begin to seed it
        self._deleting = trio.Lock()  # held while one release is deleted, or marked as used
        self._turns: defaultdict[Digest, trio.Lock] = defaultdict(trio.Lock)  # who writes a release

    def __repr__(self) -> str:
        return f"<BuildStager {len(self._torrents)} torrents, {len(self._users)} in use>"

    def in_use(self) -> frozenset[Digest]:
        """Builds that are being staged: their folders must stay."""
        return frozenset(self._users)

    def torrents(self) -> dict[Digest, Torrent]:
        """What is fetched and seeded, for the metrics."""
        return self._torrents.by_digest()

    async def stage(self, service: ServiceName, build: Build) -> Staged:
        """Stage *build* and go on seeding it.  Idempotent; cancelling keeps what was fetched.

        Raises:
            UnavailableError: control plane, neighbours or disk; try again later.
            IntegrityError, ProtocolError: the manifest or the origin's bytes are wrong.
            TrustError: its publishers did not sign it, or the metadata that says so is an attack.
        """
        try:
            async with self._using(build.digest), self._turns[build.digest]:
                return await self._stage(service, build)
        except OSError as error:
            raise disk_failure(error, self._store.root(build.digest)) from error

    async def restage(self, service: ServiceName, build: Build) -> None:
        """Stage *build* from scratch: its tree was found to differ, and nothing runs from it.

        Raises:
            As :meth:`stage`; the build is not staged then.
        """
        async with self._using(build.digest):
            async with self._turns[build.digest]:
                await self._torrents.drop(build.digest)
                await disk_hop(self._store.discard, build.digest)
            await self.stage(service, build)

    async def seed_all(self) -> None:
        """Seed every release that is staged on this disk; log what cannot be read."""
        await isolated("seed", self._seed_staged)

    async def _seed_staged(self) -> None:
        for digest in await disk_hop(self._store.digests):
            await isolated(f"seed {digest}", partial(self._seed_if_staged, digest))

    async def _seed_if_staged(self, digest: Digest) -> None:
        async with self._using(digest):
            if not await disk_hop(self._store.is_staged, digest):
                return
            manifest = await disk_hop(self._store.read_manifest, digest)
            if manifest is not None:
                await self._torrents.seed(digest, manifest)

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
            await self._torrents.drop(digest)
            await disk_hop(self._store.remove, digest)
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
                self._turns.pop(digest, None)

    async def _stage(self, service: ServiceName, build: Build) -> Staged:
        manifest = await self._parts.manifest(service, build)
        if await self._is_staged(build.digest):
            await isolated(f"seed {service}", partial(self._torrents.seed, build.digest, manifest))
            return Staged(service=service, digest=build.digest)
        return await self._fetch(service, build.digest, manifest)

    async def _is_staged(self, digest: Digest) -> bool:
        """Whether it is staged and still what it was; if it is not, its tree is discarded.

        A tree that a service may run from stays: its files are never taken from under it.
        """
        if not await disk_hop(self._store.is_staged, digest):
            return False
        try:
            await disk_hop(self._store.verify, digest)
        except IntegrityError as error:
            if digest in await disk_hop(self._store.current_digests):
                return True  # the next start of it asks for restage
            _log.error("staged tree differs", digest=digest, error=str(error))
            await self._torrents.drop(digest)
            await disk_hop(self._store.discard, digest)
            return False
        return True

    # -- fetching --------------------------------------------------------------------------

    async def _fetch(self, service: ServiceName, digest: Digest, manifest: Manifest) -> Staged:
        index = await self._parts.chunk_index(digest, manifest)
        root = self._store.root(digest)
        await self._torrents.drop(digest)  # of an earlier try; what it fetched is found on the disk
        await disk_hop(stage.prepare, root, manifest)
        here = await disk_hop(self._store.local_pieces, service, digest, manifest, index)
        torrent = await self._torrents.add(digest, manifest, here.have, here.gaps)
        self.reused.add(here)
        log = _log.bind(service=service, digest=digest)
        log.info(
            "fetching",
            pieces=len(here.have),
            pieces_here=sum(here.have),
            pieces_in_part=len(here.gaps),
            kept_bytes=here.kept_bytes,
            reused_bytes=here.reused_bytes,
            shared_bytes=here.shared_bytes,
        )
        async with AsyncExitStack() as unfinished:
            unfinished.push_async_callback(self._abandon, digest)
            report = await self._fetch_pieces(torrent, digest, manifest, here.reused_bytes)
            await disk_hop(stage.finish, root, manifest)
            unfinished.pop_all()
        log.info(
            "staged",
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

    async def _fetch_pieces(
        self, torrent: Torrent, digest: Digest, manifest: Manifest, reused_bytes: int
    ) -> FetchReport:
        return await fetch_release(
            torrent,
            self._control,
            key=ReleaseKey(cell=self._cell, manifest_digest=digest, host=self._host),
            neighbours=self._mesh.neighbours,
            locate=self._mesh.locate,
            verify_piece=PieceCheck(manifest).is_right,
            jitter=self._rng,
            reused_bytes=reused_bytes,
        )

    async def _abandon(self, digest: Digest) -> None:
        """Fetch no more of what failed or was superseded, even when cancelled: removal is short."""
        with trio.CancelScope(shield=True):
            await self._torrents.drop(digest)
