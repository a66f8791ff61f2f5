"""Every error becomes ``{"error": ErrorBody}``; a traceback goes to the log, never to a caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import Counter

from p2pdeploy.errors import P2PDeployError
from p2pdeploy.messages.api import ErrorBody, ErrorDocument

__all__ = ["REFUSALS", "error_body", "error_bytes", "exception_handlers"]

_CODES = {
    400: "bad-request",
    404: "no-route",
    405: "method-not-allowed",
    413: "too-large",
    415: "bad-media-type",
}
REFUSALS = {
    status: ResponseSpec(ErrorDocument, generate_examples=False, description=what)
    for status, what in {
        400: "malformed, or it breaks a protocol",
        401: "the token or a MAC is missing or wrong",
        403: "from a web page, or under another Host",
        404: "no such thing",
        409: "a rule forbids it; nothing was changed",
        413: "the body is too large",
        422: "bytes do not have the digest they must have",
        503: "not now; try again later",
    }.items()
}
"""What every route may answer besides success, for the OpenAPI document."""

# Litestar has no type of its own for it.  A daemon that is killed leaves a request half said.
_CLIENT_LEFT = "client disconnected prematurely"
_DETAIL_CHARS_MAX = 500  # a validation error may quote the input

log = structlog.get_logger(__name__)


def error_body(error: P2PDeployError) -> ErrorBody:
    """The document of one of our own errors."""
    return ErrorBody(code=error.code, message=error.message, where=error.where, hint=error.hint)


def error_bytes(body: ErrorBody) -> bytes:
    """The JSON of an error."""
    return msgspec.json.encode(ErrorDocument(error=body))


Handler = Callable[[Request[Any, Any, Any], Any], Response[bytes]]


def exception_handlers(errors: Counter) -> dict[type[Exception] | int, Handler]:
    """The handlers for the application; *errors* counts by code."""

    def answer(status: int, body: ErrorBody) -> Response[bytes]:
        errors.labels(code=body.code).inc()
        # After a body that is too large the rest of it would be read as the next request.
        headers = {"Connection": "close"} if status == 413 else {}
        return Response(
            error_bytes(body), status_code=status, media_type="application/json", headers=headers
        )

    def ours(_request: Request[Any, Any, Any], error: P2PDeployError) -> Response[bytes]:
        return answer(error.http_status, error_body(error))

    def framework(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        if error.detail == _CLIENT_LEFT:
            return answer(400, ErrorBody(code="client-left", message="the request was cut off"))
        if error.status_code >= 500:
            return unexpected(_request, error)
        return answer(error.status_code, _framework_body(error))

    def too_deep(_request: Request[Any, Any, Any], _error: RecursionError) -> Response[bytes]:
        # Only the decoders recurse, and only as deep as the body says.
        return answer(400, ErrorBody(code="bad-request", message="the body is nested too deep"))

    def not_utf8(_request: Request[Any, Any, Any], _error: UnicodeDecodeError) -> Response[bytes]:
        # msgspec tells this apart from malformed JSON; nothing else here decodes a caller's text.
        return answer(400, ErrorBody(code="bad-request", message="the body is not UTF-8"))

    def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        log.error("api-route-crashed", path=request.url.path, exc_info=error)
        return answer(
            500,
            ErrorBody(
                code="internal",
                message=f"the control plane failed: {type(error).__name__}",
                hint="its log has the details",
            ),
        )

    return {
        P2PDeployError: ours,
        HTTPException: framework,
        RecursionError: too_deep,
        UnicodeDecodeError: not_utf8,
        Exception: unexpected,
    }


def _framework_body(error: HTTPException) -> ErrorBody:
    where, message = "", error.detail
    if isinstance(error.extra, list) and error.extra and isinstance(error.extra[0], dict):
        where = str(error.extra[0].get("key", ""))
        message = str(error.extra[0].get("message", message))
    return ErrorBody(
        code=_CODES.get(error.status_code, "refused"),
        message=message[:_DETAIL_CHARS_MAX],
        where=where[:_DETAIL_CHARS_MAX],
    )
