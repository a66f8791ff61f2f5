"""Sync: a delegate of a cell and the control plane make their replicas equal.

The control plane is one more replica of the cell's state, so both sides run the functions of
``p2pdeploy/gossip/anti_entropy.py`` on the very messages that hosts use among each other.  Two
posts to ``/v1/cells/{cell}/sync``:

===============  ==============================================================================
post             answer
===============  ==============================================================================
SyncOffer        SyncDiff: the buckets that differ and what the control plane holds in them.
                 No buckets: the replicas are equal, nothing more to do.
SyncExchange     SyncItems: the items the delegate asked for.  The control plane has stored,
                 after verifying each, the items that came with the request.
===============  ==============================================================================

An answer may hold less than everything when there is much; the next sync goes on from there.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.gossip import Diff, Exchange, Items, Offer, Status

__all__ = [
    "MemberView",
    "SyncAnswer",
    "SyncDiff",
    "SyncExchange",
    "SyncItems",
    "SyncOffer",
    "SyncRequest",
]


class MemberView(msgspec.Struct, frozen=True, array_like=True):
    """What the delegate believes of one host (of itself too); a hint, never evidence."""

    name: HostName
    status: Status
    incarnation: int


class SyncOffer(msgspec.Struct, frozen=True, kw_only=True, tag="sync-offer"):
    """First post.  ``host`` is the delegate that speaks."""

    cell: CellId
    host: HostName
    members: tuple[MemberView, ...]
    offer: Offer


class SyncDiff(msgspec.Struct, frozen=True, kw_only=True, tag="sync-diff"):
    """Answer to a SyncOffer."""

    cell: CellId
    diff: Diff


class SyncExchange(msgspec.Struct, frozen=True, kw_only=True, tag="sync-exchange"):
    """Second post: what the control plane lacks, and what the delegate wants."""

    cell: CellId
    host: HostName
    exchange: Exchange


class SyncItems(msgspec.Struct, frozen=True, kw_only=True, tag="sync-items"):
    """Answer to a SyncExchange."""

    cell: CellId
    items: Items


SyncRequest = SyncOffer | SyncExchange
SyncAnswer = SyncDiff | SyncItems
