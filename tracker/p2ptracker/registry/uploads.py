"""The releases on their way in: one open spool each, and room for a bounded number."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import trio

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import Digest
from p2pdeploy.messages.upload import PublishRequest
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.tls import Peer
from p2ptracker.registry.spool import Spool
from p2ptracker.registry.upload_shares import Lying, Owner, has_lapsed, who_gives_way
from p2ptracker.threads import Threads

__all__ = ["Upload", "Uploads"]

_OWNER = "owner"  # the file in a spool's folder that says who began it


class Upload:
    """One release on its way in.  ``lock`` is held by a commit."""

    def __init__(self, spool: Spool, owner: Owner | None) -> None:
        self.spool = spool
        self.owner = owner
        self.key = secrets.token_urlsafe(18)
        self.lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Upload {self.spool!r}>"


class Uploads:
    """All open uploads, by the digest of their manifest.

    Args:
        folder: Where their spools are; on the store's filesystem.
        threads: Where disks are waited for.
        is_revoked: Whether a certificate was taken back.
    """

    def __init__(self, folder: Path, threads: Threads, is_revoked: Callable[[Peer], bool]) -> None:
        self._folder = folder
        self._threads = threads
        self._is_revoked = is_revoked
        self._open: dict[Digest, Upload] = {}
        self._changing = trio.Lock()

    def __repr__(self) -> str:
        return f"<Uploads {len(self._open)}>"

    def spool_of(self, upload_key: str) -> Spool | None:
        """The upload that *upload_key* was given out for, if it is still open."""
        wanted = upload_key.encode()  # anything but ASCII is compared as bytes alone
        keys = ((upload.key.encode(), upload.spool) for upload in self._open.values())
        return next((spool for key, spool in keys if secrets.compare_digest(key, wanted)), None)

    def is_open(self, upload: Upload) -> bool:
        """Whether *upload* was neither finished nor dropped since it was opened."""
        return self._open.get(upload.spool.digest) is upload

    async def begin(self, digest: Digest, request: PublishRequest, owner: Owner) -> Upload:
        """The upload of *digest*, opened from *request* unless it is open already.

        It is *owner*'s, unless somebody else began it who still may go on.

        Raises:
            UnavailableError: too many are unfinished.
        """
        async with self._changing:
            upload = self._open.get(digest)
            if upload is None:
                index_bytes = len(request.manifest) + len(request.chunk_index)
                await self._make_room(digest, owner, index_bytes)
                return await self._enter(digest, request, owner)
            if upload.owner is None or self._is_revoked(upload.owner.peer()):
                await self._threads.run(_note_owner, upload.spool.folder, owner)
                upload.owner = owner
            return upload

    async def resume(self, digest: Digest) -> Upload:
        """The upload of *digest*, opened from what a kill left on disk unless it is open already.

        Raises:
            RefusedError: nobody began it, or it was dropped (``chunks-missing``: begin again).
        """
        async with self._changing:
            if digest not in self._open:
                await self._enter(digest, None, None)
            return self._open[digest]

    async def drop(self, upload: Upload) -> None:
        """Close and delete *upload*."""
        async with self._changing:
            await self._discard(upload)

    async def _enter(
        self, digest: Digest, request: PublishRequest | None, owner: Owner | None
    ) -> Upload:
        opened = await self._threads.run(_open_spool, self._folder, digest, request, owner)
        upload = self._open[digest] = Upload(*opened)
        return upload

    async def _discard(self, upload: Upload) -> None:
        """Close and delete *upload*; ``_changing`` is held."""
        del self._open[upload.spool.digest]
        await self._threads.run(_remove_spool, upload.spool)

    async def _make_room(self, digest: Digest, owner: Owner, index_bytes: int) -> None:
        """Drop what nobody comes back for, may go on with, or its owner left alone for *digest*."""
        place, now = self._folder / digest, time.time()
        others = [self._judged(each) for each in await self._threads.run(_look_round, place)]
        gone = [each for each in others if has_lapsed(each, now) or self._is_orphan(each)]
        gone = [each for each in gone if not each.is_busy]
        left = [each for each in others if each not in gone]
        for lying in [*gone, *who_gives_way(left, owner, index_bytes, now)]:
            upload = self._open.get(Digest(lying.folder.name))
            if upload is not None:
                await self._discard(upload)
            else:
                remove = partial(shutil.rmtree, ignore_errors=True)
                await self._threads.run(remove, lying.folder)

    def _judged(self, lying: Lying) -> Lying:
        """With what only this process knows: a commit may be reading it right now."""
        upload = self._open.get(Digest(lying.folder.name))
        is_busy = upload is not None and upload.lock.locked()
        return msgspec.structs.replace(lying, is_busy=is_busy)

    def _is_orphan(self, lying: Lying) -> bool:
        return lying.owner is not None and self._is_revoked(lying.owner.peer())


def _open_spool(
    folder: Path, digest: Digest, request: PublishRequest | None, owner: Owner | None
) -> tuple[Spool, Owner | None]:
    place = folder / digest
    if request is not None and owner is not None:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _note_owner(place, owner)
        return Spool(place, request.manifest, request.chunk_index), owner
    try:
        manifest, index = (place / "manifest").read_bytes(), (place / "chunks").read_bytes()
    except FileNotFoundError as error:
        raise RefusedError(
            "no upload of these bytes is under way", hint="begin first", code="chunks-missing"
        ) from error
    return Spool(place, manifest, index), _noted_owner(place)


def _note_owner(place: Path, owner: Owner) -> None:
    write_private(place / _OWNER, msgspec.json.encode(owner))


def _noted_owner(place: Path) -> Owner | None:
    """Who began it; None when a kill came before that was noted."""
    try:
        return msgspec.json.decode((place / _OWNER).read_bytes(), type=Owner)
    except FileNotFoundError:
        return None


def _look_round(place: Path) -> list[Lying]:
    """What lies beside *place*."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        Lying(
            folder=other,
            owner=_noted_owner(other),
            index_bytes=sum(_size_bytes(other / name) for name in ("manifest", "chunks")),
            heard_at=_last_word_at(other),
        )
        for other in place.parent.iterdir()
        if other != place
    ]


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_word_at(place: Path) -> float:
    """When a chunk last arrived or the upload was last begun: the folder's own time tells neither,
    because blobs and journal are written in place.
    """
    try:
        return (place / "journal").stat().st_mtime
    except FileNotFoundError:  # killed before there was one
        return place.stat().st_mtime


def _remove_spool(spool: Spool) -> None:
    spool.close()
    spool.remove()
