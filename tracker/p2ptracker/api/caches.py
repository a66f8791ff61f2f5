"""Routes about the releases on hosts' disks: what lies there, and deleting what nobody needs."""

from __future__ import annotations

from typing import Annotated

from litestar.params import JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from p2pdeploy.ids import HostName
from p2pdeploy.messages.cache import CACHE_HOSTS_MAX, CacheTarget, CacheView
from p2ptracker.api.routes import get, post
from p2ptracker.cells.caches import Caches

__all__ = ["cache_handlers"]

_NAME_CHARS_MAX = 63


def cache_handlers(caches: Caches) -> list[ControllerRouterHandler]:
    """The routes, over *caches*."""

    @get("/cache", "view")
    async def get_caches(
        hosts: Annotated[
            list[str] | None, QueryParameter(name="host", max_items=CACHE_HOSTS_MAX)
        ] = None,
        environment: Annotated[str, QueryParameter(max_length=_NAME_CHARS_MAX)] = "",
        machine_function: Annotated[str, QueryParameter(max_length=_NAME_CHARS_MAX)] = "",
        after: Annotated[str, QueryParameter(max_length=_NAME_CHARS_MAX)] = "",
    ) -> list[CacheView]:
        """Which releases lie on hosts, by their daemons' word; the first 64 behind ``after``."""
        return await caches.show(
            CacheTarget(
                hosts=tuple(HostName(host) for host in hosts or ()),
                environment=environment,
                machine_function=machine_function,
                after=after,
            )
        )

    @post("/cache/prune", "rollout")
    async def prune_caches(data: JSONBody[CacheTarget]) -> list[CacheView]:
        """Have the first 64 hosts of a target delete the releases that nobody needs."""
        return await caches.prune(data)

    return [get_caches, prune_caches]
