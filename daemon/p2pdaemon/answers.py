"""What the control plane answers, read within bounds."""

from __future__ import annotations

import httpx2

from p2pdeploy.errors import ProtocolError

__all__ = ["read_body"]

_DIGITS_MAX = 12  # of a length; int() refuses thousands of digits in its own words


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
