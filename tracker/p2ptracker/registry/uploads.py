"""The releases on their way in: one open spool each, and room for a bounded number."""

from __future__ import annotations

import secrets
import shutil
import time
from functools import partial
from pathlib import Path

import trio

from p2pdeploy.errors import RefusedError, UnavailableError
from p2pdeploy.ids import Digest
from p2pdeploy.messages.upload import PublishRequest
from p2ptracker.registry.spool import Spool
from p2ptracker.threads import Threads

__all__ = ["Upload", "Uploads"]

UPLOADS_MAX = 64  # unfinished releases on disk; each is bounded by its own manifest
UPLOAD_LIFETIME_S = 7 * 24 * 3600.0  # nobody resumes a publish of last week


class Upload:
    """One release on its way in.  ``lock`` is held by a commit."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.key = secrets.token_urlsafe(18)
        self.lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Upload {self.spool!r}>"


class Uploads:
    """All open uploads, by the digest of their manifest.

    Args:
        folder: Where their spools are; on the store's filesystem.
        threads: Where disks are waited for.
    """

    def __init__(self, folder: Path, threads: Threads) -> None:
        self._folder = folder
        self._threads = threads
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

    async def begin(self, digest: Digest, request: PublishRequest) -> Upload:
        """The upload of *digest*, opened from *request* unless it is open already.

        Raises:
            UnavailableError: too many are unfinished.
        """
        async with self._changing:
            if digest not in self._open:
                await self._make_room(digest)
                await self._enter(digest, request)
            return self._open[digest]

    async def resume(self, digest: Digest) -> Upload:
        """The upload of *digest*, opened from what a kill left on disk unless it is open already.

        Raises:
            RefusedError: nobody began it, or it was dropped (``chunks-missing``: begin again).
        """
        async with self._changing:
            if digest not in self._open:
                await self._enter(digest, None)
            return self._open[digest]

    async def drop(self, upload: Upload) -> None:
        """Close and delete *upload*."""
        async with self._changing:
            await self._discard(upload)

    async def _enter(self, digest: Digest, request: PublishRequest | None) -> None:
        spool = await self._threads.run(_open_spool, self._folder, digest, request)
        self._open[digest] = Upload(spool)

    async def _discard(self, upload: Upload) -> None:
        """Close and delete *upload*; ``_changing`` is held."""
        del self._open[upload.spool.digest]
        await self._threads.run(_remove_spool, upload.spool)

    async def _make_room(self, digest: Digest) -> None:
        """Drop uploads that nobody came back for, and refuse *digest* when it is one too many."""
        place = self._folder / digest
        others, stale = await self._threads.run(_look_round, place, time.time())
        for folder in stale:
            upload = self._open.get(Digest(folder.name))
            if upload is None:
                await self._threads.run(partial(shutil.rmtree, ignore_errors=True), folder)
            elif not upload.lock.locked():  # else a commit is reading it right now
                await self._discard(upload)
        if others - len(stale) >= UPLOADS_MAX:
            raise UnavailableError(
                f"{UPLOADS_MAX} uploads are unfinished",
                hint="finish or wait for one; unfinished ones are dropped after a week",
                code="too-many-uploads",
            )


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


def _remove_spool(spool: Spool) -> None:
    spool.close()
    spool.remove()
