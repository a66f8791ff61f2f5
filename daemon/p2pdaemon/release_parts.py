"""What describes a release: its manifest, signed by its publishers, and its chunk index.

Each comes from this disk when it is there, else from the control plane, and is kept then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import trio

from p2pdaemon.control import ControlPlane
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import IntegrityError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.check import check_chunk_index, check_manifest
from p2pdeploy.trust.releases.release_target import ReleaseTarget

__all__ = ["Judge", "ReleaseParts", "disk_hop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Hashing and copying of one release at a time: two would only fight for the disk, and the daemon
# must stay below 150 MiB while it fetches.
_disk = trio.CapacityLimiter(1)


class Judge(Protocol):
    """Knows what publishers signed: :class:`~p2pdaemon.verify_release.ReleaseJudge`."""

    async def verify(self, service: ServiceName, build: Build) -> ReleaseTarget: ...


class ReleaseParts:
    """Brings descriptions of releases onto the disk.

    Args:
        store: Where they lie.
        control: Where they come from.
        judge: Knows what publishers signed.
    """

    def __init__(self, store: ReleaseStore, control: ControlPlane, judge: Judge) -> None:
        self._store = store
        self._control = control
        self._judge = judge

    async def manifest(self, service: ServiceName, build: Build) -> Manifest:
        """The manifest of *build*.  It lies on the disk only after its publishers were found to
        have signed it, so what was fetched once is staged, seeded and gone back to without the
        control plane.
        """
        digest = build.digest
        manifest = await disk_hop(self._store.read_manifest, digest)
        if manifest is None:
            signed = await self._judge.verify(service, build)
            data = await self._control.fetch_manifest(digest)
            manifest = await disk_hop(_judged_manifest, data, signed)
            await disk_hop(self._store.write_manifest, digest, data)
        if manifest.service != service:
            raise IntegrityError(f"is a release of {manifest.service!r}", where=digest)
        return manifest

    async def chunk_index(self, digest: Digest, manifest: Manifest) -> ChunkIndex:
        """The chunk index of *manifest*.  Only one that fits it lies on the disk."""
        index = await disk_hop(self._store.read_chunk_index, digest, manifest)
        if index is None:
            data = await self._control.fetch_chunk_index(digest, manifest.chunk_index)
            index = await disk_hop(check_chunk_index, manifest, data)
            await disk_hop(self._store.write_chunk_index, digest, manifest, data)
        return index


async def disk_hop(work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Run *work* in a thread, alone among all that stage a release."""
    return await trio.to_thread.run_sync(work, *args, limiter=_disk)


def _judged_manifest(data: bytes, signed: ReleaseTarget) -> Manifest:
    """The manifest in *data*, which must be the one that was signed.  Blocking.

    Its BLAKE3 digest was compared when it was fetched.
    """
    where = signed.manifest_digest
    if len(data) != signed.manifest_bytes:
        raise IntegrityError(f"{len(data)} bytes, {signed.manifest_bytes} were signed", where=where)
    if hashlib.sha256(data).hexdigest() != signed.manifest_sha256:
        raise IntegrityError("another SHA-256 was signed", where=where)
    manifest = Manifest.from_bytes(data)
    check_manifest(manifest)
    if manifest.size_bytes != signed.size_bytes:
        raise IntegrityError("another size was signed", where=where)
    return manifest
