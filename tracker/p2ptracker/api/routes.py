"""The routes there are, each with the permission that it declares."""

from __future__ import annotations

from collections.abc import Iterator

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import HTTPRoute

from p2pdeploy.messages.access import AccessRow, Permission
from p2ptracker.api.authorise import PERMISSIONS, roles_with

__all__ = ["check_declared", "permission_of", "routes_of"]

_MADE_BY_THE_FRAMEWORK = {"OPTIONS"}


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
