"""So many certificates at a time: the rest is told to come back, each at another time.

A fleet whose control plane was down for days comes back all at once; what it asks for is work,
and a queue without an end would be served to callers that have long given up.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from p2pdeploy.errors import UnavailableError

if TYPE_CHECKING:
    import random

__all__ = ["BusyError", "IssuingGate"]

# An issuance is 2 ms of one core and one disk write: 64 wait at most a second.
WITHIN_MAX = 64
RETRY_S_MAX = 30  # spreads 3,000 hosts at 100 a second


class BusyError(UnavailableError):
    """Too many ask at once; ``retry_after_s`` says when to come back."""

    code = "issuing-busy"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "too many hosts ask for certificates right now", hint=f"again in {retry_after_s} s"
        )
        self.retry_after_s = retry_after_s


class IssuingGate:
    """Counts who is inside.  *rng* spreads those who are sent away."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._within = 0

    def __repr__(self) -> str:
        return f"<IssuingGate {self._within} of {WITHIN_MAX}>"

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Be inside for a while; raises BusyError when it is full."""
        if self._within >= WITHIN_MAX:
            raise BusyError(self._rng.randint(1, RETRY_S_MAX))
        self._within += 1
        try:
            yield
        finally:
            self._within -= 1
