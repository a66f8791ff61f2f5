"""Routes about the fleet: hosts, the histogram of a service, where a version runs."""

from __future__ import annotations

import time
from typing import Annotated

import trio
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler

from p2pdeploy.ids import HostName, ServiceName, Version
from p2pdeploy.messages.api import HostView, VersionsView, WhereRow
from p2ptracker.api.routes import get
from p2ptracker.cells.fleet import host_views, versions_view, where_rows
from p2ptracker.control_plane import ControlPlane

__all__ = ["fleet_handlers"]

HOSTS_PER_PAGE_MAX = 10_000


def fleet_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes, over *plane*."""

    @get("/hosts", "view")
    async def get_hosts(
        filters: Annotated[list[str] | None, QueryParameter(name="filter", max_items=16)] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=HOSTS_PER_PAGE_MAX)] = 1_000,
        after: Annotated[str, QueryParameter(max_length=63)] = "",
    ) -> list[HostView]:
        """List hosts in name order; ``filter`` is KEY=GLOB or a glob on the name, repeatable."""
        return host_views(
            plane.cells.all(),
            filters=filters or (),
            limit=limit,
            after=after,
            now=trio.current_time(),
            wall_s=time.time(),
            revoked=_revoked(plane),
        )

    @get("/fleet/{service:str}/versions", "view")
    async def get_versions(service: FromPath[str]) -> VersionsView:
        """Count hosts by the version they run."""
        return versions_view(plane.cells.all(), ServiceName(service))

    @get("/fleet/{service:str}/where/{version:str}", "view")
    async def get_where(service: FromPath[str], version: FromPath[str]) -> list[WhereRow]:
        """List the hosts that run one version."""
        return where_rows(
            plane.cells.all(),
            ServiceName(service),
            Version(version),
            now=trio.current_time(),
            wall_s=time.time(),
            revoked=_revoked(plane),
        )

    return [get_hosts, get_versions, get_where]


def _revoked(plane: ControlPlane) -> frozenset[HostName]:
    enrolments = plane.standing.enrolments
    return frozenset(host for host in enrolments if enrolments[host].is_revoked)
