"""Whether a stripe comes into this host's group, and which are taken over (pure core).

A carrier that is cut off, slow or lies leaves its group without its stripe: it claims the stripe's
pieces at the dealer, and nobody else asks other groups for them.  So each host watches what comes
near by stripe.  A stripe that lags is *taken over*: this host claims and carries it as well.  Not
all hosts do so at once, as each would bring a copy over the group's uplink: every further one waits
as long again.  What was taken over is given back after a while.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pdeploy.swarm.stripes import STRIPES, pieces_of

__all__ = ["StripeWatch"]

LAG_FACTOR = 4  # of one stripe a quarter as many pieces came as of most: that is no chance
RANK_MAX = 3  # after four windows everybody takes part: the ones before have failed as well
LAGS_WINDOWS = 3  # for so long a stripe that lags is taken over
# When nothing at all came it may be nobody's fault: the origin was away.
SILENT_WINDOWS = 1
# Slower than this for one piece a link is of no use; a window is long enough for one.
PIECE_BYTES_PER_S_MIN = 250_000


class StripeWatch:
    """Counts in windows what came near, by stripe.

    Args:
        piece_count: Of the release.
        piece_bytes: About the size of one.
        stalled_s: Length of a window; longer for pieces that need longer.
        now: Seconds of a clock that only rises.
    """

    def __init__(self, piece_count: int, piece_bytes: int, stalled_s: float, now: float) -> None:
        self._pieces = [pieces_of(1 << stripe, piece_count) for stripe in range(STRIPES)]
        self._window_s = max(stalled_s, piece_bytes / PIECE_BYTES_PER_S_MIN)
        self._began_at = now
        self._absent = 0
        self._came = [0] * STRIPES
        self._lacking = [True] * STRIPES  # when the window began
        self._usual = 0  # pieces of one stripe in one window, at best
        self._lagging = [0] * STRIPES  # for how many windows on end
        self._taken_for = [0] * STRIPES  # windows

    def __repr__(self) -> str:
        return f"<StripeWatch taken {self.taken:08b}>"

    @property
    def taken(self) -> int:
        """The stripes that are taken over, one bit each."""
        return sum(1 << stripe for stripe in range(STRIPES) if self._taken_for[stripe])

    def note(self, absent: int, ranks: Sequence[int], now: float) -> None:
        """Take in one look.

        Args:
            absent: The pieces that are neither here nor with a neighbour, bit k for piece k.
            ranks: By stripe, how many hosts of the group come before this one.
            now: As everywhere here.
        """
        came = self._absent & ~absent
        self._absent = absent
        if came:
            for stripe, pieces in enumerate(self._pieces):
                self._came[stripe] += (came & pieces).bit_count()
        if now - self._began_at >= self._window_s:
            self._judge(ranks)
            self._came = [0] * STRIPES
            self._began_at = now

    def _judge(self, ranks: Sequence[int]) -> None:
        some_came = any(self._came)
        usual = self._usual_now()
        self._lacking = [bool(self._absent & pieces) for pieces in self._pieces]
        for stripe, came in enumerate(self._came):
            is_slow = not some_came or LAG_FACTOR * (came + 1) <= usual
            lags = self._lacking[stripe] and is_slow
            self._lagging[stripe] = self._lagging[stripe] + 1 if lags else 0
            left = max(self._taken_for[stripe] - 1, 0)
            self._taken_for[stripe] = left if self._lacking[stripe] else 0
            if self._lagging[stripe] > min(ranks[stripe], RANK_MAX):
                self._taken_for[stripe] = LAGS_WINDOWS if some_came else SILENT_WINDOWS

    def _usual_now(self) -> int:
        """How many pieces came of most stripes; the last one is measured by what others did."""
        counted = zip(self._came, self._lacking, strict=True)
        counts = sorted(came for came, was_lacking in counted if was_lacking)
        if len(counts) < 2:
            return self._usual
        usual = counts[len(counts) // 2]
        self._usual = max(self._usual, usual)
        return usual
