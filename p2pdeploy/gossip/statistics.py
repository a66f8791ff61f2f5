"""What a gossip core counted; the reporter and the metrics read exactly this."""

from __future__ import annotations

import msgspec

__all__ = ["Counters", "GossipStatistics"]


class Counters(msgspec.Struct):
    """The core's running totals."""

    packets_sent: int = 0
    packets_received: int = 0
    streams_opened: int = 0
    streams_failed: int = 0
    streams_served: int = 0
    items_merged: int = 0
    items_refused: int = 0  # forged, foreign, malformed or mislabelled; neither kept nor told on
    dropped_foreign_cell: int = 0
    dropped_misplaced: int = 0  # well-formed, but not a message for this channel or for me


class GossipStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: totals since the start, and sizes now."""

    totals: Counters
    equivocations: int
    state_refusals: int  # verified, but beyond the bounds of the state
    items: int
    rumours: int
    members_alive: int
    members_suspect: int
    members_unreachable: int
    local_health: int  # 0 is well
