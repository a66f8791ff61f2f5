"""All routes put together, and the server that runs them on trio."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

import trio
from hypercorn.trio import serve
from litestar import Litestar, Response, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

import p2pdeploy
from p2pdeploy.messages.access import AccessRow
from p2ptracker.api.audit import audit_handlers, health_handler
from p2ptracker.api.body_room import bound_bodies
from p2ptracker.api.caches import cache_handlers
from p2ptracker.api.cells import cell_handlers
from p2ptracker.api.enrolment import enrolment_handlers
from p2ptracker.api.failures import exception_handlers
from p2ptracker.api.fleet import fleet_handlers
from p2ptracker.api.guard import Guard, authorise_route
from p2ptracker.api.keys import key_routes
from p2ptracker.api.lab import lab_handlers
from p2ptracker.api.limits import limit_handlers
from p2ptracker.api.logs import log_handlers
from p2ptracker.api.operators import operator_handlers
from p2ptracker.api.prefetches import prefetch_routes
from p2ptracker.api.releases import release_routes
from p2ptracker.api.rollouts import RolloutDesk, rollout_handlers
from p2ptracker.api.routes import check_declared, get, routes_of
from p2ptracker.api.tls import TlsConfig
from p2ptracker.api.unread_body import Application, finish_bodies, let_go
from p2ptracker.audit.calls import audited
from p2ptracker.audit.log import AuditLog
from p2ptracker.cells.caches import Caches
from p2ptracker.control_plane import ControlPlane

__all__ = ["make_app", "serve_api"]

BODY_BYTES_MAX = 256 * 1024  # a rollout that names 1,000 hosts; routes that need more say so
BACKLOG = 256
_DOCUMENT_PATH = "/v1/openapi.json"
SHUTDOWN_S = 2.0


def make_app(plane: ControlPlane, audit: AuditLog, desk: RolloutDesk | None = None) -> Litestar:
    """The routes, each with its permission.  Rollouts are there when somebody answers for them."""
    routers: list[ControllerRouterHandler] = [
        *cache_handlers(Caches(plane.inventory, plane.daemons, plane.database)),
        *cell_handlers(plane),
        *enrolment_handlers(
            plane.enrolment, plane.revoker, plane.repository, plane.keys.waits.ask_every_s
        ),
        *fleet_handlers(plane),
        *lab_handlers(plane),
        key_routes(plane),
        *limit_handlers(plane),
        *log_handlers(plane),
        *operator_handlers(plane.operators),
        prefetch_routes(plane.prefetches),
        *release_routes(plane),
    ]
    if desk is not None:
        routers.append(Router("/rollouts", route_handlers=rollout_handlers(desk)))
    routers += audit_handlers(audit, lambda: _without_spellings(routes_of(application)))
    application = Litestar(
        [Router("/v1", route_handlers=routers), _metrics_handler(plane), health_handler()],
        guards=[authorise_route],
        openapi_config=OpenAPIConfig(
            title="p2ptracker",
            version=p2pdeploy.__version__,
            # A path of its own: below it Litestar answers unknown paths by a page of HTML.
            openapi_router=Router(
                _DOCUMENT_PATH,
                route_handlers=[],
                opt={"permission": "view"},
                include_in_schema=False,
            ),
            render_plugins=[JsonRenderPlugin(path="/")],
        ),
        exception_handlers=cast(Any, exception_handlers(plane.metrics.errors)),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )
    check_declared(application)
    return application


def _without_spellings(routes: Sequence[AccessRow]) -> list[AccessRow]:
    """*routes* without what the framework adds below the API's own document, guarded like it."""
    return [row for row in routes if not row.path.startswith(f"{_DOCUMENT_PATH}/")]


def _metrics_handler(plane: ControlPlane) -> ControllerRouterHandler:
    @get("/metrics", "view", media_type=CONTENT_TYPE_LATEST)
    async def get_metrics() -> Response[bytes]:
        """Figures in the Prometheus text format."""
        now = trio.current_time()
        for cell in plane.cells.all():
            plane.metrics.items.labels(cell=cell.cell).set(len(cell.state))
            plane.metrics.alive.labels(cell=cell.cell).set(len(cell.alive(now)))
            plane.metrics.refused_items.labels(cell=cell.cell).set(cell.refused_items)
        text = generate_latest(plane.metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return get_metrics


async def serve_api(
    plane: ControlPlane,
    desk: RolloutDesk | None = None,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the guarded API over TLS until cancelled; ``started`` hands back the port."""
    bound: list[str] = []
    audit = AuditLog(plane.database, plane.metrics.registry, time.time)
    routes = make_app(plane, audit, desk)
    guard = Guard(
        routes,
        finish_bodies(bound_bodies(cast(Application, routes))),
        fleet=plane.trust.fleet,
        own_host=lambda: bound[0],
        is_revoked=plane.standing.is_revoked,
        refusals=plane.metrics.refusals,
    )
    application = let_go(audited(guard, audit))
    files, metrics = plane.trust.paths.control_plane_files(), plane.metrics
    config = TlsConfig(files, metrics.api_turned_away, metrics.api_crashed)
    config.bind = [f"{plane.config.address}:{plane.config.api_port}"]
    config.backlog = BACKLOG
    config.graceful_timeout = config.shutdown_timeout = SHUTDOWN_S
    config.include_server_header = False
    config.accesslog = config.errorlog = None
    run: Callable[..., Awaitable[None]] = partial(
        serve, cast(Any, application), config, shutdown_trigger=trio.sleep_forever
    )
    async with trio.open_nursery() as nursery:
        binds = cast("list[str]", await nursery.start(run))
        bound.append(binds[0].removeprefix("https://"))
        task_status.started(int(bound[0].rpartition(":")[2]))
