"""What a gossip core and its shell counted; the reporter and the metrics read exactly this."""

from __future__ import annotations

import msgspec

__all__ = ["Counters", "GossipStatistics", "ShellStatistics"]


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


class ShellStatistics(msgspec.Struct):
    """What was dropped before the core saw it, and bytes by datagram."""

    bytes_sent: int = 0
    bytes_received: int = 0
    dropped_mac: int = 0  # forged, of another cell or sender, or under a key not accepted
    dropped_replayed: int = 0  # heard before, or too old to tell
    dropped_refused: int = 0  # from or for a member that is revoked
    dropped_malformed: int = 0  # too long, cut short, or with a good tag and still not a packet
    dropped_unsendable: int = 0  # the kernel refused
    streams_turned_away: int = 0
    streams_dropped: int = 0  # served, but cut off, malformed or forged
