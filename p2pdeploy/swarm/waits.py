"""Who waits for a piece, for the whole release, or for any change of it."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["ALL", "Waits"]

ALL = -1  # stands for the whole release; no piece's number


class Waits:
    """One event for each thing waited for: a piece wakes those alone that wait for it."""

    def __init__(self) -> None:
        self._changed = trio.Event()
        self._waits: dict[int, trio.Event] = {}

    async def wait(
        self, what: int, done: Callable[[], bool], obstacle: Callable[[], Exception | None]
    ) -> None:
        """Return once *done*; raise what *obstacle* returns as soon as it returns something.

        Args:
            what: A piece's number or ``ALL``; both are looked at again when it is released.
            done: Whether there is nothing to wait for any more.
            obstacle: Why there is no use in waiting.
        """
        await trio.lowlevel.checkpoint()
        while not done():
            if (error := obstacle()) is not None:
                raise error
            await self._waits.setdefault(what, trio.Event()).wait()

    async def wait_change(self) -> None:
        """Return at the next :meth:`wake`."""
        await self._changed.wait()

    def release(self, what: int) -> None:
        """Those who wait for *what* look again."""
        event = self._waits.pop(what, None)
        if event is not None:
            event.set()

    def release_all(self) -> None:
        """Everybody looks again."""
        for what in list(self._waits):
            self.release(what)
        self.wake()

    def wake(self) -> None:
        """Something changed."""
        if self._changed.statistics().tasks_waiting:
            self._changed.set()
            self._changed = trio.Event()
