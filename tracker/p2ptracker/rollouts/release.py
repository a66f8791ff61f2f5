"""The release that a rollout brings, read from the registry."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pdeploy.errors import IntegrityError, NotFoundError, RefusedError
from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Manifest
from p2pdeploy.messages.api import ReleaseView, RolloutRequest
from p2pdeploy.messages.orders import Build
from p2pdeploy.payload.service_spec import ServiceSpec
from p2pdeploy.payload.service_toml import SERVICE_TOML, parse_service_toml
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import find_release

__all__ = ["read_release"]

_store_threads = trio.CapacityLimiter(2)  # a manifest may take a while, two at a time are enough


async def read_release(
    database: Database,
    store: BlobStore,
    request: RolloutRequest,
    is_signed: Callable[[ReleaseView], bool],
) -> tuple[Build, ServiceSpec]:
    """The release that the rollout brings, and its service.toml.

    Raises:
        NotFoundError: nobody published it.
        RefusedError: its publishers have not signed it, so every host would refuse it.
        IntegrityError: it has no service.toml, which publish does not let through.
    """
    service, version = request.service, request.version
    release = await database.read(lambda c: find_release(c, service, version))
    if release is None:
        raise NotFoundError(
            f"{service} {version} is not published",
            hint=f"p2pctl publish {service} {version} PATH",
            code="no-release",
        )
    if not is_signed(release):
        raise RefusedError(
            f"{service} {version} lacks signatures of its publishers, and every host refuses it",
            where=f"{service}/{version}",
            hint=f"p2pctl release sign {service} {version}",
            code="release-unsigned",
        )
    digest = release.manifest_digest
    spec = await trio.to_thread.run_sync(_service_spec, store, digest, limiter=_store_threads)
    return Build(version=version, digest=digest), spec


def _service_spec(store: BlobStore, digest: Digest) -> ServiceSpec:
    manifest = Manifest.from_bytes(store.get_object("manifest", digest))
    for entry in manifest.entries:
        if entry.path == SERVICE_TOML and entry.blob_index >= 0:
            blob = manifest.blobs[entry.blob_index]
            data = store.read(blob.digest, entry.offset_bytes, entry.size_bytes)
            return parse_service_toml(data, SERVICE_TOML)
    raise IntegrityError(f"release {digest} has no {SERVICE_TOML}")
