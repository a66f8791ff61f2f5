"""Calls of the control plane that are tried for ever, ever less often while they fail.

Nothing else waits for them: a cell that knows its orders does without the control plane until its
lease ends.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from p2pdaemon.log import get_logger
from p2pdeploy.errors import P2PDeployError

__all__ = ["RETRY_FIRST_S", "RETRY_MAX_S", "Tries"]

RETRY_FIRST_S = 0.5
RETRY_MAX_S = 15.0  # a control plane that comes back is noticed within this

_log = get_logger("control")


class Tries:
    """Counts failures, and says each once.

    Args:
        rng: Spreads the calls of many hosts.
        came_back: Called when the control plane answers again after it did not; never waits.
    """

    def __init__(self, rng: random.Random, came_back: Callable[[], None]) -> None:
        self._rng = rng
        self._came_back = came_back
        self.failures = 0  # calls that had no usable answer
        self._streaks: dict[str, int] = {}  # failures in a row, by call
        self._told: dict[str, str] = {}  # the code last logged, by call

    async def attempt(self, what: str, call: Callable[[], Awaitable[str]]) -> str:
        """The result of *call*, or "" after a failure and the pause that it costs."""
        try:
            result = await call()
        except P2PDeployError as error:
            self.failures += 1
            streak = self._streaks[what] = self._streaks.get(what, 0) + 1
            self.tell_once("control plane call failed", what, error)
            await self.pause(min(RETRY_FIRST_S * 2 ** min(streak - 1, 8), RETRY_MAX_S))
            return ""
        self.forget(what)
        if self._streaks.pop(what, 0):
            _log.info("control plane is back", what=what)
            self._came_back()
        return result

    def tell_once(self, event: str, what: str, error: P2PDeployError) -> None:
        """Log *error* unless the last one of *what* had the same code."""
        if self._told.get(what) != error.code:
            self._told[what] = error.code
            _log.warning(event, what=what, code=error.code, error=str(error))

    def forget(self, what: str) -> None:
        """*what* is well: its next failure is news."""
        self._told.pop(what, None)

    async def pause(self, pause_s: float) -> None:
        """Sleep for about *pause_s*, at least three quarters of it."""
        await trio.sleep(pause_s * self._rng.uniform(0.75, 1.0))
