"""How late the event loop is: a loop that comes late looks like a dead host to others."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["measure_loop_lag"]


async def measure_loop_lag(every_s: float, tell: Callable[[float], None]) -> None:
    """Tell by how many seconds the loop came late, every *every_s* seconds, for ever."""
    while True:
        due = trio.current_time() + every_s
        await trio.sleep_until(due)
        tell(trio.current_time() - due)
