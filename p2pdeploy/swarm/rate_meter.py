"""The goodput of one way of a link, from a total that grows (pure)."""

from __future__ import annotations

from collections import deque

__all__ = ["LinkPeaks", "RateMeter"]

WINDOW_S = 4.0  # evens out bursts of a shaper and of single pieces
SAMPLES_MAX = 64  # a window's edges are as fine as a few of them
STEPS_MIN = 32  # a total that grows in steps is wrong by one of them: 3 % of so many


class RateMeter:
    """The rate over the last window, and the highest there was.

    Args:
        step_bytes: The largest step in which the total grows: a piece.  A window holds many.
        window_s: At least this long.
    """

    def __init__(self, step_bytes: int = 0, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._window_bytes_min = step_bytes * STEPS_MIN
        self._samples: deque[tuple[float, int]] = deque()
        self.bytes_per_s = 0
        self.peak_bytes_per_s = 0

    def note(self, now: float, total_bytes: int) -> None:
        """Take in the total at *now*, in seconds of any clock that only rises."""
        samples = self._samples
        if samples and (now <= samples[-1][0] or total_bytes < samples[-1][1]):
            return
        if not samples or total_bytes > samples[-1][1]:  # the moments at which it grew, no others
            samples.append((now, total_bytes))
        if len(samples) > SAMPLES_MAX:  # a window is longer than that: every other one does
            self._samples = samples = deque(list(samples)[::2])
        while len(samples) > 2 and self._is_window(samples[1], now, total_bytes):
            samples.popleft()
        began, before_bytes = samples[0]
        if now > began:
            self.bytes_per_s = int((total_bytes - before_bytes) / (now - began))
        if self._is_window(samples[0], now, total_bytes):
            self.peak_bytes_per_s = max(self.peak_bytes_per_s, self.bytes_per_s)

    def _is_window(self, since: tuple[float, int], now: float, total_bytes: int) -> bool:
        return now - since[0] >= self._window_s and total_bytes - since[1] >= self._window_bytes_min


class LinkPeaks:
    """The highest goodput that a host ever had each way, over all its releases."""

    def __init__(self) -> None:
        self.down_bytes_per_s = self.up_bytes_per_s = 0

    def note(self, *, down: RateMeter, up: RateMeter) -> None:
        """Take in what one release's meters have seen."""
        self.down_bytes_per_s = max(self.down_bytes_per_s, down.peak_bytes_per_s)
        self.up_bytes_per_s = max(self.up_bytes_per_s, up.peak_bytes_per_s)
