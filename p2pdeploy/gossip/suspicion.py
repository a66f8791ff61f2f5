"""How long a suspect has to defend itself, and how far this host trusts its own judgement.

Source: Lifeguard (https://arxiv.org/abs/1707.00788) and memberlist's ``suspicion.go``.
"""

from __future__ import annotations

import math

from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.ids import HostName

__all__ = ["LocalHealth", "Suspicion"]

# Confirmations by others after which the shortest time applies (memberlist: its factor minus 2).
CONFIRMATIONS = 2


class Suspicion:
    """One running suspicion; every new confirmer brings its end nearer, down to the minimum."""

    def __init__(self, accuser: HostName, now: float, members: int, config: GossipConfig) -> None:
        self._started_at = now
        self._accusers = {accuser}
        self._confirmations = 0
        scale = max(1.0, math.log10(max(1, members)))
        self._min_s = config.suspicion_factor * scale * config.probe_interval_s
        self._max_s = config.suspicion_max_factor * self._min_s
        # In a cell so small that nobody could confirm, waiting for confirmation is in vain.
        self._needed = CONFIRMATIONS if members - 2 >= CONFIRMATIONS else 0

    @property
    def deadline(self) -> float:
        """When the suspect becomes unreachable; never later than it was before."""
        if self._confirmations >= self._needed:
            return self._started_at + self._min_s
        share = math.log(self._confirmations + 1) / math.log(self._needed + 1)
        return self._started_at + self._max_s - share * (self._max_s - self._min_s)

    def confirm(self, accuser: HostName) -> bool:
        """Count *accuser*; True if it is a new one and one more still shortens the time.

        An empty name is hearsay out of somebody's table and confirms nothing.
        """
        if not accuser or accuser in self._accusers or self._confirmations >= self._needed:
            return False
        self._accusers.add(accuser)
        self._confirmations += 1
        return True


class LocalHealth:
    """Lifeguard's local health score: 0 is well; probe times stretch by ``factor``."""

    def __init__(self, score_max: int) -> None:
        self._score_max = score_max
        self.score = 0

    @property
    def factor(self) -> int:
        """1 when well, up to ``score_max`` + 1."""
        return self.score + 1

    def worsen(self, by: int = 1) -> None:
        """A sign that the fault may be mine: missing nacks, a refutation, a lagging loop."""
        self.score = min(self._score_max, self.score + by)

    def recover(self) -> None:
        """A probe was answered."""
        self.score = max(0, self.score - 1)
