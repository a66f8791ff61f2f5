"""What every request must pass before any route sees it.

* ``Host`` is the API's own address: a web page whose name was pointed here (DNS rebinding) fails.
* No ``Origin``: no browser has any business here, so no cross-site request can succeed.
* The certificate of the connection speaks for somebody of this fleet, still holds and is not
  revoked.  Without one there are only the routes that say so (``open``, ``enrol``, ``renew``).

Then the route's own permission is judged (:mod:`p2ptracker.api.authorise`), and the call goes on
record.  An open API on loopback would be code execution for any local user and any web page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers.base import BaseRouteHandler
from prometheus_client import Counter

from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.authorise import OPEN_TO_ALL, ForbiddenError, require
from p2ptracker.api.failures import error_body, error_bytes
from p2ptracker.api.routes import permission_of, routes_of
from p2ptracker.api.unread_body import Application, Receive, Scope, Send
from p2ptracker.audit.calls import AuditedCall

__all__ = ["Guard", "authorise_route"]


async def authorise_route(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """The guard of every route: judge the caller, then have the call put on record.

    Raises:
        TrustError, ForbiddenError: the caller may not.
        UnavailableError: the call cannot be recorded.
    """
    permission = permission_of(handler)
    if permission is None:  # the framework answers OPTIONS for every path; we serve no browsers
        raise MethodNotAllowedException
    state: dict[str, Any] = connection.scope["state"]
    require(state.get("peer"), permission, connection.path_params)
    call: AuditedCall = state["audit"]
    await call.begin(permission, str(connection.scope["path_template"]))


class Guard:
    """Lets through what may reach the application.

    Args:
        application: The routes.
        inner: What their requests go to: *application*, or what wraps it.
        fleet: Our trust domain.
        own_host: The only accepted Host header, ``address:port``; known once the port is bound.
        is_revoked: Whether a certificate was taken back.
        refusals: Counts by code.
    """

    def __init__(
        self,
        application: Litestar,
        inner: Application,
        *,
        fleet: str,
        own_host: Callable[[], str],
        is_revoked: Callable[[Peer], bool],
        refusals: Counter,
    ) -> None:
        self._inner = inner
        self._fleet = fleet
        self._own_host = own_host
        self._is_revoked = is_revoked
        self._refusals = refusals
        self._open = frozenset(
            (route.method, route.path)
            for route in routes_of(application)
            if route.permission in OPEN_TO_ALL
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        try:
            self._judge(scope)
        except P2PDeployError as error:
            self._refusals.labels(code=error.code).inc()
            scope["state"]["code"] = error.code  # for the audit log
            await _refuse(scope, send, error)
            return
        await self._inner(scope, receive, send)

    def _judge(self, scope: Scope) -> None:
        if scope["type"] != "http":
            raise ForbiddenError("only HTTP is served here", code="not-http")
        _judge_origin(scope["headers"], self._own_host())
        if (scope["method"], scope["path"]) not in self._open:
            self._judge_peer(scope["state"])

    def _judge_peer(self, state: dict[str, Any]) -> None:
        peer: Peer | None = state.get("peer")
        if peer is None:
            raise TrustError(
                "this needs a client certificate of the fleet",
                hint="name the fleet with --dir DIR or P2PDEPLOY_DIR",
                code="no-certificate",
            )
        if peer.identity.fleet != self._fleet:
            raise TrustError("the certificate is of another fleet", code="other-fleet")
        if time.time() > state["valid_until"]:  # TLS judged it once, when the connection began
            raise TrustError("the certificate has expired since", code="expired")
        if self._is_revoked(peer):
            raise TrustError("the certificate was revoked", code="revoked")


def _judge_origin(headers: Sequence[tuple[bytes, bytes]], own_host: str) -> None:
    if any(name == b"origin" for name, _ in headers):
        raise ForbiddenError("requests of web pages are refused", code="origin")
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if hosts != [own_host]:
        raise ForbiddenError(
            "the Host header is not this API's own address",
            hint=f"call https://{own_host}",
            code="host",
        )


async def _refuse(scope: Scope, send: Send, error: P2PDeployError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = error_bytes(error_body(error))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # its body, if any, is not read
    ]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
