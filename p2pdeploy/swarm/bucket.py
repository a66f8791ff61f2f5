"""Bytes against time: what was taken is paid off at a rate before the next is taken (pure).

A piece comes whole and fast, and is paid for afterwards: the origin judges a host that reads
slowly for dead, and would deal the piece again.  The rate may change at any time.
"""

from __future__ import annotations

__all__ = ["Bucket"]

# Unused rate is kept for this long only: a host that paused does not make up for it in a burst.
_BURST_S = 1.0


class Bucket:
    """Begins empty and owing nothing.  Times are monotonic seconds, which never go back.

    ``rate_bytes_per_s`` None: nothing has to be paid, and what is owed is forgotten.
    """

    def __init__(self, now: float) -> None:
        self._rate: int | None = None
        self._balance = 0.0  # bytes; negative: owed
        self._at = now

    def __repr__(self) -> str:
        return f"<Bucket {self._balance:.0f} bytes at {self._rate} bytes/s>"

    def set_rate(self, rate_bytes_per_s: int | None, now: float) -> None:
        """Pay at this rate from now on."""
        assert rate_bytes_per_s is None or rate_bytes_per_s > 0
        self._settle(now)
        self._rate = rate_bytes_per_s

    def spend(self, size_bytes: float, now: float) -> None:
        """Take *size_bytes*, whatever is owed."""
        self._settle(now)
        if self._rate is not None:
            self._balance -= size_bytes

    def wait_s(self, now: float) -> float:
        """How long until all is paid; 0: now.  Shorter or longer if the rate changes."""
        self._settle(now)
        if self._rate is None or self._balance >= 0:
            return 0.0
        return -self._balance / self._rate

    def _settle(self, now: float) -> None:
        if self._rate is None:
            self._balance = 0.0
        else:
            earned = self._rate * (now - self._at)
            self._balance = min(self._balance + earned, self._rate * _BURST_S)
        self._at = now
