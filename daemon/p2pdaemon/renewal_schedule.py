"""When one host asks for certificates: pure, so that days of a whole fleet can be simulated.

Both moments are drawn by lot: the hosts of a fleet that was made in a minute, or whose control
plane was down for two days, don't come back in the same second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pdeploy.trust.host_identity import Validity

if TYPE_CHECKING:
    import random

__all__ = ["RETRY_FIRST_S", "RETRY_MAX_S", "RenewalSchedule"]

_HALF, _SPREAD = 0.5, 0.1  # of the whole life
RETRY_FIRST_S = 15.0
# Four tries an hour.  3,000 hosts that wait for the same control plane are 7 a second on average.
RETRY_MAX_S = 900.0


class RenewalSchedule:
    """The moments of one host; *rng* draws them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pause_s = RETRY_FIRST_S

    def __repr__(self) -> str:
        return f"<RenewalSchedule: last pause {self._pause_s:.0f} s>"

    def due_at(self, validity: Validity | None) -> float:
        """When to renew what holds for *validity*, in seconds since the epoch.

        Half of the life, more or less; 0 when it is not known how long we have.
        """
        self._pause_s = RETRY_FIRST_S
        if validity is None:
            return 0.0
        life_s = validity.expires_at - validity.issued_at
        return validity.issued_at + life_s * self._rng.uniform(_HALF - _SPREAD, _HALF + _SPREAD)

    def pause_s(self) -> float:
        """How long to wait after one more failure: decorrelated jitter.

        The bound is on what is drawn from, not on what was drawn: two thirds of the hosts would
        wait for exactly that long, and stay together for ever.

        Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
        """
        self._pause_s = self._rng.uniform(RETRY_FIRST_S, min(RETRY_MAX_S, self._pause_s * 3))
        return self._pause_s
