"""How soon logs are to be looked at again: the faster one grows, the sooner.  Pure."""

from __future__ import annotations

import msgspec

from p2pdaemon.services.logs import ROTATE_BYTES

__all__ = ["LOOK_MAX_S", "LOOK_MIN_S", "LogPace", "Looked"]

LOOK_MAX_S = 5.0  # a burst into a quiet log is seen after this at the latest; a look is one stat
LOOK_MIN_S = 0.25  # copying 10 MiB takes a tenth of that; sooner would only keep the disk busy


class Looked(msgspec.Struct, frozen=True):
    """One log at one look: its size when found, and what rotation left of it."""

    found_bytes: int
    left_bytes: int


class LogPace:
    """Remembers the last look at every log."""

    def __init__(self) -> None:
        self._left_bytes: dict[str, int] = {}
        self._looked_at: float | None = None

    def next_look_s(self, logs: dict[str, Looked], now_s: float) -> float:
        """Half the time that the fastest log needs to its limit, LOOK_MIN_S to LOOK_MAX_S.

        Args:
            logs: Every log there is, by path.  One not seen before began empty.
            now_s: Monotonic seconds.
        """
        elapsed_s = now_s - self._looked_at if self._looked_at is not None else float("inf")
        pause_s = LOOK_MAX_S
        for path, looked in logs.items():
            grown_bytes = looked.found_bytes - self._left_bytes.get(path, 0)
            if grown_bytes > 0:
                bytes_per_s = grown_bytes / max(elapsed_s, LOOK_MIN_S)
                room_bytes = ROTATE_BYTES - looked.left_bytes
                pause_s = min(pause_s, room_bytes / 2 / max(bytes_per_s, 1.0))
        self._left_bytes = {path: looked.left_bytes for path, looked in logs.items()}
        self._looked_at = now_s
        return max(pause_s, LOOK_MIN_S)
