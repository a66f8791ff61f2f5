"""What every request must pass before any route sees it.

* ``Host`` is the API's own address: a web page whose name was pointed here (DNS rebinding) fails.
* No ``Origin``: no browser has any business here, so no cross-site request can succeed.
* ``Authorization: Bearer <token>``, compared in constant time.

An open API on loopback would be code execution for any local user and any web page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import Counter

from p2pdeploy.errors import P2PDeployError, RefusedError, TrustError
from p2pdeploy.trust.secret import token_matches
from p2ptracker.api.failures import error_body, error_bytes
from p2ptracker.api.unread_body import Application, Receive, Scope, Send

__all__ = ["guarded"]


class ForbiddenError(RefusedError):
    """The request comes from where none may come from."""

    code = "forbidden"
    http_status = 403


def guarded(
    application: Application, *, token: str, own_host: Callable[[], str], refusals: Counter
) -> Application:
    """Wrap *application* so that only requests that pass reach it.

    Args:
        application: ASGI.
        token: The fleet's secret.
        own_host: The only accepted Host header, ``address:port``; known once the port is bound.
        refusals: Counts by code.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
            return
        try:
            _judge(scope, token, own_host())
        except P2PDeployError as error:
            refusals.labels(code=error.code).inc()
            await _refuse(scope, send, error)
            return
        await application(scope, receive, send)

    return guard


def _judge(scope: Scope, token: str, own_host: str) -> None:
    if scope["type"] != "http":
        raise ForbiddenError("only HTTP is served here", code="not-http")
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    if any(name == b"origin" for name, _ in headers):
        raise ForbiddenError("requests of web pages are refused", code="origin")
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if hosts != [own_host]:
        raise ForbiddenError(
            "the Host header is not this API's own address",
            hint=f"call http://{own_host}",
            code="host",
        )
    presented = [value for name, value in headers if name == b"authorization"]
    scheme, _, credential = (presented[0] if len(presented) == 1 else b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token_matches(credential.decode("latin-1"), token):
        raise TrustError(
            "the bearer token is missing or wrong",
            hint="name the fleet with --dir DIR or P2PDEPLOY_DIR",
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
    if isinstance(error, TrustError):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
