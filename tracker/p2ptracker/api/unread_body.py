"""Answers that are given before the request's body was read.

The rest of such a body would be taken for the next request, so the server closes the connection;
a client that was not told runs into that with its next request.  So a small rest is read and
thrown away, and beside a large one the answer says that the connection ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = [
    "Application",
    "Receive",
    "Scope",
    "Send",
    "announced_bytes",
    "finish_bodies",
    "let_go",
]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

REST_BYTES_MAX = 256 * 1024  # the largest body that most routes take
REST_TIMEOUT_S = 2.0  # a client that sends no further


def finish_bodies(application: Application) -> Application:
    """Wrap *application*, an ASGI one, so that no answer leaves an unread body behind unsaid."""

    async def finish(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        body = _Body(receive, announced_bytes(scope))

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and not await body.finish():
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await application(scope, body.receive, answer)

    return finish


def let_go(application: Application) -> Application:
    """Wrap *application*, the outermost one, so that what is unread holds up no answer's end.

    Hypercorn 0.18 hands a body over through a short queue, and the end of the request as well: full
    of what nobody reads any more it would keep both tasks of the connection for ever.
    """

    async def answer_and_go(scope: Scope, receive: Receive, send: Send) -> None:
        async def throw_away() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(throw_away)
                await send(message)
                nursery.cancel_scope.cancel()

        await application(scope, receive, answer if scope["type"] == "http" else send)

    return answer_and_go


class _Body:
    """The body of one request, and whether all of it came."""

    def __init__(self, receive: Receive, announced_bytes: int) -> None:
        self._receive = receive
        self._announced_bytes = announced_bytes
        self._received_bytes = 0
        self._is_whole = False

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        self._is_whole = self._is_whole or not message.get("more_body", False)
        return message

    async def finish(self) -> bool:
        """Read what is left if that is little; return whether nothing is left."""
        if self._announced_bytes - self._received_bytes > REST_BYTES_MAX:
            return False
        bytes_max = self._received_bytes + REST_BYTES_MAX
        with trio.move_on_after(REST_TIMEOUT_S):
            while not self._is_whole and self._received_bytes <= bytes_max:
                await self.receive()
        return self._is_whole


def announced_bytes(scope: Scope) -> int:
    """What Content-Length says; 0 without one, as when the body comes in chunks."""
    found = (value for name, value in scope["headers"] if name == b"content-length")
    return int(next(found, b"0"))
