"""Routes of operators' certificates: for admins, but for the one that renews the caller's own."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from p2pdeploy.messages.operators import (
    IssuedOperator,
    IssueRequest,
    OperatorView,
    RenewalRequest,
    RevocationRequest,
)
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.authorise import peer_in
from p2ptracker.api.routes import get, post
from p2ptracker.operators.desk import OperatorDesk

__all__ = ["operator_handlers"]

_BODY_BYTES_MAX = 16 * 1024  # a signing request of 300 bytes and sixteen roles


def operator_handlers(desk: OperatorDesk) -> list[ControllerRouterHandler]:
    """The routes, over *desk*."""

    @get("/operators", "admin")
    async def list_operators() -> list[OperatorView]:
        """Every certificate of an operator on record, the newest first."""
        return await desk.known()

    @post("/operators", "admin", body_bytes_max=_BODY_BYTES_MAX)
    async def issue_operator_certificate(
        request: Request[Any, Any, Any], data: JSONBody[IssueRequest]
    ) -> IssuedOperator:
        """Give somebody a certificate; the roles are the admin's word."""
        return await desk.issue(data, _caller(request))

    @post("/operators/renewal", "operator", body_bytes_max=_BODY_BYTES_MAX)
    async def renew_operator_certificate(
        request: Request[Any, Any, Any], data: JSONBody[RenewalRequest]
    ) -> IssuedOperator:
        """Another certificate for the caller: its name and roles, another key."""
        return await desk.renew(data, _caller(request))

    @post("/operators/revocation", "admin")
    async def revoke_operator(
        request: Request[Any, Any, Any], data: JSONBody[RevocationRequest]
    ) -> list[OperatorView]:
        """Take certificates back; in force on return.  What was taken back is listed."""
        return await desk.revoke(data, _caller(request))

    return [
        list_operators,
        issue_operator_certificate,
        renew_operator_certificate,
        revoke_operator,
    ]


def _caller(request: Request[Any, Any, Any]) -> Peer:
    peer = peer_in(request.scope)
    assert peer is not None, "the permission demands a certificate"
    return peer
