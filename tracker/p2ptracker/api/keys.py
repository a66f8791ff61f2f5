"""Routes of the fleet's signing keys: for admins."""

from __future__ import annotations

from functools import partial

import trio
from litestar import Router
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.messages.keys import (
    ROTATION_BYTES_MAX,
    KeyView,
    RenewalRequest,
    RotationAnswer,
    RotationRequest,
)
from p2ptracker.api.routes import get, post
from p2ptracker.authority.folder import OFFLINE_ROLES, RELEASE_ROLES
from p2ptracker.control_plane import ControlPlane
from p2ptracker.keys.status import key_views

__all__ = ["key_routes"]


def key_routes(plane: ControlPlane) -> ControllerRouterHandler:
    """The routes, over *plane*."""
    readers = trio.CapacityLimiter(1)

    @get("/", "admin")
    async def get_keys() -> list[KeyView]:
        """How every key stands."""
        folder = plane.trust.paths.trust.parent
        unsigned = await plane.keys.unsigned_rollouts("rollout")
        work = partial(key_views, folder, plane.repository.repository, plane.keys, unsigned)
        return await trio.to_thread.run_sync(work, limiter=readers)

    @post("/{role:str}/rotation", "admin", body_bytes_max=ROTATION_BYTES_MAX)
    async def rotate_key(role: FromPath[str], data: JSONBody[RotationRequest]) -> RotationAnswer:
        """Begin or finish the rotation of a role's keys (p2pdeploy/messages/keys.py)."""
        if role in RELEASE_ROLES:
            return await plane.release_roles.rotate(role, data)
        return await plane.keys.rotate(role, data)

    @post("/renewal/{service:str}", "publish", body_bytes_max=ROTATION_BYTES_MAX)
    async def renew_service_document(
        service: FromPath[str], data: JSONBody[RenewalRequest]
    ) -> RotationAnswer:
        """Sign what is live of a service again, before it expires."""
        if service in OFFLINE_ROLES:
            raise RefusedError("that is a role, not a service", code="not-a-service")
        return await plane.release_roles.renew(service, data.signed)

    @post("/{role:str}/renewal", "admin", body_bytes_max=ROTATION_BYTES_MAX)
    async def renew_role_document(
        role: FromPath[str], data: JSONBody[RenewalRequest]
    ) -> RotationAnswer:
        """Sign the root or the targets document again, before it expires."""
        if role not in OFFLINE_ROLES:
            raise NotFoundError(f"{role[:20]!r} is not signed by people", code="no-role")
        return await plane.release_roles.renew(role, data.signed)

    handlers = [get_keys, rotate_key, renew_service_document, renew_role_document]
    return Router("/keys", route_handlers=handlers)
