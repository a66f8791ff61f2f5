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
from contextlib import asynccontextmanager
from functools import partial

import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.disk import disk_failure
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.fetch_build import BuildFetcher
from p2pdaemon.isolate import isolated
from p2pdaemon.keep_indexes import IndexKeeper
from p2pdaemon.log import get_logger
from p2pdaemon.mesh import CellMesh
from p2pdaemon.release_parts import Judge, ReleaseParts, disk_hop
from p2pdaemon.release_torrents import ReleaseTorrents
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Staged
from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.messages.orders import Build
from p2pdeploy.messages.swarm import SourceBytes
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["BuildStager"]

# Groups come and go with racks; and the hosts of a fetch that has ended here go on for so long.
KEEP_TRUNKS_S = 60.0

_log = get_logger("stage")


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
        room: On the disk, for what is fetched.
        pace: Of all its fetches; None: as fast as can be.
    """

    def __init__(
        self,
        config: DaemonConfig,
        store: ReleaseStore,
        control: ControlPlane,
        session: Session,
        mesh: CellMesh,
        rng: random.Random,
        judge: Judge,
        room: DiskRoom,
        pace: DealPace | None = None,
    ) -> None:
        self._store = store
        self._parts = ReleaseParts(store, control, judge)
        self._torrents = ReleaseTorrents(store, session, mesh)
        self._fetcher = BuildFetcher(config, store, control, self._torrents, mesh, rng, room, pace)
        self.reused = self._fetcher.reused
        self._users: Counter[Digest] = Counter()  # tasks that stage or begin to seed it
        self._deleting = trio.Lock()  # held while one release is deleted, or marked as used
        self._turns: defaultdict[Digest, trio.Lock] = defaultdict(trio.Lock)  # who writes a release
        self._indexes = IndexKeeper(store, self._parts, self._using, rng)
        self.keep_indexes = self._indexes.keep_indexes  # a task
        self.write_behind = self._fetcher.write_behind  # another

    def __repr__(self) -> str:
        return f"<BuildStager {len(self._torrents)} torrents, {len(self._users)} in use>"

    def in_use(self) -> frozenset[Digest]:
        """Builds that are being staged: their folders must stay."""
        return frozenset(self._users)

    def torrents(self) -> dict[Digest, Torrent]:
        """What is fetched and seeded, for the metrics."""
        return self._torrents.by_digest()

    def received(self) -> SourceBytes:
        """What was fetched since this daemon began, by source, for the metrics."""
        return self._torrents.received()

    async def stage(self, service: ServiceName, build: Build) -> Staged:
        """Stage *build* and go on seeding it.  Idempotent; cancelling keeps what was fetched.

        Raises:
            NoRoomError: the disk has too little room; nothing was begun.
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

    async def keep_trunks(self) -> None:
        """As membership changes, offer releases between groups as well; never returns."""
        while True:
            await trio.sleep(KEEP_TRUNKS_S)
            for digest in self._torrents.without_whole_trunk():
                await isolated(f"trunk {digest}", partial(self._keep_trunk, digest))

    async def _keep_trunk(self, digest: Digest) -> None:
        async with self._using(digest):
            manifest = await disk_hop(self._store.read_manifest, digest)
            if manifest is not None:
                await self._torrents.seed_trunk(digest, manifest)

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
        index = await self._index_beside_others(build.digest, manifest)
        staged = await self._fetcher.fetch(service, build.digest, manifest, index)
        if index is None:
            self._indexes.note_staged()
        return staged

    async def _index_beside_others(self, digest: Digest, manifest: Manifest) -> ChunkIndex | None:
        """The chunk index, with those of all others here; None when there are no others."""
        if not await disk_hop(self._store.has_older, digest):
            return None
        await self._indexes.fetch_lacking()
        return await self._parts.chunk_index(digest, manifest)

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
