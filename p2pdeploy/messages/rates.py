"""Rate limits of a cell: the order that tells its hosts how much of the network they may use.

All of a cell's in one, complete in itself, newest in force: a host that was away needs nothing
else, and hosts keep to it while the control plane is down.  ``docs/protocol/rates.md``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import CELL_HOSTS_MAX, NUMBER_MAX
from p2pdeploy.messages.orders import Order

__all__ = [
    "RATE_BYTES_PER_S_MAX",
    "RATE_BYTES_PER_S_MIN",
    "UNLIMITED",
    "RateLimit",
    "RateLimits",
    "RateReason",
    "RatesInForce",
]

# 1 Mbit/s: 10 GB in a day, and one block of 16 KiB for each of 24 neighbours in a third of
# libtorrent's request_timeout.  Slower ones would never finish.
RATE_BYTES_PER_S_MIN = 125_000
# 800 Gbit/s, more than a host has; and libtorrent counts in 32 bits: above its 2 GiB/s a limit is
# none to it.
RATE_BYTES_PER_S_MAX = 100_000_000_000

_Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
_Rate = Annotated[int, msgspec.Meta(ge=RATE_BYTES_PER_S_MIN, le=RATE_BYTES_PER_S_MAX)]

RateReason = Literal["none", "configured", "pressure"]
"""What sets the rate that a host keeps to: nothing, a limit that people set, or its pressure."""


class RateLimit(Order, frozen=True, array_like=True):
    """Bytes per second towards a host or cell and from it; None: as many as there are."""

    download_bytes_per_s: _Rate | None = None
    upload_bytes_per_s: _Rate | None = None


UNLIMITED = RateLimit()
_Hosts = Annotated[dict[HostName, RateLimit], msgspec.Meta(max_length=CELL_HOSTS_MAX)]


class RateLimits(Order, frozen=True, tag="rate-limits"):
    """``limits_seq`` counts upwards per cell for ever.

    ``uplink``: what crosses the cell's edge, of all its hosts together.  ``each_host``: all that
    one host moves, unless it stands in ``hosts``.
    """

    cell: CellId
    limits_seq: _Number
    uplink: RateLimit = UNLIMITED
    each_host: RateLimit = UNLIMITED
    hosts: _Hosts = msgspec.field(default_factory=dict[HostName, RateLimit])

    def of_host(self, host: HostName) -> RateLimit:
        """What *host* alone may move."""
        return self.hosts.get(host, self.each_host)


class RatesInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What one host keeps to now, and why; None: as much as there is.

    ``uplink_bytes_per_s``: its share of what may enter the cell from outside.  ``missing``: the
    signals of pressure that this kernel or container does not give.
    """

    download_bytes_per_s: int | None = None
    download_reason: RateReason = "none"
    upload_bytes_per_s: int | None = None
    upload_reason: RateReason = "none"
    uplink_bytes_per_s: int | None = None
    pressure: float = 0.0
    missing: tuple[str, ...] = ()
    limits_seq: int = 0
