"""Work for a client that ends when the client goes.

Hypercorn tells an application that its client has gone, and lets it go on.  An answer that is held
for a while would keep its place, and a host's turn, for somebody who will not hear it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
from litestar import Request

from p2pdeploy.errors import UnavailableError

__all__ = ["while_connected"]

T = TypeVar("T")


async def while_connected(request: Request[Any, Any, Any], work: Callable[[], Awaitable[T]]) -> T:
    """The outcome of *work*, which is cancelled when the client of *request* goes.

    The body of *request* was read already.

    Raises:
        UnavailableError: the client has gone; nobody hears of it.
        And what *work* raises.
    """
    outcome: list[T] = []
    fault: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, request, nursery.cancel_scope)
        try:
            outcome.append(await work())
        except Exception as error:  # raised below, as itself
            fault = error
        nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
    if not outcome:
        raise UnavailableError("the client has gone", code="client-gone")
    return outcome[0]


async def _watch(request: Request[Any, Any, Any], scope: trio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
