"""Coverage over time in at most ``POINTS_MAX`` points, evenly apart (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from p2pdeploy.messages.swarm import POINTS_MAX, CoveragePoint

__all__ = ["Curve"]

STEP_S = 1.0  # hosts speak no more often


class Curve:
    """Grows point by point; when it is full every other point goes, and steps are twice as long.

    Args:
        points: Of an earlier process.
        step_s: The least time between two points.
    """

    def __init__(self, points: Sequence[CoveragePoint] = (), step_s: float = STEP_S) -> None:
        self._points = list(points)
        self._step_s = step_s
        if len(points) > 1:
            self._step_s = max(step_s, points[1].at_s - points[0].at_s)

    @property
    def points(self) -> list[CoveragePoint]:
        """Oldest first."""
        return list(self._points)

    @property
    def next_at_s(self) -> float:
        """When the next point is due."""
        return self._points[-1].at_s + self._step_s if self._points else 0.0

    def add(self, at_s: float, shares: Sequence[float]) -> None:
        """Add a point.

        Args:
            at_s: After the last point's.
            shares: What each host has, 0 to 1; never empty.  No curve falls: what hosts had and a
                restarted control plane has not heard again yet, they have.
        """
        ordered = sorted(shares)
        last = self._points[-1] if self._points else None
        point = CoveragePoint(
            at_s=round(at_s, 3),
            coverage=_rising(sum(ordered) / len(ordered), last.coverage if last else 0),
            p50=_rising(ordered[(len(ordered) - 1) // 2], last.p50 if last else 0),
            least=_rising(ordered[0], last.least if last else 0),
        )
        self._points.append(point)
        if len(self._points) > POINTS_MAX:
            del self._points[1::2]
            self._step_s *= 2


def _rising(share: float, before: float) -> float:
    return max(round(share, 5), before)
