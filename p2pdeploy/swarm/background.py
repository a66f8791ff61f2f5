"""Tasks that run for as long as an ``async with`` block, with no nursery around its body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType

import trio

__all__ = ["start_tasks"]


async def start_tasks(stack: AsyncExitStack, *tasks: Callable[[], Awaitable[None]]) -> None:
    """Run *tasks* until *stack* unwinds.

    An error of the ``async with`` body passes by the nursery, so that the caller catches the
    very error it raised and not a group of one; only cancellation has to go through it.
    """
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()

    async def stop(
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        nursery.cancel_scope.cancel()
        if _is_cancelled(error):
            return bool(await manager.__aexit__(kind, error, trace))
        await manager.__aexit__(None, None, None)
        return False

    stack.push_async_exit(stop)
    for task in tasks:
        nursery.start_soon(task)


def _is_cancelled(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
