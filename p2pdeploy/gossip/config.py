"""Every interval and limit of the gossip protocol, with what changes when it is moved.

The defaults are memberlist's LAN defaults (https://github.com/hashicorp/memberlist,
``config.go``), with digest anti-entropy instead of its push/pull.
"""

from __future__ import annotations

import math

import msgspec

__all__ = ["GossipConfig"]


class GossipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds.  Hosts of one cell should agree, but nothing breaks if they don't."""

    probe_interval_s: float = 1.0
    """One member is probed per interval; longer is cheaper and detects later."""
    probe_timeout_s: float = 0.5
    """Silence after which others are asked; above the round trip of a loaded network."""
    indirect_probes: int = 3
    """How many others are asked; more forgive more loss."""
    relay_timeout_share: float = 0.8
    """Share of ``probe_timeout_s`` after which a helper says Nack, so that it arrives in time."""
    unreachable_probe_interval_s: float = 3.0
    """One unreachable member is tried per interval; this is what heals a partition."""
    suspicion_factor: float = 4.0
    """Smallest suspicion time in units of log10(members) probe intervals."""
    suspicion_max_factor: float = 6.0
    """Largest suspicion time, for an accusation nobody confirms, in units of the smallest."""
    health_max: int = 7
    """Ceiling of the local health score; probe times stretch by score + 1."""
    loop_lag_tolerated_s: float = 0.2
    """Event-loop lag above this counts as a sign of bad local health."""
    gossip_interval_s: float = 0.2
    """Rumours go out this often while there are any."""
    order_interval_s: float = 0.05
    """Orders go out this soon after the last that did, and at once when none did: each host on
    their way would add half a ``gossip_interval_s``."""
    gossip_peers: int = 3
    """To so many random members each time."""
    retransmit_factor: int = 4
    """Each rumour leaves this many times ceil(log10(N + 1)) times."""
    offer_interval_s: float = 1.5
    """Anti-entropy with one random member this often."""
    cross_offer_interval_s: float = 5.0
    """Anti-entropy with one random member of another fault domain this often."""

    def __post_init__(self) -> None:
        assert self.probe_timeout_s * 2 <= self.probe_interval_s, (
            "the indirect probe needs as long as the direct one, within the same interval"
        )

    def transmits_max(self, members: int) -> int:
        """How often one rumour is sent in a cell of *members* hosts."""
        return self.retransmit_factor * max(1, math.ceil(math.log10(members + 1)))
