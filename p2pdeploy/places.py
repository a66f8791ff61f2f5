"""Places for open connections: so many in all, and so many for each caller.

A listener that serves whoever it knows turns a caller away who has too many (:meth:`has_room`).
One that does not know its callers yet would be closed to everybody by whoever comes first, so
there a newcomer displaces the oldest of the caller who has the most (:meth:`displace`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import trio

__all__ = ["Places", "Slots", "address_of"]


def address_of(stream: trio.SocketStream) -> str:
    """Where the other side is; raises trio.BrokenResourceError when it is gone already."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError as error:
        raise trio.BrokenResourceError("the client is gone") from error


class Places:
    """Who holds how many.

    Args:
        open_max: How many there are.
        each_max: How many of them one caller may hold.
    """

    def __init__(self, *, open_max: int, each_max: int) -> None:
        assert 0 < each_max <= open_max
        self._open_max, self._each_max = open_max, each_max
        self._held: dict[str, dict[trio.CancelScope, None]] = {}  # of each the oldest first
        self._count = 0

    def __repr__(self) -> str:
        return f"<Places {self._count} of {self._open_max} held by {len(self._held)}>"

    def __len__(self) -> int:
        return self._count

    def has_room(self, who: str) -> bool:
        """Whether *who* may hold one more."""
        return self._count < self._open_max and len(self._held.get(who, ())) < self._each_max

    def displace(self, who: str) -> bool:
        """Make room for *who*, and say whether somebody had to go.

        Whoever has all it may have makes room for itself.  Otherwise the caller with the most
        does: one that opens more and more displaces nobody but itself.
        """
        if self.has_room(who):
            return False
        has_its_share = len(self._held.get(who, ())) >= self._each_max
        loser = who if has_its_share else max(self._held, key=lambda each: len(self._held[each]))
        oldest = next(iter(self._held[loser]))
        self._give_back(loser, oldest)
        oldest.cancel()
        return True

    @contextmanager
    def hold(self, who: str) -> Generator[trio.CancelScope]:
        """Hold a place inside the block; being displaced cancels the scope that is yielded."""
        with trio.CancelScope() as scope:
            self._held.setdefault(who, {})[scope] = None
            self._count += 1
            try:
                yield scope
            finally:
                self._give_back(who, scope)

    def _give_back(self, who: str, scope: trio.CancelScope) -> None:
        mine = self._held.get(who, {})
        if scope not in mine:
            return  # it was displaced
        del mine[scope]
        self._count -= 1
        if not mine:
            del self._held[who]


class Slots:
    """Turns to work: so many at once, and so many of them for each caller; the others wait.

    Args:
        in_all: How many there are.
        of_one: How many of them one caller may have at once.
    """

    def __init__(self, *, in_all: int, of_one: int) -> None:
        self._all = trio.CapacityLimiter(in_all)
        self._of_one_max = min(of_one, in_all)
        self._of_one: dict[str, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def take(self, who: str) -> AsyncGenerator[None]:
        """Wait for a turn of *who*, and have it inside the block."""
        own = self._of_one.setdefault(who, trio.CapacityLimiter(self._of_one_max))
        try:
            async with own, self._all:
                yield
        finally:
            if not own.borrowed_tokens and not own.statistics().tasks_waiting:
                self._of_one.pop(who, None)
