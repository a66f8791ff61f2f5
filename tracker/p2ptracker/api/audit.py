"""Routes about trust in the API itself: who may call what, who called what, and the health page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.audit import AuditEntry
from p2ptracker.api.routes import get
from p2ptracker.audit.log import AuditLog

__all__ = ["ENTRIES_PER_PAGE_MAX", "audit_handlers", "health_handler"]

ENTRIES_PER_PAGE_MAX = 1_000  # some 400 KiB; an export asks for page after page


def audit_handlers(
    audit: AuditLog, routes: Callable[[], Sequence[AccessRow]]
) -> list[ControllerRouterHandler]:
    """The routes under ``/v1``; *routes* is asked once the application stands."""

    @get("/auth/matrix", "view")
    async def get_matrix() -> list[AccessRow]:
        """List every route with the permission it demands and the roles that grant it."""
        return list(routes())

    @get("/audit", "admin")
    async def get_audit(
        after: Annotated[int, QueryParameter(ge=0, le=2**63 - 1)] = 0,
        limit: Annotated[int, QueryParameter(ge=1, le=ENTRIES_PER_PAGE_MAX)] = 100,
    ) -> list[AuditEntry]:
        """List what people had the control plane do, oldest first, behind entry ``after``."""
        return list(await audit.entries(after=after, limit=limit))

    return [get_matrix, get_audit]


def health_handler() -> ControllerRouterHandler:
    """``GET /healthz``: the one page for everybody, which says nothing else."""

    @get("/healthz", "open", media_type="text/plain")
    async def get_health() -> str:
        """Say that the control plane answers."""
        return "ok"

    return get_health
