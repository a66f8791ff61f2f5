"""What the control plane refused, as the error that it was there."""

from __future__ import annotations

import msgspec

from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import (
    NotFoundError,
    P2PDeployError,
    PayloadError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.messages.api import ErrorDocument

__all__ = ["refusal_of"]

_KINDS: dict[int, type[P2PDeployError]] = {
    401: TrustError,
    403: TrustError,
    404: NotFoundError,
    409: RefusedError,
    422: PayloadError,
}


def refusal_of(
    status: int, body: bytes, *, where: str, unclear: type[P2PDeployError] | None = None
) -> P2PDeployError:
    """The control plane's own words, in the class that says who must act.

    Args:
        status: Of HTTP, not one of success.
        body: An ErrorDocument, if all is well.
        where: What was asked.
        unclear: The class of an answer that is no ErrorDocument; None: as *status* says.
    """
    kind = _KINDS.get(status, UnavailableError if status >= 500 else RefusedError)
    try:
        error = msgspec.json.decode(body, type=ErrorDocument).error
    except UNDECODABLE:
        why = f"the control plane answered {status} without saying why"
        return (unclear or kind)(why, where=where)
    return kind(error.message, where=error.where, hint=error.hint, code=error.code)
