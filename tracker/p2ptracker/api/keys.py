"""Routes of the fleet's signing keys: for admins."""

from __future__ import annotations

from functools import partial

import trio
from litestar import Router, get, post
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from p2pdeploy.messages.keys import (
    ROTATION_BYTES_MAX,
    KeyView,
    RotationAnswer,
    RotationRequest,
)
from p2ptracker.api.failures import REFUSALS
from p2ptracker.control_plane import ControlPlane
from p2ptracker.keys.status import key_views

__all__ = ["key_routes"]


def key_routes(plane: ControlPlane) -> ControllerRouterHandler:
    """The routes, over *plane*."""
    readers = trio.CapacityLimiter(1)

    @get("/", opt={"permission": "admin"}, responses=REFUSALS)
    async def get_keys() -> list[KeyView]:
        """How every key stands."""
        folder = plane.trust.paths.trust.parent
        work = partial(key_views, folder, plane.repository.repository, plane.keys)
        return await trio.to_thread.run_sync(work, limiter=readers)

    @post(
        "/{role:str}/rotation",
        opt={"permission": "admin"},
        request_max_body_size=ROTATION_BYTES_MAX,
        status_code=200,
        responses=REFUSALS,
    )
    async def rotate_key(role: FromPath[str], data: JSONBody[RotationRequest]) -> RotationAnswer:
        """Begin or finish the rotation of a role's keys (p2pdeploy/messages/keys.py)."""
        return await plane.keys.rotate(role, data)

    return Router("/keys", route_handlers=[get_keys, rotate_key])
