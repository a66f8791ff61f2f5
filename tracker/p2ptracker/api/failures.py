"""Every error becomes ``{"error": ErrorBody}``; a traceback goes to the log, never to a caller."""

from __future__ import annotations

import errno
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
        401: "no certificate of this fleet, or one that is expired or revoked",
        403: "the caller may not do this; or it comes from a web page, or under another Host",
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
# What a person mends at the machine, wherever in a route it struck.
_DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
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

    def handled(judge: Callable[[Request[Any, Any, Any], Any], tuple[int, ErrorBody]]) -> Handler:
        def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
            status, body = judge(request, error)
            errors.labels(code=body.code).inc()
            request.scope["state"]["code"] = body.code  # for the audit log
            return _answer(status, body)

        return handle

    return {
        P2PDeployError: handled(lambda _, error: (error.http_status, error_body(error))),
        HTTPException: handled(_framework),
        RecursionError: handled(_too_deep),
        UnicodeDecodeError: handled(_not_utf8),
        OSError: handled(_disk),
        Exception: handled(_unexpected),
    }


def _answer(status: int, body: ErrorBody) -> Response[bytes]:
    return Response(error_bytes(body), status_code=status, media_type="application/json")


def _framework(request: Request[Any, Any, Any], error: HTTPException) -> tuple[int, ErrorBody]:
    if error.detail == _CLIENT_LEFT:
        return 400, ErrorBody(code="client-left", message="the request was cut off")
    if error.status_code >= 500:
        return _unexpected(request, error)
    return error.status_code, _framework_body(error)


def _too_deep(_request: object, _error: RecursionError) -> tuple[int, ErrorBody]:
    # Only the decoders recurse, and only as deep as the body says.
    return 400, ErrorBody(code="bad-request", message="the body is nested too deep")


def _not_utf8(_request: object, _error: UnicodeDecodeError) -> tuple[int, ErrorBody]:
    # msgspec tells this apart from malformed JSON; nothing else here decodes a caller's text.
    return 400, ErrorBody(code="bad-request", message="the body is not UTF-8")


def _disk(request: Request[Any, Any, Any], error: OSError) -> tuple[int, ErrorBody]:
    if error.errno not in _DISK_TROUBLE:
        return _unexpected(request, error)
    log.error("api-disk-trouble", path=request.url.path, error=str(error))
    return 503, ErrorBody(
        code="registry-disk",
        message=f"the control plane cannot use its disk: {error.strerror}",
        hint="make room on it, and try again",
    )


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> tuple[int, ErrorBody]:
    log.error("api-route-crashed", path=request.url.path, exc_info=error)
    return 500, ErrorBody(
        code="internal",
        message=f"the control plane failed: {type(error).__name__}",
        hint="its log has the details",
    )


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
