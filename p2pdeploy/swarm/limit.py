"""The time that the network itself needs to bring a release to every host (pure).

No scheme is faster than the origin's uplink, the slowest host's downlink, or all uplinks together
(Kumar and Ross, "Peer-assisted file distribution: the minimum distribution time", 2006), nor than
any cut between the origin and some hosts.  Passing pieces on costs the filling of a pipeline.

What a distribution took, divided by this, is its *x of limit*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Cut", "Link", "limit_s"]


class Link(NamedTuple):
    """One host's share of the network: what it lacks, and its goodput each way."""

    needed_bytes: int
    down_bytes_per_s: float
    up_bytes_per_s: float


class Cut(NamedTuple):
    """An uplink that hosts stand behind, the origin on the other side: a rack's, a cell's."""

    needed_bytes: int  # what no host behind it has; each such byte crosses it once
    rate_bytes_per_s: float


def limit_s(
    links: Sequence[Link],
    *,
    origin_bytes_per_s: float,
    piece_count: int,
    cuts: Sequence[Cut] = (),
) -> float:
    """Seconds until every host can have what it lacks.

    With F bytes lacking everywhere this is
    ``max(F/u_origin, F/d_min, N*F/(u_origin + sum u_i)) * (1 + floor(log2 N)/M)``.

    Args:
        links: The hosts that lack something; none of them lacks a byte that the origin has not.
        origin_bytes_per_s: Goodput of the origin's uplink, above 0.
        piece_count: How finely the payload is cut, at least 1.
        cuts: Uplinks between the origin and some of the hosts.

    Returns:
        Seconds; 0 when nobody lacks anything.
    """
    links = [link for link in links if link.needed_bytes]
    if not links:
        return 0.0
    assert origin_bytes_per_s > 0
    assert piece_count > 0
    uplinks = origin_bytes_per_s + sum(link.up_bytes_per_s for link in links)
    slowest_s = max(
        max(link.needed_bytes for link in links) / origin_bytes_per_s,
        *(link.needed_bytes / link.down_bytes_per_s for link in links),
        sum(link.needed_bytes for link in links) / uplinks,
        *(cut.needed_bytes / cut.rate_bytes_per_s for cut in cuts),
    )
    return slowest_s * (1 + math.floor(math.log2(len(links))) / piece_count)
