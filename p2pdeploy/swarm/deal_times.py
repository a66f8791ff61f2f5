"""How long deals take: to leave, or from dealing to the bitmap that confirms them (pure).

What one host says of itself decides about its own deals only within what is usual among others: a
host that confirms late on purpose keeps few pieces for long, and nobody from their turns.
"""

from __future__ import annotations

from statistics import median

from p2pdeploy.ids import HostName

__all__ = ["DealTimes"]

# Hosts that confirmed last: as many as say what is usual, and no half of them is one liar's.
SAMPLE_HOSTS = 31


class DealTimes:
    """The last deal of each of a few hosts.  All in seconds.

    ``usual_s``: their median; 0 before any was confirmed.
    """

    def __init__(self) -> None:
        self._last_s: dict[HostName, float] = {}  # who confirmed last stands last
        self.usual_s = 0.0

    def note(self, host: HostName, took_s: float) -> None:
        """A deal of *host* took so long."""
        self._last_s.pop(host, None)
        self._last_s[host] = took_s
        if len(self._last_s) > SAMPLE_HOSTS:
            del self._last_s[next(iter(self._last_s))]
        self.usual_s = median(self._last_s.values())

    def is_outlier(self, took_s: float, factor: float) -> bool:
        """Whether a deal took *factor* times what is usual: that is the host, not the origin."""
        return 0 < self.usual_s * factor < took_s
