"""How many refusals of one caller are worth an entry: no stolen certificate fills the disk."""

from __future__ import annotations

__all__ = ["RefusalBudget"]

REFUSALS_MAX = 60  # of one caller in a window: enough to see what it tried
WINDOW_S = 3_600.0
CALLERS_MAX = 4_096  # callers refused within one window; more than that are only counted


class RefusalBudget:
    """Decides, caller by caller, whether one more refusal goes on record."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}  # window's start, refusals; oldest first

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, who: str, now: float) -> bool:
        """Whether a refusal of *who* at *now* (monotonic seconds) is recorded."""
        self._forget(now)
        started, count = self._seen.get(who, (now, 0))
        if count >= REFUSALS_MAX or (not count and len(self._seen) >= CALLERS_MAX):
            return False
        self._seen[who] = (started, count + 1)
        return True

    def _forget(self, now: float) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if now - self._seen[oldest][0] < WINDOW_S:
                return
            del self._seen[oldest]
