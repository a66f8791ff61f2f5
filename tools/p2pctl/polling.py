"""Ask again and again until something holds, or the time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

__all__ = ["WATCH_EVERY_S", "left_s", "poll"]

WATCH_EVERY_S = 0.25  # what a person sees as live; one small request each


def left_s(deadline: float) -> float:
    """Seconds until *deadline* (of ``time.monotonic``); 0 when it has passed."""
    return max(0.0, deadline - time.monotonic())


def poll(timeout_s: float | None, every_s: float = WATCH_EVERY_S) -> Iterator[float]:
    """Yield the seconds since the start, at once and then every *every_s*, for *timeout_s*.

    The last yield comes at the deadline, so that a condition that holds by then is seen.  Ctrl-C
    ends a wait at once.
    """
    start = time.monotonic()
    nobody_sets_it = threading.Event()
    while True:
        passed = time.monotonic() - start
        yield passed
        left = None if timeout_s is None else timeout_s - (time.monotonic() - start)
        if left is not None and left <= 0:
            return
        nobody_sets_it.wait(every_s if left is None else min(every_s, left))
