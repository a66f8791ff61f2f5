"""Threads for work that blocks: so many at a time, for each kind of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

__all__ = ["Threads"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Threads:
    """At most *count* units of work at a time; who comes later waits its turn."""

    def __init__(self, count: int) -> None:
        self._limiter = trio.CapacityLimiter(count)

    def __repr__(self) -> str:
        return f"<Threads {self._limiter.borrowed_tokens}/{self._limiter.total_tokens}>"

    async def run(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run one blocking unit of work and return what it returns."""
        return await trio.to_thread.run_sync(work, *args, limiter=self._limiter)
