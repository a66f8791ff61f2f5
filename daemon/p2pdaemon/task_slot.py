"""At most one task at a time for one purpose; the next begins when the one before has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

__all__ = ["TaskSlot"]


class TaskSlot:
    """Holds the one task.

    Args:
        service_nursery: Where the tasks run; they must not raise.
    """

    def __init__(self, service_nursery: trio.Nursery) -> None:
        self._nursery = service_nursery
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    def replace(self, work: Callable[[], Awaitable[object]]) -> None:
        """Cancel what runs and run *work* once that has ended."""
        self._scope.cancel()
        before, self._ended, self._scope = self._ended, trio.Event(), trio.CancelScope()
        self._nursery.start_soon(self._run, before, self._ended, self._scope, work)

    def cancel(self) -> None:
        """Cancel what runs or waits to run; nothing follows it."""
        self._scope.cancel()

    async def _run(
        self,
        before: trio.Event,
        ended: trio.Event,
        scope: trio.CancelScope,
        work: Callable[[], Awaitable[object]],
    ) -> None:
        try:
            await before.wait()
            with scope:
                await work()
        finally:
            ended.set()
