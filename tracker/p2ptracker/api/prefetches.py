"""Routes of prefetches: ask for one, see how far it is, end it."""

from __future__ import annotations

from typing import Annotated

from litestar import Router
from litestar.params import FromPath, JSONBody, QueryParameter

from p2pdeploy.ids import check_service
from p2pdeploy.messages.prefetch import PrefetchRequest, PrefetchView
from p2ptracker.api.routes import get, post
from p2ptracker.prefetching.desk import PrefetchDesk

__all__ = ["prefetch_routes"]


def prefetch_routes(desk: PrefetchDesk) -> Router:
    """The routes, over *desk*."""

    @post("/", "rollout")
    async def begin_prefetch(data: JSONBody[PrefetchRequest]) -> PrefetchView:
        """Bring a release to hosts ahead of a rollout; nothing is activated."""
        return await desk.begin(data)

    @get("/", "view")
    async def get_prefetches(
        service: Annotated[str, QueryParameter(max_length=63)] = "",
    ) -> list[PrefetchView]:
        """List what is prefetched."""
        return list(desk.list(service))

    @get("/{service:str}/{version:str}", "view")
    async def get_prefetch(service: FromPath[str], version: FromPath[str]) -> PrefetchView:
        """Show how far each host is with one build."""
        return desk.get(check_service(service), version)

    @post("/{service:str}/{version:str}/cancel", "rollout")
    async def cancel_prefetch(service: FromPath[str], version: FromPath[str]) -> PrefetchView:
        """Let hosts collect a build that no rollout asks for."""
        return await desk.cancel(check_service(service), version)

    return Router(
        "/prefetches",
        route_handlers=[begin_prefetch, get_prefetches, get_prefetch, cancel_prefetch],
    )
