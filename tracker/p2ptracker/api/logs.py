"""The routes whose answer a host's daemon has: a service's log lines, and its own figures."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST

from p2pdeploy.host_client import ask_logs, ask_metrics
from p2pdeploy.ids import HostName, check_service
from p2pdeploy.messages.api import LogsView
from p2pdeploy.messages.host import LOG_LINES_MAX, LogsRequest
from p2ptracker.api.routes import get
from p2ptracker.control_plane import ControlPlane

__all__ = ["log_handlers"]


def log_handlers(plane: ControlPlane) -> list[ControllerRouterHandler]:
    """The routes, over *plane*."""

    @get("/hosts/{host:str}/services/{service:str}/logs", "view")
    async def get_logs(
        host: FromPath[str],
        service: FromPath[str],
        lines: Annotated[int, QueryParameter(ge=1, le=LOG_LINES_MAX)] = 100,
    ) -> LogsView:
        """The last lines of what a service wrote on one host."""
        name = check_service(service)
        logs = await ask_logs(
            plane.daemons.address_of(host), LogsRequest(service=name, lines_max=lines)
        )
        return LogsView(host=HostName(host), service=name, lines=logs.lines)

    @get("/hosts/{host:str}/metrics", "view", media_type=CONTENT_TYPE_LATEST)
    async def get_host_metrics(host: FromPath[str]) -> Response[str]:
        """What one host's daemon counts, in the Prometheus text format."""
        metrics = await ask_metrics(plane.daemons.address_of(host))
        return Response(metrics.text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [get_logs, get_host_metrics]
