"""What passed the cables, and what the processes cost, between two moments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local_fleet import cpu_s

from lab.network import Network
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
        pids: The clients' processes.
    """

    def __init__(
        self, network: Network, bytes_per_payload_byte: float, pids: dict[str, int]
    ) -> None:
        self._network = network
        self._bytes_per_payload_byte = bytes_per_payload_byte
        self._pids = pids
        self._before = {end: network.count(end) for end in self._ends()}
        self._cpu_before_s = self._cpu_s()

    def read(self, size_bytes: int) -> Moved:
        """What has moved since, of a payload of *size_bytes*."""
        hosts = len(self._network.plan.hosts)
        return Moved(
            origin_egress_f=self._copies(ORIGIN, size_bytes, up=True),
            cross_rack_copies=self._most("rack", size_bytes),
            cross_cell_copies=self._most("cell", size_bytes),
            cpu_s_per_gb=(self._cpu_s() - self._cpu_before_s) / (hosts * size_bytes / 1e9),
            rss_mib_max=max(_peak_rss_mib(pid) for pid in self._pids.values()),
        )

    def _ends(self) -> list[str]:
        return [ORIGIN, *(cable.lower for cable in self._network.plan.cables)]

    def _copies(self, end: str, size_bytes: int, *, up: bool) -> float:
        now, before = self._network.count(end), self._before[end]
        moved = now.up_bytes - before.up_bytes if up else now.down_bytes - before.down_bytes
        return moved / self._bytes_per_payload_byte / size_bytes

    def _most(self, kind: Literal["rack", "cell"], size_bytes: int) -> float | None:
        """The most copies that entered any switch of a kind."""
        cables = [cable for cable in self._network.plan.cables if cable.kind == kind]
        return max(
            (self._copies(cable.lower, size_bytes, up=False) for cable in cables), default=None
        )

    def _cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in self._pids.values())


def _peak_rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} is gone")
