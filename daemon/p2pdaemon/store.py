"""What lies on this host's disk: releases, and which of them each service runs.

::

    STATE_DIR/store/DIGEST/            one release: tree/ packs/ manifest chunks seal, marker staged
    STATE_DIR/services/SVC/current     -> ../../store/DIGEST/tree, replaced by an atomic rename
    STATE_DIR/services/SVC/previous    -> the same of what ran before
    STATE_DIR/services/SVC/state/      the service's own, survives upgrades and removal
    STATE_DIR/services/SVC/logs/       stdout and stderr, opened for the service

``tree`` and ``state`` belong to a service, which may run as a user of its own: the folders on the
way to them can be passed by all and listed by none, everything else is the daemon's alone.

Which releases may go is decided by :mod:`p2pdaemon.collector`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from p2pdaemon.journal import sync_folder
from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest, digest_of
from p2pdeploy.payload import stage
from p2pdeploy.payload.delta import Delta, Older
from p2pdeploy.payload.on_disk import PieceReader

__all__ = ["ReleaseStore"]

_LOG_FILE = "output.log"
_PASSAGE = 0o711


class ReleaseStore:
    """The folders below *state_dir*.  Blocking unless said otherwise; thread-safe per release."""

    def __init__(self, state_dir: Path) -> None:
        self._store = state_dir / "store"
        self._services = state_dir / "services"
        for folder in (self._store, self._services):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(_PASSAGE)

    # -- releases ----------------------------------------------------------------------------

    def root(self, digest: Digest) -> Path:
        """Where the release of this manifest digest lies or will lie.  Pure."""
        return self._store / digest

    def tree(self, digest: Digest) -> Path:
        """The final tree of a staged release.  Pure."""
        return self.root(digest) / "tree"

    def digests(self) -> list[Digest]:
        """Every release on disk, staged or begun, in digest order."""
        return sorted(Digest(path.name) for path in self._store.iterdir() if path.is_dir())

    def is_staged(self, digest: Digest) -> bool:
        """Whether the release is whole and was verified."""
        return stage.is_staged(self.root(digest))

    def has_older(self, digest: Digest) -> bool:
        """Whether another release than *digest* is staged."""
        return any(self.is_staged(other) for other in self.digests() if other != digest)

    def without_chunk_index(self) -> list[Digest]:
        """Every staged release that was staged without its chunk index, in digest order."""
        return [
            digest
            for digest in self.digests()
            if self.is_staged(digest) and not (self.root(digest) / "chunks").exists()
        ]

    def used_at(self, digest: Digest) -> float:
        """When the release was asked for last, in seconds since the epoch; never too late.

        Raises:
            FileNotFoundError: it was deleted.
        """
        root = self.root(digest)
        try:
            return (root / "manifest").stat().st_mtime
        except FileNotFoundError:
            return root.stat().st_mtime  # it was only just begun

    def staged_at(self, digest: Digest) -> float:
        """When the release was whole, in seconds since the epoch; 0: it is not."""
        return stage.staged_at(self.root(digest))

    def note_used(self, digest: Digest) -> None:
        """The release is asked for now; survives the daemon.  Does nothing if it is gone."""
        with suppress(FileNotFoundError):
            os.utime(self.root(digest) / "manifest")

    def verify(self, digest: Digest) -> None:
        """Return if the staged tree is the release's still; cheap while nothing changed.

        Raises:
            IntegrityError: it is not (``tree-differs``); it must not be run or linked.
            OSError: the disk fails.
        """
        manifest = self.read_manifest(digest)
        if manifest is None:
            raise IntegrityError("its manifest is gone", where=digest, code="tree-differs")
        stage.verify(self.root(digest), manifest)

    def discard(self, digest: Digest) -> None:
        """Delete the tree, so that the release is staged from scratch.  It must not run."""
        stage.discard(self.root(digest))

    def read_manifest(self, digest: Digest) -> Manifest | None:
        """The manifest on disk, its digest checked; None when there is none that fits."""
        data = _read(self.root(digest) / "manifest", digest)
        return Manifest.from_bytes(data) if data is not None else None

    def read_chunk_index(self, digest: Digest, manifest: Manifest) -> ChunkIndex | None:
        """The chunk index on disk, its digest checked; None when there is none that fits."""
        data = _read(self.root(digest) / "chunks", manifest.chunk_index)
        return ChunkIndex.from_bytes(data) if data is not None else None

    def write_manifest(self, digest: Digest, data: bytes) -> None:
        """Keep the manifest's bytes.  Raises IntegrityError when they are not *digest*'s."""
        self.root(digest).mkdir(mode=0o700, exist_ok=True)
        self.root(digest).chmod(_PASSAGE)
        _write(self.root(digest) / "manifest", data, digest)

    def write_chunk_index(self, digest: Digest, manifest: Manifest, data: bytes) -> None:
        """Keep the chunk index of *manifest*.  Raises IntegrityError when it is another one."""
        _write(self.root(digest) / "chunks", data, manifest.chunk_index)

    def begin_delta(
        self, service: ServiceName, digest: Digest, manifest: Manifest, index: ChunkIndex | None
    ) -> Delta:
        """Copy into a prepared release every chunk that others on this disk have.

        What *service* runs now is looked at first, then its other releases, then other services'.
        Without an *index* nothing is copied; what an interrupted fetch left is found all the same.

        Raises:
            OSError: the disk fails or is full.
        """
        delta = Delta(manifest, self.root(digest))
        if index is not None:
            delta.copy_chunks(index, self._olds(service))
        return delta

    def _olds(self, service: ServiceName) -> Iterator[Older]:
        """Staged releases, the likeliest to help first; one in memory at a time."""
        current = self.current(service)
        others: list[Digest] = []
        for digest in sorted(self.digests(), key=lambda digest: digest != current):
            manifest = self.read_manifest(digest) if self.is_staged(digest) else None
            if manifest is not None and manifest.service == service:
                yield from self._older(digest, manifest)
            elif manifest is not None:
                others.append(digest)
        for digest in others:
            manifest = self.read_manifest(digest)
            if manifest is not None:
                yield from self._older(digest, manifest)

    def _older(self, digest: Digest, manifest: Manifest) -> Iterator[Older]:
        """One release to copy from, unless its chunk index is gone."""
        index = self.read_chunk_index(digest, manifest)
        if index is not None:
            yield Older(manifest, index, self.root(digest))

    def piece_reader(self, digest: Digest, manifest: Manifest) -> PieceReader:
        """Reads what lies here of a release under way.  Pure; reading is not."""
        return PieceReader(manifest, self.root(digest))

    def remove(self, digest: Digest) -> None:
        """Delete the release, and the links ``previous`` that lead to it.  It must not run."""
        assert digest not in self.current_digests(), "the release runs"
        for folder in self._services.iterdir():
            if _target(folder / "previous") == digest:
                (folder / "previous").unlink()
        stage.remove(self.root(digest))

    # -- services ----------------------------------------------------------------------------

    def service_dir(self, service: ServiceName) -> Path:
        """The folder of one service, made if need be."""
        folder = self._services / service
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(_PASSAGE)
        return folder

    def log_path(self, service: ServiceName) -> Path:
        """Standard output and standard error of a service, in the order they were written."""
        return self._services / service / "logs" / _LOG_FILE

    def log_paths(self) -> list[Path]:
        """The log of every service that has one."""
        return sorted(self._services.glob(f"*/logs/{_LOG_FILE}"))

    def current(self, service: ServiceName) -> Digest | None:
        """The release that ``current`` points at."""
        return _target(self._services / service / "current")

    def switch(self, service: ServiceName, digest: Digest | None) -> None:
        """Point ``current`` at *digest* (None: at nothing), ``previous`` at what it was.

        Atomic and idempotent: a kill in between leaves the old link or the new one.

        Raises:
            IntegrityError: the tree differs from its manifest; the links are as they were.
        """
        if digest is not None:
            self.verify(digest)
        folder = self.service_dir(service)
        before = self.current(service)
        if before == digest:
            return
        if before is not None:
            self._link(folder / "previous", before)
        if digest is None:
            (folder / "current").unlink(missing_ok=True)
        else:
            self._link(folder / "current", digest)
        sync_folder(folder)

    def current_digests(self) -> frozenset[Digest]:
        """What the services of this host run."""
        found = (_target(folder / "current") for folder in self._services.iterdir())
        return frozenset(digest for digest in found if digest is not None)

    def _link(self, link: Path, digest: Digest) -> None:
        aside = link.with_name(f"{link.name}#new")
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.path.relpath(self.tree(digest), link.parent))
        aside.replace(link)


def _read(path: Path, digest: Digest) -> bytes | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if digest_of(data) == digest else None


def _write(path: Path, data: bytes, digest: Digest) -> None:
    if digest_of(data) != digest:
        raise IntegrityError("bytes do not have the digest they were asked by", where=path.name)
    aside = path.with_name(f"{path.name}#new")
    aside.write_bytes(data)
    aside.replace(path)


def _target(link: Path) -> Digest | None:
    try:
        return Digest(Path(os.readlink(link)).parent.name)
    except OSError:
        return None
