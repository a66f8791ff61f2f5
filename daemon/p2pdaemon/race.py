"""Wait for whichever comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

__all__ = ["first_of"]

T = TypeVar("T")


async def first_of(*waits: Callable[[], Awaitable[T]]) -> T:
    """Run all *waits* at once; return the first result and cancel the others.

    An exception of any of them before that ends the race and is raised as it is.
    """
    results: list[T] = []
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def run(wait: Callable[[], Awaitable[T]]) -> None:
            try:
                results.append(await wait())
            except Exception as error:  # handed on below, without the group around it
                failures.append(error)
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(run, wait)
    if results:
        return results[0]
    raise failures[0]
