"""When a host that fetches has to report though it asks for nothing (pure core).

The dealer takes who is silent for dead, and deals again what nobody has confirmed.  Every request
tells what is here, so a report is due only while none is made: because a long deal is on its way,
because a rate is kept to, or because the neighbours have everything.
"""

from __future__ import annotations

import math

__all__ = ["ReportDue"]


class ReportDue:
    """Times are seconds of one clock that only rises.

    Args:
        heard_s: So long after the last request the next one is due.
        confirm_s: So long after a dealt piece was stored it is to be told.
        now: When the fetch begins.
    """

    def __init__(self, heard_s: float, confirm_s: float, now: float) -> None:
        self._heard_s = heard_s
        self._confirm_s = confirm_s
        self._asked_at = now
        self._stored_at = math.inf  # the oldest that no request has told of

    def __repr__(self) -> str:
        return f"<ReportDue at {self.at:.3f}>"

    def note_asked(self, now: float) -> None:
        """A request is sent, which tells of all that is stored by now."""
        self._asked_at = now
        self._stored_at = math.inf

    def note_stored(self, now: float) -> None:
        """Dealt pieces are verified and on disk."""
        self._stored_at = min(self._stored_at, now)

    @property
    def at(self) -> float:
        """When the next report is due, unless something is asked before."""
        return min(self._asked_at + self._heard_s, self._stored_at + self._confirm_s)
