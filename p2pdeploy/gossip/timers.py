"""Timers as values on one heap, in trio's time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import trio

from p2pdeploy.gossip.effects import SetTimer, Timer

__all__ = ["TimerHeap"]


class TimerHeap:
    """Hands each timer back when its time has come; none is ever cancelled.

    Bounded by the core: a few repeating timers, one per suspicion and one per ping under way.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._earlier = trio.Event()  # set when the next timer became another one

    def set(self, effect: SetTimer) -> None:
        """Remember a timer."""
        entry = (effect.at, next(self._order), effect.timer)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._earlier.set()

    async def fire_timers(self, fire: Callable[[Timer], None]) -> None:
        """Call *fire* with every timer in order of time, until cancelled."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._earlier.wait()
            while self._heap and self._heap[0][0] <= trio.current_time():
                fire(heapq.heappop(self._heap)[2])
