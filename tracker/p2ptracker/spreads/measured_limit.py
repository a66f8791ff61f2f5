"""The time that the network needs for a release, by the goodput that its hosts measured (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from p2pdeploy.messages.swarm import FetchProgress
from p2pdeploy.swarm.limit import Link, limit_s

__all__ = ["measured_limit_s"]


def measured_limit_s(
    words: Sequence[FetchProgress],
    *,
    silent: int,
    origin_bytes_per_s: int,
    size_bytes: int,
    piece_count: int,
) -> float | None:
    """The limit in seconds; None while nobody has measured anything.

    Args:
        words: The newest of each host that fetches or fetched.
        silent: Hosts that have still to fetch.  They, and who has measured nothing yet, count as
            the median of those that have.
        origin_bytes_per_s: Of the origin; 0 is not known.
        size_bytes: Of the release.
        piece_count: As well.
    """
    downs = [word.down_peak_bytes_per_s for word in words if word.down_peak_bytes_per_s]
    ups = [word.up_peak_bytes_per_s for word in words if word.up_peak_bytes_per_s]
    if not downs or not origin_bytes_per_s:
        return None
    down, up = statistics.median(downs), statistics.median(ups or [0])
    links = [
        Link(
            size_bytes - word.received.local,
            word.down_peak_bytes_per_s or down,
            word.up_peak_bytes_per_s or up,
        )
        for word in words
    ]
    links += [Link(size_bytes, down, up)] * silent
    return limit_s(links, origin_bytes_per_s=origin_bytes_per_s, piece_count=piece_count)
