"""What describes a release: its manifest, vouched for by the registry, and its chunk index.

Each comes from this disk when it is there, else from the control plane, and is kept then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import trio

from p2pdaemon.control import ControlPlane
from p2pdaemon.store import ReleaseStore
from p2pdeploy.errors import IntegrityError, TrustError
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.messages.orders import Build
from p2pdeploy.messages.release import Release
from p2pdeploy.payload.check import check_manifest
from p2pdeploy.trust.envelope import Verifier, open_envelope

__all__ = ["ReleaseParts", "disk_hop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Hashing and copying of one release at a time: two would only fight for the disk, and the daemon
# must stay below 150 MiB while it fetches.
_disk = trio.CapacityLimiter(1)


class ReleaseParts:
    """Brings descriptions of releases onto the disk.

    Args:
        store: Where they lie.
        control: Where they come from.
        keys: Opens the registry's word on a release.
    """

    def __init__(self, store: ReleaseStore, control: ControlPlane, keys: Verifier) -> None:
        self._store = store
        self._control = control
        self._keys = keys

    async def manifest(self, service: ServiceName, build: Build) -> Manifest:
        """The manifest of *build*.  It lies on the disk only after its release was vouched for,
        so what was fetched once is staged, seeded and gone back to without the control plane.
        """
        digest = build.digest
        manifest = await disk_hop(self._store.read_manifest, digest)
        if manifest is None:
            release = await self._release(service, build)
            data = await self._control.fetch_manifest(digest)
            manifest = Manifest.from_bytes(data)
            await disk_hop(check_manifest, manifest)
            if manifest.size_bytes != release.size_bytes:
                raise IntegrityError("the release's envelope names another size", where=digest)
            await disk_hop(self._store.write_manifest, digest, data)
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

    async def chunk_index(self, digest: Digest, manifest: Manifest) -> ChunkIndex:
        index = await disk_hop(self._store.read_chunk_index, digest, manifest)
        if index is None:
            data = await self._control.fetch_chunk_index(digest, manifest.chunk_index)
            await disk_hop(self._store.write_chunk_index, digest, manifest, data)
            index = ChunkIndex.from_bytes(data)
        return index


async def disk_hop(work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Run *work* in a thread, alone among all that stage a release."""
    return await trio.to_thread.run_sync(work, *args, limiter=_disk)
