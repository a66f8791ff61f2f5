"""What a host may move each second, out of what people allow, what pressure allows, and its share.

Pure.  Three rates: all that comes in, all that goes out, and of what comes in the part that enters
the cell from outside, as deals of the origin do.
"""

from __future__ import annotations

from p2pdeploy.messages.rates import RateLimit, RateReason, RatesInForce
from p2pdeploy.swarm.yielding import Ceiling

__all__ = ["peer_rate", "rates_in_force", "uplink_share"]


def rates_in_force(
    limit: RateLimit, down: Ceiling, up: Ceiling, uplink_bytes_per_s: int | None
) -> RatesInForce:
    """The lower of *limit* and ceiling in each direction, and the share of the uplink."""
    download, download_reason = _lower(limit.download_bytes_per_s, down)
    upload, upload_reason = _lower(limit.upload_bytes_per_s, up)
    return RatesInForce(
        download_bytes_per_s=download,
        download_reason=download_reason,
        upload_bytes_per_s=upload,
        upload_reason=upload_reason,
        uplink_bytes_per_s=uplink_bytes_per_s,
        pressure=max(down.pressure, up.pressure),
    )


def _lower(limit: int | None, ceiling: Ceiling) -> tuple[int | None, RateReason]:
    rate = ceiling.rate_bytes_per_s
    if rate is not None and (limit is None or rate < limit):
        return rate, "pressure"
    return limit, "none" if limit is None else "configured"


def uplink_share(uplink_bytes_per_s: int | None, hosts: int) -> int | None:
    """One host's part of what *hosts* may let into the cell together, never more than its part."""
    if uplink_bytes_per_s is None:
        return None
    return max(uplink_bytes_per_s // max(hosts, 1), 1)


def peer_rate(
    download_bytes_per_s: int | None, dealt_bytes_per_s: int, *, deals_wait: bool
) -> int | None:
    """What of the download is left to libtorrent's peers, so that with the deals it is no more.

    Deals bring what nobody near has, so while they wait for their turn half of it is theirs; what
    they don't use is the peers'.
    """
    if download_bytes_per_s is None:
        return None
    half = download_bytes_per_s // 2
    deals = half if deals_wait else min(dealt_bytes_per_s, half)
    return max(download_bytes_per_s - deals, 1)
