"""What a fetch is told: its times and numbers, and whom to exchange pieces with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from p2pdeploy.ids import HostName

__all__ = ["FetchConfig", "Mesh", "Neighbour"]


class Neighbour(NamedTuple):
    """Where a host of the mesh listens for peers."""

    name: HostName
    address: str
    port: int


class Mesh(Protocol):
    """Whom this host exchanges pieces with, as membership sees it now."""

    def neighbours(self) -> Sequence[Neighbour]:
        """The hosts of its group that it is linked with."""
        ...

    def farther(self) -> Sequence[Neighbour]:
        """Carriers of all stripes in other groups, for when some do not come into its own."""
        ...

    def has_trunk(self) -> bool:
        """Whether there are other groups, so that pieces come in by stripes."""
        ...

    def trunk(self) -> Sequence[Neighbour]:
        """The carriers in other groups that it exchanges its stripes with."""
        ...

    def stripes(self) -> int:
        """The stripes that it draws and carries, one bit each; all where there is no trunk."""
        ...

    def locate(self, host: HostName) -> Neighbour | None:
        """Where any host of the cell listens, for a holder that the dealer names."""
        ...


class FetchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds.

    ``deal_loops``: deals drawn at once, 2 to 4.  ``connect_s``: how often neighbours are pushed.
    ``missing_s``: how long nobody near must have had a piece before it is asked for by number.
    ``stalled_s``: how long a stripe that does not come is watched before it is taken over.
    ``retry_min_s`` to ``retry_max_s``: backoff while the origin is down.
    ``all_dealt_s``: how often to ask when the dealer has nothing more.
    ``heard_s``: who has asked for nothing for so long reports: twice within the silence after which
    the dealer takes a host for dead, and longer than it holds a request.
    ``confirm_s``: what was dealt is told that soon, within half of the time a deal has at least.
    ``pace_s``: how soon another rate shows in a fetch that waits.
    """

    deal_loops: int = 2
    connect_s: float = 1.5
    missing_s: float = 5.0
    stalled_s: float = 10.0
    retry_min_s: float = 0.25
    retry_max_s: float = 5.0
    all_dealt_s: float = 3.0
    heard_s: float = 4.5
    confirm_s: float = 0.5
    pace_s: float = 1.0
    deal_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        assert 2 <= self.deal_loops <= 4
        assert self.retry_min_s <= self.retry_max_s
