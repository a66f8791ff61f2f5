"""Of several loops that find nothing to do, one goes on asking for all of them (shell)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from random import Random

__all__ = ["Scout"]

_NOBODY = -1


class Scout:
    """Loops are numbered from 0 on; at first loop 0 scouts, and the others wait.

    Args:
        jitter: Spreads the pauses of many hosts.
    """

    def __init__(self, jitter: Random) -> None:
        self._jitter = jitter
        self._number = 0  # of the loop that scouts; _NOBODY: all are at work
        self._resume = trio.Event()

    async def wait_begin(self, number: int) -> None:
        """Return when loop *number* may begin: the scout at once, the others with it."""
        if number != self._number:
            await self._resume.wait()

    async def pause(self, number: int, pause_s: float) -> None:
        """Loop *number* found nothing: the scout sleeps for about *pause_s*, others until resumed.

        Who comes here first while all are at work is the scout.
        """
        if self._number == _NOBODY:
            self._number = number
        if self._number == number:
            await trio.sleep(pause_s * self._jitter.uniform(0.75, 1.25))
        else:
            await self._resume.wait()

    def resume(self, number: int) -> None:
        """Loop *number* found something; if it is the scout, all go on."""
        if self._number == number:
            self._number = _NOBODY
            self._resume.set()
            self._resume = trio.Event()
