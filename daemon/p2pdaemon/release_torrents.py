"""The releases that this host fetches or seeds, each as a torrent in its one session."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdaemon.release_parts import disk_hop
from p2pdaemon.store import ReleaseStore
from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Manifest
from p2pdeploy.messages.swarm import Members, SourceBytes
from p2pdeploy.payload import stage
from p2pdeploy.payload.delta import Gaps
from p2pdeploy.payload.torrent import piece_count, torrent_bytes
from p2pdeploy.swarm.session import Session
from p2pdeploy.swarm.torrent import Torrent

__all__ = ["ReleaseTorrents"]


class ReleaseTorrents:
    """One torrent per release at most.

    Args:
        store: Where the releases lie.
        session: Where the torrents are.
        members: Where each address of the cell is, for the figures.
    """

    def __init__(
        self, store: ReleaseStore, session: Session, members: Callable[[], Members]
    ) -> None:
        self._store = store
        self._session = session
        self._members = members
        self._torrents: dict[Digest, Torrent] = {}
        self._left = SourceBytes()  # of torrents that were dropped
        self._adding = trio.Lock()  # the session refuses one torrent twice

    def __len__(self) -> int:
        return len(self._torrents)

    def by_digest(self) -> dict[Digest, Torrent]:
        """All of them now."""
        return dict(self._torrents)

    def received(self) -> SourceBytes:
        """What was fetched since this daemon began, by source; only rises."""
        return sum(map(self._received, self._torrents.values()), self._left)

    async def add(
        self, digest: Digest, manifest: Manifest, have: list[bool], gaps: Gaps
    ) -> Torrent:
        """Begin to exchange pieces of a release that is in no torrent here.

        Args:
            digest: The release's.
            manifest: Its checked manifest; its folder was prepared.
            have: One truth value per piece: which are on the disk and verified.
            gaps: What is missing of pieces that are there in part.

        Raises:
            As ``Session.add``.
        """
        async with self._adding:
            return await self._add(digest, manifest, have, gaps)

    async def seed(self, digest: Digest, manifest: Manifest) -> None:
        """Offer a release that is staged whole; nothing happens when it is offered already.

        Raises:
            As ``Session.add``.
        """
        async with self._adding:
            if digest not in self._torrents:
                await self._add(digest, manifest, [True] * piece_count(manifest), {})

    async def drop(self, digest: Digest) -> None:
        """Leave the swarm of *digest*; what was fetched stays on the disk, and counts on."""
        torrent = self._torrents.pop(digest, None)
        if torrent is not None:
            self._left += self._received(torrent)
            await torrent.remove()

    def _received(self, torrent: Torrent) -> SourceBytes:
        progress = torrent.fetch_progress(self._members())
        return progress.received if progress is not None else SourceBytes()

    async def _add(
        self, digest: Digest, manifest: Manifest, have: list[bool], gaps: Gaps
    ) -> Torrent:
        root = self._store.root(digest)
        paths = {
            blob.path: stage.blob_path(root, manifest, number)
            for number, blob in enumerate(manifest.blobs)
        }
        data = await disk_hop(torrent_bytes, manifest, digest, self._session.authority_pem)
        torrent = self._torrents[digest] = await self._session.add(data, paths, have, gaps)
        return torrent
