"""What passed the cables, and what the processes cost, between two moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab.costs import Costs
from lab.network import Count, Network
from lab.plan import ORIGIN

__all__ = ["Meter", "Moved"]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """In multiples of the payload; a *copy* enters a rack or cell over its cable."""

    origin_egress_f: float
    cross_rack_copies: float | None
    cross_cell_copies: float | None
    cpu_s_per_gb: float
    rss_mib_max: float


class Meter:
    """Begins to count when it is made.

    Args:
        network: Whose cables are read.  Headers and acknowledgements pass them too: what one plain
            stream needed for its payload is taken off, everything else counts.
        bytes_per_payload_byte: Of that stream.
        size_bytes: The payload.
        costs: Of the hosts' processes.
    """

    def __init__(
        self, network: Network, bytes_per_payload_byte: float, size_bytes: int, costs: Costs
    ) -> None:
        self._network = network
        self._bytes_per_copy = bytes_per_payload_byte * size_bytes
        self._size_bytes = size_bytes
        self._costs = costs
        self._before = network.counts()
        self._cpu_before_s = costs.cpu_s()

    def read(self) -> Moved:
        """What has moved since."""
        now = self._network.counts()
        moved_gb = len(self._network.plan.hosts) * self._size_bytes / 1e9
        return Moved(
            origin_egress_f=self._copies(now, ORIGIN, up=True),
            cross_rack_copies=self._most(now, "rack"),
            cross_cell_copies=self._most(now, "cell"),
            cpu_s_per_gb=(self._costs.cpu_s() - self._cpu_before_s) / moved_gb,
            rss_mib_max=self._costs.rss_mib_max(),
        )

    def received(self) -> dict[str, float]:
        """What has come to each host since, in multiples of the payload."""
        now = self._network.counts()
        return {host.name: self._copies(now, host.name) for host in self._network.plan.hosts}

    def sent(self) -> dict[str, float]:
        """What each machine has sent since, likewise."""
        now = self._network.counts()
        machines = self._network.plan.machines
        return {machine.name: self._copies(now, machine.name, up=True) for machine in machines}

    def _copies(self, now: dict[str, Count], end: str, *, up: bool = False) -> float:
        now_there, before = now[end], self._before[end]
        if up:
            return (now_there.up_bytes - before.up_bytes) / self._bytes_per_copy
        return (now_there.down_bytes - before.down_bytes) / self._bytes_per_copy

    def _most(self, now: dict[str, Count], kind: Literal["rack", "cell"]) -> float | None:
        """The most copies that entered any switch of a kind."""
        cables = [cable for cable in self._network.plan.cables if cable.kind == kind]
        return max((self._copies(now, cable.lower) for cable in cables), default=None)
