"""Many results of checks to one verdict, as a pure core.

A service is STARTING until it was healthy once: how long that may take is the caller's limit
(``start_timeout_s``), and failures before it mean nothing.  From then on ``unhealthy_after``
failures in a row make it UNHEALTHY and ``healthy_after`` successes in a row HEALTHY.
"""

from __future__ import annotations

from enum import Enum

import msgspec

__all__ = ["CheckResult", "Health", "HealthCounter"]


class Health(Enum):
    """What all results so far say."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class CheckResult(msgspec.Struct, frozen=True):
    """One check.  *detail* is one line for an operator, with a success too."""

    ok: bool
    detail: str


class HealthCounter:
    """Counts consecutive results of one run; a restarted service gets a new counter.

    Args:
        healthy_after: Successes in a row that make it healthy, at least 1.
        unhealthy_after: Failures in a row that end that, at least 1.
    """

    def __init__(self, healthy_after: int, unhealthy_after: int) -> None:
        assert healthy_after >= 1, healthy_after
        assert unhealthy_after >= 1, unhealthy_after
        self._healthy_after = healthy_after
        self._unhealthy_after = unhealthy_after
        self._ok_count = 0
        self._failure_count = 0
        self.verdict = Health.STARTING
        self.last_failure = ""

    def __repr__(self) -> str:
        return f"<HealthCounter {self.verdict.value} +{self._ok_count} -{self._failure_count}>"

    def handle(self, result: CheckResult) -> Health:
        """Count *result* and return the verdict; the newest failure's detail is kept."""
        if result.ok:
            self._ok_count += 1
            self._failure_count = 0
            if self._ok_count >= self._healthy_after:
                self.verdict = Health.HEALTHY
            return self.verdict
        self._ok_count = 0
        self._failure_count += 1
        self.last_failure = result.detail
        if self.verdict is Health.HEALTHY and self._failure_count >= self._unhealthy_after:
            self.verdict = Health.UNHEALTHY
        return self.verdict
