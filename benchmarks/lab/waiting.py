"""Wait for what other processes do; nobody tells a script of it, so it looks again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["wait_for"]

T = TypeVar("T")

_POLL_S = 0.2  # moments are read from what the processes wrote down, not from when we looked


def wait_for(look: Callable[[], T | None], what: str, timeout_s: float) -> T:
    """The first answer of *look* that is true; ends the script when there is none in time."""
    until = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > until:
            raise SystemExit(f"not within {timeout_s:g} s: {what}")
        time.sleep(_POLL_S)  # noqa: TID251 a script that waits for processes
    return seen
