"""How many refusals of one caller are worth an entry: no certificate fills the disk."""

from __future__ import annotations

__all__ = ["RefusalBudget", "Route", "UnusedBegun"]

REFUSALS_MAX = 60  # of one caller in a window: enough to see what it tried
WINDOW_S = 3_600.0
CALLERS_MAX = 4_096  # callers refused within one window; more than that are only counted
UNUSED_MAX = 4_096  # entries kept for use; who needs one that was forgotten writes another

Route = tuple[str, str, str, str]
"""Who calls, the certificate's serial, the method, and the route with its parameters unnamed."""


class RefusalBudget:
    """Decides, caller by caller, whether one more refusal goes on record."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}  # window's start, refusals; oldest first

    def __len__(self) -> int:
        return len(self._seen)

    def is_spent(self, who: str, now: float) -> bool:
        """Whether no further refusal of *who* would be recorded."""
        self._forget(now)
        return who in self._seen and self._seen[who][1] >= REFUSALS_MAX

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


class UnusedBegun:
    """Entries ``begun`` of callers whose budget is spent, and whose calls were refused.

    Nothing was done under them, so the next call of the same caller to the same route is made under
    one of them: it is on record before it acts, and a thousand refusals take no more than one.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Route, int]] = []  # oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, route: Route) -> int:
        """The number of one for *route*, which nobody else gets then; 0: there is none."""
        for index, (kept, seq) in enumerate(self._kept):
            if kept == route:
                del self._kept[index]
                return seq
        return 0

    def put(self, route: Route, seq: int) -> None:
        """Entry *seq* was written for *route*, and its call was refused."""
        self._kept.append((route, seq))
        del self._kept[:-UNUSED_MAX]
