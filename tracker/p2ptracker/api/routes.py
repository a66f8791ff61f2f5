"""How a route says who may call it, and the routes there are."""

from __future__ import annotations

from collections.abc import Iterator

import litestar
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import Empty, EmptyType

from p2pdeploy.messages.access import AccessRow, Permission
from p2ptracker.api.authorise import PERMISSIONS, roles_with
from p2ptracker.api.failures import REFUSALS

__all__ = ["check_declared", "get", "permission_of", "post", "routes_of"]

_MADE_BY_THE_FRAMEWORK = {"OPTIONS"}


def get(path: str, permission: Permission, *, media_type: str | None = None) -> litestar.get:
    """Decorate what answers GET of *path* to callers with *permission*; JSON by default."""
    return litestar.get(
        path, opt={"permission": permission}, media_type=media_type, responses=REFUSALS
    )


def post(
    path: str,
    permission: Permission,
    *,
    media_type: str | None = None,
    body_bytes_max: int | EmptyType = Empty,
) -> litestar.post:
    """Decorate what answers POST to *path*, as :func:`get`; the application bounds other bodies."""
    return litestar.post(
        path,
        opt={"permission": permission},
        media_type=media_type,
        request_max_body_size=body_bytes_max,
        status_code=200,
        responses=REFUSALS,
    )


def permission_of(handler: BaseRouteHandler) -> Permission | None:
    """What *handler* demands; None when it declares nothing we know, so nobody may call it."""
    declared = handler.opt.get("permission")
    return declared if declared in PERMISSIONS else None


def routes_of(application: Litestar) -> list[AccessRow]:
    """Every route, by path and method."""
    rows = [
        AccessRow(
            method=method,
            path=route.path_format,
            permission=permission,
            roles=roles_with(permission),
        )
        for route, handler in _handlers(application)
        for method in handler.http_methods
        if (permission := permission_of(handler)) is not None
    ]
    return sorted(rows, key=lambda row: (row.path, row.method))


def check_declared(application: Litestar) -> None:
    """Refuse to serve an *application* with a route that does not say who may call it."""
    for route, handler in _handlers(application):
        assert permission_of(handler), f"{route.path} declares no permission"


def _handlers(application: Litestar) -> Iterator[tuple[HTTPRoute, HTTPRouteHandler]]:
    for route in application.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is not HTTP; nothing guards it"
        for handler in route.route_handlers:
            if handler.http_methods != _MADE_BY_THE_FRAMEWORK:
                yield route, handler
