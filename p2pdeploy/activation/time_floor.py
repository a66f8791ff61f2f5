"""The latest time that an honest clock has passed, as signed orders say: ours may not be behind."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.effects import PersistHost
from p2pdeploy.activation.events import Now
from p2pdeploy.activation.record import HostRecord

__all__ = ["TimeFloor"]

# The floor only has to be near the truth; writing it more often than this wears the disk for
# nothing (a GO is renewed every 10 s).
_STEP_S = 60.0
# What is kept on disk lies no further ahead of our clock: one order of a thief, from the year
# 3000, would stop this host for ever, also after the key was rotated.
_AHEAD_MAX_S = 86_400.0


class TimeFloor:
    """Exact in memory, on disk in steps.

    Args:
        record: As it is on disk.
    """

    def __init__(self, record: HostRecord) -> None:
        self._record = record
        self.wall_s = record.time_floor

    def learn(self, issued_at: float, now: Now) -> list[PersistHost]:
        """Take the time of a signed message, in seconds since the epoch."""
        self.wall_s = max(self.wall_s, issued_at)
        kept = min(self.wall_s, now.wall_s + _AHEAD_MAX_S)
        if kept <= self._record.time_floor + _STEP_S:
            return []
        self._record = msgspec.structs.replace(self._record, time_floor=kept)
        return [PersistHost(self._record)]

    def forget(self) -> None:
        """Nobody knows any more who said the time; on disk is what one may have said."""
        self.wall_s = min(self.wall_s, self._record.time_floor + _STEP_S)
