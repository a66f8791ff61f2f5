"""The releases that this host fetches or seeds, each as a torrent in its one session.

Where the cell has groups, each has a second torrent over the same files: the trunk's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from p2pdaemon.mesh import CellMesh
from p2pdaemon.release_parts import disk_hop
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Manifest
from p2pdeploy.messages.swarm import SourceBytes
from p2pdeploy.payload import stage
from p2pdeploy.payload.delta import Gaps
from p2pdeploy.payload.torrent import piece_count, torrent_bytes
from p2pdeploy.payload.verified_pieces import VerifiedPieces
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.torrent import Torrent
from p2pdeploy.swarm.trunk import Trunk

__all__ = ["ReleaseTorrents"]


class ReleaseTorrents:
    """One torrent per release at most, and one trunk.

    Args:
        store: Where the releases lie.
        session: Where the torrents are.
        mesh: Whether there are groups, and where each address of the cell is.
    """

    def __init__(self, store: ReleaseStore, session: Session, mesh: CellMesh) -> None:
        self._store = store
        self._session = session
        self._mesh = mesh
        self._torrents: dict[Digest, Torrent] = {}
        self._trunks: dict[Digest, Torrent] = {}
        self._left = SourceBytes()  # of torrents that were dropped
        # The session refuses one torrent twice, and nothing may be added to what is dropped.
        self._changing = trio.Lock()

    def __len__(self) -> int:
        return len(self._torrents)

    def by_digest(self) -> dict[Digest, Torrent]:
        """All of them now, without trunks."""
        return dict(self._torrents)

    def received(self) -> SourceBytes:
        """What was fetched since this daemon began, by source; only rises."""
        return sum(
            map(self._received, (*self._torrents.values(), *self._trunks.values())), self._left
        )

    async def add(
        self, digest: Digest, manifest: Manifest, have: list[bool], gaps: Gaps
    ) -> Torrent:
        """Begin to exchange pieces of a release that is in no torrent here, in its group.

        Args:
            digest: The release's.
            manifest: Its checked manifest; its folder was prepared.
            have: One truth value per piece: which are on the disk and verified.
            gaps: What is missing of pieces that are there in part.

        Raises:
            As ``Session.add``.
        """
        async with self._changing:
            torrent = await self._add(digest, manifest, have, gaps)
            self._torrents[digest] = torrent
            return torrent

    async def open_trunk(self, digest: Digest, manifest: Manifest, gaps: Gaps) -> Trunk:
        """Begin to exchange pieces of a release that is fetched here between groups too.

        Args:
            digest: The release's; it was added.
            manifest: Its checked manifest.
            gaps: As it was added with; what was completed since is known.

        Raises:
            As ``Session.add``, and UnavailableError: it was dropped meanwhile.
        """
        async with self._changing:
            torrent = self._torrents.get(digest)
            if torrent is None:
                raise UnavailableError("the torrent was removed", code="torrent-removed")
            if digest not in self._trunks:
                have = torrent.have_list()
                left = {piece: ranges for piece, ranges in gaps.items() if not have[piece]}
                self._trunks[digest] = await self._add_trunk(digest, manifest, have, left)
            reader = VerifiedPieces(manifest, list(self._paths(digest, manifest).values()))
            return Trunk(torrent, self._trunks[digest], self._mesh, reader.read)

    async def seed(self, digest: Digest, manifest: Manifest) -> None:
        """Offer a release that is staged whole; nothing happens when it is offered already.

        Raises:
            As ``Session.add``.
        """
        async with self._changing:
            if digest not in self._torrents:
                await self._seed_both(digest, manifest)

    def without_whole_trunk(self) -> list[Digest]:
        """What is here whole, and between groups in part or not at all."""
        if not self._mesh.has_trunk():
            return []
        return [
            digest
            for digest, torrent in self._torrents.items()
            if torrent.complete
            and (digest not in self._trunks or not self._trunks[digest].complete)
        ]

    async def seed_trunk(self, digest: Digest, manifest: Manifest) -> None:
        """Offer the whole of a release between groups too: others may come to be carriers.

        Raises:
            As ``Session.add``.
        """
        async with self._changing:
            if digest in self.without_whole_trunk():
                await self._drop_trunk(digest)
                have = [True] * piece_count(manifest)
                self._trunks[digest] = await self._add_trunk(digest, manifest, have, {})

    async def drop(self, digest: Digest) -> None:
        """Leave the swarm of *digest*; what was fetched stays on the disk, and counts on."""
        async with self._changing:
            await self._drop_trunk(digest)
            torrent = self._torrents.pop(digest, None)
            if torrent is not None:
                self._left += self._received(torrent)
                await torrent.remove()

    def _received(self, torrent: Torrent) -> SourceBytes:
        return torrent.received(self._mesh.addresses())

    async def _seed_both(self, digest: Digest, manifest: Manifest) -> None:
        have = [True] * piece_count(manifest)
        torrent = await self._add(digest, manifest, have, {})
        try:
            if self._mesh.has_trunk():
                self._trunks[digest] = await self._add_trunk(digest, manifest, have, {})
        except BaseException:
            with trio.CancelScope(shield=True):
                await torrent.remove()
            raise
        self._torrents[digest] = torrent

    async def _drop_trunk(self, digest: Digest) -> None:
        trunk = self._trunks.pop(digest, None)
        if trunk is not None:
            self._left += self._received(trunk)
            await trunk.remove()

    def _paths(self, digest: Digest, manifest: Manifest) -> dict[str, Path]:
        root = self._store.root(digest)
        return {
            blob.path: stage.blob_path(root, manifest, number)
            for number, blob in enumerate(manifest.blobs)
        }

    async def _add(
        self, digest: Digest, manifest: Manifest, have: list[bool], gaps: Gaps
    ) -> Torrent:
        data = await disk_hop(torrent_bytes, manifest, digest, self._session.authority_pem)
        return await self._session.add(data, self._paths(digest, manifest), have, gaps)

    async def _add_trunk(
        self, digest: Digest, manifest: Manifest, have: list[bool], gaps: Gaps
    ) -> Torrent:
        make = partial(torrent_bytes, manifest, digest, self._session.authority_pem, trunk=True)
        paths = self._paths(digest, manifest)
        return await self._session.add(await disk_hop(make), paths, have, gaps, wants_all=False)
