"""Bring the bytes of one build onto this disk, once it is known what they are.

Room for all of it is held first (:mod:`p2pdaemon.disk_room`); then come what older releases here
already have, by chunks and by outlines, room on the disk itself for the rest, and the rest from
the swarm.
"""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from functools import partial

import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.control import ControlPlane
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.follow_outlines import OutlineReader
from p2pdaemon.log import get_logger
from p2pdaemon.mesh import CellMesh
from p2pdaemon.release_parts import disk_hop
from p2pdaemon.release_torrents import ReleaseTorrents
from p2pdaemon.store import ReleaseStore
from p2pdeploy.activation.events import Staged
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.payload import stage
from p2pdeploy.payload.allocate import allocate, free_unwritten, left_bytes
from p2pdeploy.payload.delta import DeltaResult
from p2pdeploy.payload.torrent import PieceCheck
from p2pdeploy.payload.write_behind import begin_writing
from p2pdeploy.swarm.dealer_client import ReleaseKey
from p2pdeploy.swarm.fetch import FetchReport, fetch_release
from p2pdeploy.swarm.pace import DealPace
from p2pdeploy.swarm.partly_here import PartlyHere
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["BuildFetcher", "Reused"]

_log = get_logger("stage")
WRITE_BEHIND_S = 2.0  # of a fetch's bytes are left to flush at its end, at most
_writing = trio.CapacityLimiter(1)
_giving_back = trio.CapacityLimiter(1)  # never behind another release's hashing: a daemon may end


class Reused:
    """Bytes that came out of other releases on this host since the daemon started."""

    def __init__(self) -> None:
        self.copied_bytes = 0
        self.shared_bytes = 0  # by reference: neither written nor taking room

    def add(self, here: DeltaResult) -> None:
        """Count one run."""
        self.copied_bytes += here.reused_bytes - here.shared_bytes
        self.shared_bytes += here.shared_bytes


class BuildFetcher:
    """Fetches builds; for each release at most one call at a time.

    Args:
        config: Names this host and its cell to the dealer.
        store: Where releases lie.
        control: Deals, and knows outlines.
        torrents: What is exchanged with others.
        mesh: With whom.
        rng: Spreads retries.
        room: On the disk.
        pace: Of all its fetches; None: as fast as can be.
    """

    def __init__(
        self,
        config: DaemonConfig,
        store: ReleaseStore,
        control: ControlPlane,
        torrents: ReleaseTorrents,
        mesh: CellMesh,
        rng: random.Random,
        room: DiskRoom,
        pace: DealPace | None = None,
    ) -> None:
        self._pace = pace
        self._cell = config.cell
        self._host = config.name
        self._store = store
        self._control = control
        self._outlines = OutlineReader(control)
        self._torrents = torrents
        self._mesh = mesh
        self._rng = rng
        self._room = room
        self._written_behind: dict[Digest, Manifest] = {}
        self._has_begun = trio.Event()  # until there is nothing to write behind
        self.reused = Reused()

    async def write_behind(self) -> None:
        """Keep the flush at the end of each fetch short; never returns."""
        while True:
            await self._has_begun.wait()
            await trio.sleep(WRITE_BEHIND_S)
            if not self._written_behind:
                self._has_begun = trio.Event()
            for digest, manifest in list(self._written_behind.items()):
                root = self._store.root(digest)
                with suppress(OSError):  # what fails here fails at the end too, and is told there
                    await trio.to_thread.run_sync(begin_writing, root, manifest, limiter=_writing)

    async def fetch(
        self, service: ServiceName, digest: Digest, manifest: Manifest, index: ChunkIndex | None
    ) -> Staged:
        """Fetch a release, finish its tree and go on seeding it.

        Whatever is raised, what was fetched stays on the disk and the rest of its room does not.

        Args:
            service: Whose older releases are looked at first.
            digest: The release's.
            manifest: Its judged manifest, on the disk like *index*.
            index: Its judged chunk index; None: there is no release to copy from.

        Raises:
            NoRoomError: the disk has too little room; nothing was begun.
            OSError, UnavailableError: disk or neighbours fail; try again later.
            IntegrityError: the origin's bytes are wrong.
        """
        await self._torrents.drop(digest)  # of an earlier try; what it fetched is found on the disk
        root = self._store.root(digest)
        with self._room.hold(digest, await disk_hop(left_bytes, root, manifest)):
            return await self._fetch_held(service, digest, manifest, index)

    async def _fetch_held(
        self, service: ServiceName, digest: Digest, manifest: Manifest, index: ChunkIndex | None
    ) -> Staged:
        root = self._store.root(digest)
        log = _log.bind(service=service, digest=digest)
        await disk_hop(stage.prepare, root, manifest)
        async with AsyncExitStack() as unfinished:
            unfinished.push_async_callback(self._abandon, digest, manifest)
            delta = await disk_hop(self._store.begin_delta, service, digest, manifest, index)
            await self._outlines.follow(delta, self._key(digest))
            here = await disk_hop(delta.result)
            is_taken = await disk_hop(allocate, root, manifest)
            left = await disk_hop(left_bytes, root, manifest)
            self._room.shrink(digest, left)
            torrent = await self._torrents.add(digest, manifest, here.have, here.gaps)
            self.reused.add(here)
            log.info(
                "fetching",
                pieces=len(here.have),
                pieces_here=sum(here.have),
                pieces_in_part=len(here.gaps),
                kept_bytes=here.kept_bytes,
                reused_bytes=here.reused_bytes,
                shared_bytes=here.shared_bytes,
            )
            with nullcontext() if is_taken else self._follow_written(digest, torrent, left):
                report = await self._fetch_pieces(torrent, digest, manifest, here)
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

    def _follow_written(
        self, digest: Digest, torrent: Torrent, left_bytes: int
    ) -> AbstractContextManager[None]:
        """Inside, the books know what of *left_bytes* is on the disk by now."""

        def left() -> int:
            progress = torrent.fetch_progress(self._mesh.addresses())
            written = progress.have_bytes - progress.received.local if progress else 0
            return left_bytes - written

        return self._room.following(digest, left)

    def _key(self, digest: Digest) -> ReleaseKey:
        return ReleaseKey(cell=self._cell, manifest_digest=digest, host=self._host)

    async def _fetch_pieces(
        self, torrent: Torrent, digest: Digest, manifest: Manifest, here: DeltaResult
    ) -> FetchReport:
        self._written_behind[digest] = manifest
        self._has_begun.set()
        try:
            return await fetch_release(
                torrent,
                self._control,
                key=self._key(digest),
                mesh=self._mesh,
                verify_piece=PieceCheck(manifest).is_right,
                members=self._mesh.addresses,
                jitter=self._rng,
                pace=self._pace,
                open_trunk=partial(self._torrents.open_trunk, digest, manifest, here.gaps),
                reused_bytes=here.reused_bytes,
                partly=PartlyHere(here.gaps, self._store.piece_reader(digest, manifest).read),
            )
        finally:
            del self._written_behind[digest]

    async def _abandon(self, digest: Digest, manifest: Manifest) -> None:
        """Fetch no more of what failed or was superseded, and give its room back.

        Even when cancelled: both are short.
        """
        with trio.CancelScope(shield=True):
            await self._torrents.drop(digest)
            root = self._store.root(digest)
            await trio.to_thread.run_sync(free_unwritten, root, manifest, limiter=_giving_back)
