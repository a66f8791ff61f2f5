"""What the control plane answers: read within bounds, and its refusals as our errors."""

from __future__ import annotations

import httpx2
import msgspec

from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import (
    NotFoundError,
    P2PDeployError,
    ProtocolError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.messages.api import ErrorDocument

__all__ = ["read_body", "refusal_of"]

_DIGITS_MAX = 12  # of a length; int() refuses thousands of digits in its own words
_NO_TRUST = (401, 403)


async def read_body(answer: httpx2.Response, bytes_max: int) -> bytes:
    """The whole body.  Its length must be said before: reading is all or nothing.

    Raises:
        ProtocolError: no length, or more than *bytes_max*; nothing was read.
        httpx2.HTTPError: the connection broke.
    """
    length = answer.headers.get("Content-Length", "")
    if not length.isdecimal() or len(length) > _DIGITS_MAX:
        raise ProtocolError("answer without a length", where=str(answer.url))
    if int(length) > bytes_max:
        raise ProtocolError(
            f"answer of {length} bytes, at most {bytes_max} allowed", where=str(answer.url)
        )
    return await answer.aread()


def refusal_of(
    status: int, body: bytes, *, where: str, unclear: type[P2PDeployError]
) -> P2PDeployError:
    """The control plane's own words, in the class that says who must act.

    Args:
        status: Not one of success.
        body: An ErrorDocument, if all is well.
        where: What was asked.
        unclear: The class of an answer that is no ErrorDocument.
    """
    try:
        error = msgspec.json.decode(body, type=ErrorDocument).error
    except UNDECODABLE:
        return unclear(f"the control plane answered {status} without saying why", where=where)
    kind: type[P2PDeployError] = RefusedError
    if status in _NO_TRUST:
        kind = TrustError
    elif status == NotFoundError.http_status:
        kind = NotFoundError
    elif status >= 500:
        kind = UnavailableError
    return kind(error.message, where=error.where, hint=error.hint, code=error.code)
