"""Routes of the registry: publish, releases, manifests and what they consist of, egress."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, TypeVar

import trio
from litestar import Request, Router
from litestar.params import FromPath, MsgPackBody, QueryParameter
from litestar.types import ControllerRouterHandler

from p2pdeploy.errors import NotFoundError
from p2pdeploy.ids import Digest, ServiceName, Version, check_digest
from p2pdeploy.messages.api import PublishBegun, ReleaseView
from p2pdeploy.messages.upload import PUBLISH_BYTES_MAX, CommitRequest, PublishRequest
from p2ptracker.api.authorise import peer_in
from p2ptracker.api.routes import get, post
from p2ptracker.api.signing import bundle_handlers, delegation_handler, signing_handlers
from p2ptracker.control_plane import ControlPlane
from p2ptracker.origin import DealtRelease
from p2ptracker.releases.delegating import require_publishers
from p2ptracker.storage.interfaces import ObjectKind
from p2ptracker.storage.releases import (
    RELEASES_PER_PAGE_MAX,
    find_release,
    list_releases,
    manifest_row,
)

__all__ = ["release_routes"]

T = TypeVar("T")

READERS_MAX = 4
_OCTETS = "application/octet-stream"
_Limit = Annotated[int, QueryParameter(ge=1, le=RELEASES_PER_PAGE_MAX)]
_After = Annotated[str, QueryParameter(max_length=128)]


def release_routes(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes, over *plane*."""
    releases = [*_publish_handlers(plane), *signing_handlers(plane), *_release_handlers(plane)]
    return [
        Router("/releases", route_handlers=releases),
        Router("/bundles", route_handlers=bundle_handlers(plane)),
        Router("/manifests", route_handlers=_manifest_handlers(plane)),
        delegation_handler(plane),
    ]


def _publish_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    # msgpack costs a few bytes over the manifest; the sum below is what one publish may hold.
    @post("/{service:str}/{version:str}", "publish", body_bytes_max=PUBLISH_BYTES_MAX)
    async def begin_publish(
        request: Request[Any, Any, Any],
        service: FromPath[str],
        version: FromPath[str],
        data: MsgPackBody[PublishRequest],
    ) -> PublishBegun:
        """Say what the registry lacks of a release (p2pdeploy/messages/upload.py)."""
        require_publishers(plane.repository, ServiceName(service))
        peer = peer_in(request.scope)
        assert peer is not None, "nobody publishes without a certificate"
        return await plane.publisher.begin(ServiceName(service), Version(version), data, peer)

    @post("/{service:str}/{version:str}/commit", "publish")
    async def commit_publish(
        service: FromPath[str], version: FromPath[str], data: MsgPackBody[CommitRequest]
    ) -> ReleaseView:
        """Verify an uploaded release and make it visible; it is pending until it is signed."""
        return plane.releases.shown(
            await plane.publisher.commit(
                ServiceName(service), Version(version), data.manifest_digest
            )
        )

    return [begin_publish, commit_publish]


def _release_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    async def find(service: str, version: str) -> ReleaseView:
        work = partial(find_release, service=ServiceName(service), version=Version(version))
        return plane.releases.shown(_found(await plane.database.read(work), service, version))

    @get("/{service:str}", "view")
    async def get_releases(
        service: FromPath[str], limit: _Limit = 100, after: _After = ""
    ) -> list[ReleaseView]:
        """List the releases of a service, newest first."""
        name = ServiceName(service)
        found = await plane.database.read(
            lambda connection: list_releases(connection, name, limit=limit, after=after)
        )
        return [plane.releases.shown(release) for release in found]

    @get("/{service:str}/{version:str}", "view")
    async def get_release(service: FromPath[str], version: FromPath[str]) -> ReleaseView:
        """Show one release."""
        return await find(service, version)

    @get("/{service:str}/{version:str}/egress", "view")
    async def get_egress(service: FromPath[str], version: FromPath[str]) -> DealtRelease:
        """Show how many bytes the origin has sent for a release since it started."""
        release = await find(service, version)
        return await plane.origin.dealt(release.manifest_digest)

    return [get_releases, get_release, get_egress]


def _found(found: T | None, service: str, version: str) -> T:
    if found is None:
        raise NotFoundError(
            f"{service} has no release {version}",
            hint=f"'p2pctl release list {service}' shows what there is",
            code="no-release",
        )
    return found


def _manifest_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    readers = trio.CapacityLimiter(READERS_MAX)

    async def read(kind: ObjectKind, text: str) -> bytes:
        digest: Digest = check_digest(text)
        await plane.database.read(lambda connection: manifest_row(connection, digest))
        return await trio.to_thread.run_sync(plane.store.get_object, kind, digest, limiter=readers)

    @get("/{digest:str}", "member", media_type=_OCTETS)
    async def get_manifest(digest: FromPath[str]) -> bytes:
        """The manifest's canonical bytes."""
        return await read("manifest", digest)

    @get("/{digest:str}/chunks", "member", media_type=_OCTETS)
    async def get_chunk_index(digest: FromPath[str]) -> bytes:
        """The chunk index of a manifest."""
        return await read("chunks", digest)

    @get("/{digest:str}/torrent", "member", media_type="application/x-bittorrent")
    async def get_torrent(digest: FromPath[str]) -> bytes:
        """The .torrent file of a manifest."""
        return await read("torrent", digest)

    return [get_manifest, get_chunk_index, get_torrent]
