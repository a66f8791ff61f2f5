"""HTTP/1.1 and nothing else, though Hypercorn speaks more.

ALPN offers HTTP/1.1 only, but Hypercorn 0.18 also changes over when the bytes say so: to HTTP/2
after its preface or ``Upgrade: h2c``, to WebSockets after ``Upgrade: websocket``.  Nothing here
uses either, and both raise errors for odd input that Hypercorn catches nowhere.
"""

from __future__ import annotations

import h11
from hypercorn.events import Closed, Event
from hypercorn.protocol.h11 import H11Protocol

__all__ = ["OnlyHttp11"]

_VERSIONS = (b"1.0", b"1.1")


class OnlyHttp11(H11Protocol):
    """One connection.  Who asks for another protocol gets 400 and is hung up on.

    That could be ignored as well (RFC 9110, 7.8), but what such a client sends next is no HTTP/1.1.
    """

    async def handle(self, event: Event) -> None:
        try:
            await super().handle(event)
        except _OtherProtocolError:
            await self._send_error_response(400)
            await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        is_upgrade = any(name == b"upgrade" for name, _ in event.headers)
        if is_upgrade or event.http_version not in _VERSIONS:
            raise _OtherProtocolError


class _OtherProtocolError(Exception):
    """A request that asks for another protocol than HTTP/1.1."""
