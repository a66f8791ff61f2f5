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

An offer may wait for its answer, so that an order reaches its cell when it is issued and a quiet
cell costs next to nothing: it names the *revision* of the cell that its host has seen, and is held
while the control plane has no newer one.  Whether it is held is the control plane's business, which
may answer at once; so whoever asks keeps a pace of its own.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import NUMBER_MAX
from p2pdeploy.messages.gossip import Diff, Exchange, Items, Offer, Status

__all__ = [
    "HELD_S_MAX",
    "MemberView",
    "SyncAnswer",
    "SyncDiff",
    "SyncExchange",
    "SyncItems",
    "SyncOffer",
    "SyncRequest",
]


# Four delegates of 3,000 cells ask 1,500 times a second at this; and an order that a delegate
# missed all the same is there after as long.
HELD_S_MAX = 8.0

_Revision = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]


class MemberView(msgspec.Struct, frozen=True, array_like=True):
    """What the delegate believes of one host (of itself too); a hint, never evidence."""

    name: HostName
    status: Status
    incarnation: int


class SyncOffer(msgspec.Struct, frozen=True, kw_only=True, tag="sync-offer"):
    """First post.  ``host`` is the delegate that speaks.

    ``seen`` is the revision of its last SyncDiff, and ``wait_s`` how long the answer may take when
    there is no newer one; 0, as from a daemon that cannot wait, is answered at once.
    """

    cell: CellId
    host: HostName
    members: tuple[MemberView, ...]
    offer: Offer
    seen: _Revision = 0
    wait_s: Annotated[float, msgspec.Meta(ge=0.0, le=HELD_S_MAX)] = 0.0


class SyncDiff(msgspec.Struct, frozen=True, kw_only=True, tag="sync-diff"):
    """Answer to a SyncOffer.

    ``revision`` counts the orders that came to the cell; 0 is a control plane that holds nothing.
    """

    cell: CellId
    diff: Diff
    revision: _Revision = 0


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
